internal import CImageCodecs

/// Where a file notes its orientation. The order of precedence is that of Pillow 13's `getexif`: an EXIF
/// block's entry, whatever its value; where there is none, the first `tiff:Orientation` of the XMP packet.
extension ImageOrientation {
    /// Anything odd counts as upright, because a broken note about a picture is no reason to refuse it.
    static func find(in bytes: ByteView, format: ImageFormat) -> ImageOrientation {
        switch format {
        case .jpeg: find(inJPEG: bytes)
        case .png: find(inPNG: bytes)
        case .webp: find(inWebP: bytes)
        // The whole file is built like the EXIF block that others carry.
        case .tiff: choose(exif: bytes, xmp: nil)
        // HEIC and AVIF are turned by properties that the decoder follows; EXIF beside them does not count.
        case .portableAnymap, .gif, .bmp, .heic, .avif: .upright
        }
    }

    /// - Parameters:
    ///   - exif: a TIFF block.
    ///   - xmp: an XMP packet.
    static func choose(exif: ByteView?, xmp: ByteView?) -> ImageOrientation {
        if let value = exif.flatMap(entry) { return ImageOrientation(rawValue: value) ?? .upright }
        return xmp.flatMap(parse(xmp:)) ?? .upright
    }

    /// JPEG: the APP1 segments before the first scan. EXIF may continue in further segments; of several XMP
    /// packets the last counts.
    private static func find(inJPEG bytes: ByteView) -> ImageOrientation {
        let packet = "http://ns.adobe.com/xap/1.0/\0"
        var exif: [ByteView] = []
        var xmp: ByteView?
        for segment in applicationSegments(1, inJPEG: bytes) {
            if segment.starts(with: "Exif\0\0") {
                exif.append(segment.dropping(6))
            } else if segment.starts(with: packet) {
                xmp = segment.dropping(packet.utf8.count)
            }
        }
        guard exif.count > 1 else { return choose(exif: exif.first.map(withoutPrefix), xmp: xmp) }
        let joined = exif.flatMap { Array($0.raw) }
        return joined.withUnsafeBytes { choose(exif: withoutPrefix(ByteView($0)), xmp: xmp) }
    }

    /// The contents of a JPEG's APPn segments before the first scan.
    private static func applicationSegments(_ number: UInt8, inJPEG bytes: ByteView) -> [ByteView] {
        var found: [ByteView] = []
        var offset = 2
        while let byte = bytes.byte(at: offset) {
            guard byte == 0xFF, let marker = bytes.byte(at: offset + 1), marker != 0xFF else {
                offset += 1
                continue
            }
            switch marker {
            case 0x00, 0x01, 0xD0...0xD8:
                offset += 2
            case 0xD9, 0xDA:
                return found
            default:
                guard let length = bytes.integer(UInt16.self, at: offset + 2, bigEndian: true), length >= 2
                else { return found }
                if marker == 0xE0 + number, let part = bytes.part(at: offset + 4, length: Int(length) - 2) {
                    found.append(part)
                }
                offset += 2 + Int(length)
            }
        }
        return found
    }

    /// PNG: the eXIf chunk, before or after the pixels, else ImageMagick's "Raw profile type exif"; XMP in the
    /// text chunk named for it. The last of each kind counts, and only that one is ever decompressed.
    private static func find(inPNG bytes: ByteView) -> ImageOrientation {
        var exif: ByteView?
        var raw: TextChunk?
        var xmp: TextChunk?
        var offset = 8
        while let length = bytes.integer(UInt32.self, at: offset, bigEndian: true),
            let body = bytes.part(at: offset + 8, length: Int(length))
        {
            if bytes.hasText("eXIf", at: offset + 4) {
                exif = withoutPrefix(body)
            } else if let text = TextChunk(body, kind: bytes, at: offset + 4) {
                if text.keyword.equals("Raw profile type exif") { raw = text }
                if text.keyword.equals("XML:com.adobe.xmp") { xmp = text }
            }
            offset += 12 + Int(length)
        }
        let packet = xmp.map { $0.text() } ?? []
        let profile = exif == nil ? raw.map { bytesOfRawProfile($0.text()) } : nil
        return packet.withUnsafeBytes { packet in
            let packet = packet.isEmpty ? nil : ByteView(packet)
            guard let profile else { return choose(exif: exif, xmp: packet) }
            return profile.withUnsafeBytes { choose(exif: withoutPrefix(ByteView($0)), xmp: packet) }
        }
    }

    /// WebP: the EXIF and XMP chunks of the RIFF container.
    private static func find(inWebP bytes: ByteView) -> ImageOrientation {
        var exif: ByteView?
        var xmp: ByteView?
        var offset = 12
        while let length = bytes.integer(UInt32.self, at: offset + 4, bigEndian: false),
            let body = bytes.part(at: offset + 8, length: Int(length))
        {
            if exif == nil, bytes.hasText("EXIF", at: offset) { exif = withoutPrefix(body) }
            if xmp == nil, bytes.hasText("XMP ", at: offset) { xmp = body }
            offset += 8 + Int(length) + Int(length & 1)
        }
        return choose(exif: exif, xmp: xmp)
    }

    /// Some writers repeat JPEG's prefix where it does not belong.
    private static func withoutPrefix(_ block: ByteView) -> ByteView {
        block.starts(with: "Exif\0\0") ? block.dropping(6) : block
    }

