/// The formats decoded here. Which of them a build holds and which a caller allows are two further questions.
package enum ImageFormat: String, Equatable, Sendable, CaseIterable, CustomStringConvertible {
    case jpeg = "JPEG"
    case png = "PNG"
    case webp = "WebP"
    case portableAnymap = "PPM"
    case gif = "GIF"
    case bmp = "BMP"
    case tiff = "TIFF"
    case heic = "HEIC"
    case avif = "AVIF"

    package var description: String { rawValue }

    /// What browsers send and decoders have long been hardened for: the default where others choose the files.
    package static let web: Set<ImageFormat> = [.jpeg, .png, .webp, .portableAnymap]

    /// Whether this build can decode the format.
    package var isBuilt: Bool {
        switch self {
        case .jpeg, .png, .webp, .portableAnymap, .bmp: true
        case .gif:
            #if GIF
                true
            #else
                false
            #endif
        case .tiff:
            #if TIFF
                true
            #else
                false
            #endif
        case .heic, .avif:
            #if HEIF
                true
            #else
                false
            #endif
        }
    }

    /// The package trait that builds the format; nil for those that are always built.
    var trait: String? {
        switch self {
        case .jpeg, .png, .webp, .portableAnymap, .bmp: nil
        case .gif: "GIF"
        case .tiff: "TIFF"
        case .heic, .avif: "HEIF"
        }
    }

    /// With an article, as in "this is a GIF image".
    var imageName: String { "\(self == .avif ? "an" : "a") \(self) image" }

    /// Its name in `LoadOptions.imageFormats`.
    var optionName: String { self == .portableAnymap ? "portableAnymap" : rawValue.lowercased() }

    /// Tells the format from the content; a file's name is never looked at.
    static func detect(_ bytes: ByteView) throws(ImageInputError) -> ImageFormat {
        guard bytes.count > 0 else { throw .empty }
        if bytes.starts(with: [0xFF, 0xD8, 0xFF]) { return .jpeg }
        if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) { return .png }
        if bytes.starts(with: "RIFF"), bytes.hasText("WEBP", at: 8) { return .webp }
        if let kind = bytes.byte(at: 1), bytes.starts(with: "P"), (0x31...0x36).contains(kind),
            let next = bytes.byte(at: 2), PortableAnymap.isSpace(next) || next == UInt8(ascii: "#")
        {
            return .portableAnymap
        }
        if bytes.starts(with: "GIF87a") || bytes.starts(with: "GIF89a") { return .gif }
        if bytes.starts(with: "BM") { return .bmp }
        if tiffSignatures.contains(where: { bytes.starts(with: $0) }) { return .tiff }
        if let format = boxFormat(bytes) { return format }
        if let cut = cutOffSignature(bytes) {
            throw .truncated(
                format: cut, offset: bytes.count, fileBytes: bytes.count,
                detail: "the file ends inside its signature")
        }
        if let found = undecoded(bytes) { throw .unsupportedFormat(name: found.name, advice: found.advice) }
        throw .unknownFormat(start: bytes.excerpt)
    }

    /// AVIF or HEIC by the first of the file's brands that names one; brands of the container alone count as HEIC.
    private static func boxFormat(_ bytes: ByteView) -> ImageFormat? {
        guard bytes.hasText("ftyp", at: 4), let length = bytes.integer(UInt32.self, at: 0, bigEndian: true)
        else { return nil }
        // The second of the four-byte words is a version.
        let brands = stride(from: 8, to: min(Int(length), bytes.count, 256), by: 4).filter { $0 != 12 }
        for at in brands {
            if ["avif", "avis"].contains(where: { bytes.hasText($0, at: at) }) { return .avif }
            let coded = ["heic", "heix", "hevc", "hevx", "heim", "heis"]
            if coded.contains(where: { bytes.hasText($0, at: at) }) { return .heic }
        }
        return ["mif1", "msf1"].contains { bytes.hasText($0, at: 8) } ? .heic : nil
    }

    /// Either byte order, TIFF and BigTIFF.
    private static let tiffSignatures = ["II*\0", "MM\0*", "II+\0", "MM\0+"]

    /// A file of a few bytes may be the beginning of a signature.
    private static func cutOffSignature(_ bytes: ByteView) -> ImageFormat? {
        let png: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
        if bytes.count < 3, bytes.isPrefix(of: [0xFF, 0xD8, 0xFF]) { return .jpeg }
        if bytes.count < 8, bytes.isPrefix(of: png) { return .png }
        if bytes.count < 12, bytes.isPrefix(of: Array("RIFF".utf8)) { return .webp }
        if bytes.count < 12, bytes.starts(with: "RIFF") { return .webp }
        if bytes.count >= 3, bytes.count < 6, bytes.isPrefix(of: Array("GIF89a".utf8)) { return .gif }
        return nil
    }

    private static let convert = "convert it to JPEG or PNG"
    private static let unpack = "unpack it and pass the image in it"
    private static let fetch = "fetch the image itself"

    /// The usual things people pass by mistake, named so that the error can say what they are and what helps.
    private static func undecoded(_ bytes: ByteView) -> (name: String, advice: String)? {
        let video = "pass a picture, such as a frame of a video"
        let prefixes: [(String, String, String)] = [
            ("8BPS", "a Photoshop document", convert), ("%PDF", "a PDF document", convert),
            ("%!PS", "a PostScript document", convert), ("qoif", "a QOI image", convert),
            ("DDS ", "a DDS texture", convert), ("gimp xcf", "a GIMP document", convert),
            ("SIMPLE  =", "a FITS image", convert), ("PF\n", "a floating-point PFM image", convert),
            ("Pf\n", "a floating-point PFM image", convert), ("P7\n", "a PAM image", convert),
            ("\0\0\u{1}\0", "an ICO icon", convert), ("\0\0\0\u{C}jP  ", "a JPEG 2000 image", convert),
            ("\0\0\0\u{C}JXL ", "a JPEG XL image", convert), ("PK\u{3}\u{4}", "a ZIP archive", unpack),
            ("\u{1F}", "compressed data (gzip or similar)", unpack),
            ("RIFF", "a RIFF file (audio or video)", video), ("OggS", "an Ogg file", video),
            ("ID3", "an MP3 file", video),
            (
                "version https://git-lfs", "a Git LFS pointer",
                "run 'git lfs pull' in its repository to fetch the image itself"
            ),
        ]
        for (prefix, name, advice) in prefixes where bytes.starts(with: prefix) { return (name, advice) }
        if bytes.starts(with: [0xFF, 0x0A]) { return ("a JPEG XL image", convert) }
        if bytes.starts(with: [0xFF, 0x4F, 0xFF, 0x51]) { return ("a JPEG 2000 image", convert) }
        if bytes.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) { return ("zstd-compressed data", unpack) }
        if bytes.hasText("ftyp", at: 4), bytes.count >= 12 { return ("an MP4 or similar video file", video) }
        return undecodedText(bytes)
    }

    private static func undecodedText(_ bytes: ByteView) -> (name: String, advice: String)? {
        let start = bytes.lowercasedText(limit: 512)
        let text = start.drop { $0 == " " || $0 == "\n" || $0 == "\r" || $0 == "\t" || $0 == "\u{FEFF}" }
        if text.hasPrefix("<!doctype html") || text.hasPrefix("<html") || text.hasPrefix("<head") {
            return ("an HTML page (perhaps an error page of the server it came from)", fetch)
        }
        if text.hasPrefix("<svg") || (text.hasPrefix("<?xml") && text.contains("<svg")) {
            return ("an SVG drawing", convert)
        }
        if text.hasPrefix("<?xml") { return ("an XML document", fetch) }
        if text.hasPrefix("data:image/") { return ("a data: URL", "decode its base64 part first") }
        if text.hasPrefix("{") { return ("a JSON document", fetch) }
        return nil
    }
}
