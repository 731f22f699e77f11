import Foundation
import TestSupport
import Testing

@testable import ImageInput

/// One case of formats.json: a file of a format that has to be allowed, and the pixels Pillow makes of it.
struct FormatCase: Decodable, Sendable, CustomStringConvertible {
    struct Upright: Decodable, Sendable {
        let size: [Int]
        let rgb: Data
    }

    let name: String
    let format: String
    let file: Data
    let size: [Int]
    /// Pillow's `convert("RGB")`: colours below transparent pixels show, 16-bit grey is clipped.
    let rgb: Data?
    /// 16-bit grey scaled to 8 bits.
    let scaled: Data?
    let alpha: Data?
    let upright: Upright?
    /// An ICC profile inside the file.
    let profile: Data?
    /// How far a lossy picture may be from another decoder's: most of a byte, and on average.
    let most: Int?
    let mean: Double?

    var description: String { name }

    static let limits = ImageLimits(formats: Set(ImageFormat.allCases))

    /// Those that this build decodes.
    static func all() throws -> [FormatCase] {
        try JSONDecoder().decode([FormatCase].self, from: Fixture.data("images/formats.json"))
            .filter { example in
                ImageFormat.allCases.contains { $0.optionName == example.format && $0.isBuilt }
            }
    }

    static func named(_ name: String) throws -> FormatCase? { try all().first { $0.name == name } }

    static func named(_ names: [String]) throws -> [FormatCase] {
        try all().filter { names.contains($0.name) }
    }

    func check(_ pixels: [UInt8], _ expected: Data, _ comment: Comment? = nil) {
        let largest = largestDifference(pixels, expected)
        #expect(largest ?? .max <= most ?? 0, comment)
        let sum = zip(pixels, expected).reduce(0) { $0 + abs(Int($1.0) - Int($1.1)) }
        #expect(Double(sum) / Double(max(1, expected.count)) <= mean ?? 0, comment)
    }
}

@Suite("GIF, BMP, TIFF, HEIC and AVIF equal Pillow")
struct FormatsTests {
    @Test("colours are those of Pillow's convert(\"RGB\")", arguments: try FormatCase.all())
    func colours(_ example: FormatCase) throws {
        var options = ImageOptions.reference
        options.appliesOrientation = false
        let image = try ImageDecoder.decode(example.file, limits: FormatCase.limits, options: options)
        #expect([image.width, image.height] == example.size)
        if let rgb = example.rgb { example.check(image.pixels, rgb) }
        if let scaled = example.scaled {
            options.referenceDepth = false
            let image = try ImageDecoder.decode(example.file, limits: FormatCase.limits, options: options)
            example.check(image.pixels, scaled, "scaled")
        }
    }

    @Test("transparent pixels show the background", arguments: try FormatCase.all())
    func transparency(_ example: FormatCase) throws {
        guard let rgb = example.rgb else { return }
        let options = ImageOptions(
            background: .color(RGBColor(red: 10, green: 200, blue: 90)), referenceDepth: true,
            ignoresColorProfile: true, appliesOrientation: false)
        let image = try ImageDecoder.decode(example.file, limits: FormatCase.limits, options: options)
        let alpha = example.alpha ?? Data(repeating: 255, count: image.width * image.height)
        let expected = rgb.enumerated().map { index, value in
            let opacity = Double(alpha[alpha.startIndex + index / 3]) / 255
            let behind = [10.0, 200, 90][index % 3]
            return UInt8((Double(value) * opacity + behind * (1 - opacity)).rounded())
        }
        let largest = try #require(largestDifference(image.pixels, expected))
        // Alpha that is lossy too adds its own error.
        #expect(largest <= (example.most ?? 0) * 2, "\(example.name)")
    }

    @Test("orientation is Pillow's", arguments: try FormatCase.all().filter { $0.upright != nil })
    func orientation(_ example: FormatCase) throws {
        let upright = try #require(example.upright)
        let image = try ImageDecoder.decode(example.file, limits: FormatCase.limits)
        #expect([image.width, image.height] == upright.size)
        example.check(image.pixels, upright.rgb)
    }