    /// ImageMagick's raw profiles: a line feed, a name, a length, then hexadecimal digits in lines.
    private static func bytesOfRawProfile(_ text: [UInt8]) -> [UInt8] {
        let lines = text.split(separator: 0x0A, omittingEmptySubsequences: false).dropFirst(3)
        var bytes: [UInt8] = []
        var high: UInt8?
        for digit in lines.joined() {
            guard let value = Character(UnicodeScalar(digit)).hexDigitValue.map(UInt8.init) else { continue }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        return bytes
    }

    /// Orientation from a TIFF block; nil when it has none or one that makes no sense.
    static func parse(_ tiff: ByteView) -> ImageOrientation? {
        entry(tiff).flatMap(ImageOrientation.init(rawValue:))
    }

    /// Where the entries of a TIFF block's first directory are: of 12 bytes, or of 20 in BigTIFF.
    private struct Directory {
        let start: Int
        let count: Int
        let entryBytes: Int
        let valueOffset: Int

        init?(_ tiff: ByteView, bigEndian: Bool) {
            func number<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) -> Int? {
                tiff.integer(type, at: offset, bigEndian: bigEndian).flatMap { Int(exactly: $0) }
            }
            let magic = number(UInt16.self, at: 2)
            let isBig = magic == 43
            guard magic == 42 || isBig,
                let offset = isBig ? number(UInt64.self, at: 8) : number(UInt32.self, at: 4),
                let entries = isBig
                    ? number(UInt64.self, at: offset) : number(UInt16.self, at: offset)
            else { return nil }
            (entryBytes, valueOffset) = isBig ? (20, 12) : (12, 8)
            start = offset + (isBig ? 8 : 2)
            count = min(entries, tiff.count / entryBytes)
        }
    }

    /// The orientation entry of a TIFF block: byte order, 42 (43 in BigTIFF), offset of the first directory, its
    /// entries. Only the first directory is read and nothing is followed further, so loops cannot happen.
    private static func entry(_ tiff: ByteView) -> Int? {
        let bigEndian: Bool
        if tiff.starts(with: "II") {
            bigEndian = false
        } else if tiff.starts(with: "MM") {
            bigEndian = true
        } else {
            return nil
        }
        guard let directory = Directory(tiff, bigEndian: bigEndian) else { return nil }
        for index in 0..<directory.count {
            let entry = directory.start + index * directory.entryBytes
            guard let tag = tiff.integer(UInt16.self, at: entry, bigEndian: bigEndian) else { return nil }
            guard tag == 0x0112 else { continue }
            let at = entry + directory.valueOffset
            switch tiff.integer(UInt16.self, at: entry + 2, bigEndian: bigEndian) {
            case 1: return tiff.byte(at: at).map(Int.init)
            case 3: return tiff.integer(UInt16.self, at: at, bigEndian: bigEndian).map(Int.init)
            case 4: return tiff.integer(UInt32.self, at: at, bigEndian: bigEndian).map(Int.init)
            default: return nil
            }
        }
        return nil
    }

    /// The first `tiff:Orientation`, as attribute or as element, of an XMP packet.
    static func parse(xmp: ByteView) -> ImageOrientation? {
        let name = Array("tiff:Orientation".utf8)
        let bytes = xmp.raw
        var offset = 0
        while let start = bytes[offset...].firstIndex(of: name[0]) {
            offset = start + 1
            guard let after = xmp.part(at: start, length: name.count + 3), after.starts(with: name) else {
                continue
            }
            let rest = after.dropping(name.count)
            let digit =
                rest.starts(with: "=\"") || rest.starts(with: "='")
                ? rest.byte(at: 2) : rest.starts(with: ">") ? rest.byte(at: 1) : nil
            guard let digit, (0x30...0x39).contains(digit) else { continue }
            return ImageOrientation(rawValue: Int(digit - 0x30))
        }
        return nil
    }
}

/// A text chunk of a PNG: tEXt, zTXt or iTXt.
private struct TextChunk {
    let keyword: ByteView
    private let content: ByteView
    private let isCompressed: Bool

    /// Longer texts are cut: orientation is noted near the beginning.
    private static let mostBytes = 1 << 20

    init?(_ body: ByteView, kind: ByteView, at offset: Int) {
        guard let end = body.raw.prefix(80).firstIndex(of: 0),
            let keyword = body.part(at: 0, length: end)
        else { return nil }
        self.keyword = keyword
        let rest = body.dropping(end + 1)
        if kind.hasText("tEXt", at: offset) {
            (content, isCompressed) = (rest, false)
        } else if kind.hasText("zTXt", at: offset), rest.byte(at: 0) == 0 {
            (content, isCompressed) = (rest.dropping(1), true)
        } else if kind.hasText("iTXt", at: offset), let flag = rest.byte(at: 0), rest.byte(at: 1) == 0 {
            // Language and translated keyword, each ended by a zero.
            let tail = rest.dropping(2)
            guard let first = tail.raw.firstIndex(of: 0),
                let second = tail.raw[(first + 1)...].firstIndex(of: 0)
            else { return nil }
            (content, isCompressed) = (tail.dropping(second + 1), flag != 0)
        } else {
            return nil
        }
    }

    func text() -> [UInt8] {
        guard isCompressed else { return Array(content.raw.prefix(Self.mostBytes)) }
        let source = content.raw.assumingMemoryBound(to: UInt8.self)
        // Deflate makes at most 1,032 bytes of one.
        let capacity = min(Self.mostBytes, source.count.saturatingProduct(1032))
        return [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            count = fvc_inflate(source.baseAddress, source.count, buffer.baseAddress, capacity)
        }
    }
}