    @Test("colour profiles are found", arguments: try FormatCase.all().filter { $0.profile != nil })
    func profiles(_ example: FormatCase) throws {
        let format = try #require(ImageFormat.allCases.first { $0.optionName == example.format })
        let found: Data? = try example.file.withUnsafeBytes { bytes in
            try Result { () throws(ImageInputError) in
                let view = ByteView(bytes)
                let source: any RowSource =
                    format == .bmp
                    ? try WindowsBitmapReader(view, limits: FormatCase.limits, options: .standard)
                    : try CodecReader(bytes, format: format, options: .standard)
                return source.withProfile { Data($0) }
            }.get()
        }
        #expect(found == example.profile)
    }

    @Test("several pictures in a file give the first one and a remark")
    func severalPictures() throws {
        for (name, word) in [("gif-animation", "animation"), ("tiff-two-pages", "pages")] {
            guard let example = try FormatCase.named(name) else { continue }
            let remarks = try ImageDecoder.decodeWithRemarks(example.file, limits: FormatCase.limits).remarks
            #expect(remarks.contains { $0.contains(word) }, "\(name): \(remarks)")
        }
        for name in ["gif-plain", "tiff-rgb-8-little", "bmp-24-header40"] {
            guard let example = try FormatCase.named(name) else { continue }
            let remarks = try ImageDecoder.decodeWithRemarks(example.file, limits: FormatCase.limits).remarks
            #expect(remarks.isEmpty, "\(name): \(remarks)")
        }
    }

    @Test("a format that is not allowed is refused by its signature, and the error says how to allow it")
    func notAllowed() throws {
        for example in try FormatCase.all() {
            let format = try #require(ImageFormat.allCases.first { $0.optionName == example.format })
            #expect(throws: ImageInputError.formatNotEnabled(format)) {
                try ImageDecoder.decode(example.file)
            }
        }
        let text = ImageInputError.formatNotEnabled(.gif).description
        #expect(text.contains("a GIF image") && text.contains("add .gif to LoadOptions.imageFormats"))
        #expect(ImageLimits.standard.formats == [.jpeg, .png, .webp, .portableAnymap])
    }

    @Test("HEIC and AVIF are told apart by all brands, and from videos")
    func brands() throws {
        let files: [(String, ImageFormat?)] = [
            ("\0\0\0\u{18}ftypheic....mif1heic", .heic), ("\0\0\0\u{18}ftypavif....mif1miaf", .avif),
            ("\0\0\0\u{18}ftypmif1....mif1avif", .avif), ("\0\0\0\u{18}ftypmif1....heicmif1", .heic),
            ("\0\0\0\u{18}ftypmif1....miafmif1", .heic), ("\0\0\0\u{18}ftypmsf1....hevcmif1", .heic),
            ("\0\0\0\u{18}ftypisom....avc1mp41", nil), ("\0\0\0\u{14}ftypisom....avc1avif", nil),
        ]
        for (text, expected) in files {
            let found = try? Data(text.utf8).withUnsafeBytes { raw in
                Result { () throws(ImageInputError) in try ImageFormat.detect(ByteView(raw)) }
            }.get()
            #expect(found == expected, "\(text)")
        }
    }

    @Test("a format that this build leaves out is refused by name, with the trait that builds it")
    func notBuilt() {
        let signatures: [(ImageFormat, String)] = [
            (.gif, "GIF89a.........."), (.tiff, "II*\0............"),
            (.heic, "\0\0\0\u{18}ftypheic....mif1heic"), (.avif, "\0\0\0\u{18}ftypmif1....mif1avif"),
        ]
        for (format, text) in signatures where !format.isBuilt {
            #expect(throws: ImageInputError.formatNotBuilt(format)) {
                try ImageDecoder.decode(Data(text.utf8), limits: FormatCase.limits)
            }
        }
        let text = ImageInputError.formatNotBuilt(.tiff).description
        #expect(text.contains("built without TIFF") && text.contains("trait TIFF"))
        #expect(ImageFormat.allCases.filter { $0.trait == nil }.allSatisfy { $0.isBuilt })
    }
}
