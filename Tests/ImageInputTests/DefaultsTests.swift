import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@testable import ImageInput

@Suite("What people expect of an image is the default")
struct DefaultsTests {
    @Test(
        "transparency, depth and colour profiles give the expected pixels", arguments: try DefaultCase.all())
    func pixels(_ example: DefaultCase) throws {
        let image = try ImageDecoder.decode(example.file, options: example.options)
        #expect([image.width, image.height] == example.size)
        let difference = try #require(largestDifference(image.pixels, example.rgb))
        #expect(difference <= example.tolerance)
    }

    @Test("a colour profile that cannot be used is a remark, and ignoring profiles says nothing")
    func profiles() throws {
        let unusable = ["jpeg-rubbish", "jpeg-cut", "jpeg-grey-for-colour"]
        for example in try DefaultCase.all() where example.name.hasPrefix("jpeg-") {
            let remarks = try ImageDecoder.decodeWithRemarks(example.file).remarks
            #expect(remarks.isEmpty != unusable.contains(example.name), "\(example.name): \(remarks)")
            var options = ImageOptions.standard
            options.ignoresColorProfile = true
            let plain = try ImageDecoder.decodeWithRemarks(example.file, options: options)
            #expect(plain.remarks.isEmpty)
            let changes = ["p3", "adobe", "swapped", "grey", "in-two-segments"].map { "jpeg-" + $0 }
            #expect((plain.image.pixels != [UInt8](example.rgb)) == changes.contains(example.name))
        }
    }

    @Test("an animation, of which only the first picture is used, is a remark; a single picture is not")
    func animations() throws {
        var animations = 0
        for example in try DefaultCase.all() {
            let remarks = try ImageDecoder.decodeWithRemarks(example.file).remarks
            // The one with an offset has a single picture, smaller than its canvas.
            let isAnimation =
                (example.name.contains("animation") || example.name.contains("apng"))
                && example.name != "webp-animation-offset"
            #expect(remarks.contains { $0.contains("animation") } == isAnimation, "\(example.name)")
            animations += isAnimation ? 1 : 0
        }
        #expect(animations > 5)
    }

    @Test("a file that lacks only its end opens with a remark; missing rows are an error unless allowed")
    func truncated() throws {
        // Bytes that are missing at the end, of which no pixel needs any.
        let ends = [
            "jpeg-420": 2, "jpeg-grey": 2, "png-colour2-depth8": 17, "png-colour3-depth4-interlaced": 17,
            "jpeg-420-progressive": 2,
        ]
        for (name, bytes) in ends {
            let example = try DecodeCase.named(name)
            let found = try ImageDecoder.decodeWithRemarks(example.file.dropLast(bytes), options: .reference)
            #expect(found.image.pixels == [UInt8](example.rgb), "\(name)")
            #expect(found.remarks.count == 1 && found.remarks[0].contains("missing"), "\(found.remarks)")
            #expect(try ImageDecoder.decodeWithRemarks(example.file).remarks.isEmpty)
        }
        for name in ["jpeg-420", "jpeg-cmyk-adobe", "png-colour2-depth8", "webp-lossy", "pnm-p6-255"] {
            let example = try DecodeCase.named(name)
            let half = example.file.prefix(example.file.count * 3 / 4)
            #expect(throws: ImageInputError.self) { try ImageDecoder.decode(half, options: .reference) }
            var options = ImageOptions.reference
            options.allowsTruncated = true
            let found = try ImageDecoder.decodeWithRemarks(half, options: options)
            #expect(
                found.remarks.count == 1 && found.remarks[0].contains("grey"), "\(name): \(found.remarks)")
            let row = example.size[0] * 3
            #expect(found.image.pixels.prefix(row) == [UInt8](example.rgb).prefix(row), "\(name)")
            // Mid grey; of inks it is darker.
            let last = Array(found.image.pixels.suffix(3))
            #expect(Set(last).count == 1 && (60...132).contains(last[0]), "\(name): \(last)")
        }
    }

    private struct Damage: Decodable {
        let base: String
        let kind: String
        let length: Int
        /// "offset:value" with spaces between.
        let edits: String
        let pillow: UInt32?

        func applied(to whole: Data) throws -> [UInt8] {
            var bytes = [UInt8](whole.prefix(length))
            for edit in edits.split(separator: " ") {
                let parts = edit.split(separator: ":").compactMap { Int($0) }
                bytes[try #require(parts.first)] = UInt8(try #require(parts.last))
            }
            return bytes
        }
    }

    /// The checksum of PNG and zlib.
    private static func crc32(_ bytes: some Sequence<UInt8>) -> UInt32 {
        let table = (0..<256).map { (index: UInt32) -> UInt32 in
            (0..<8).reduce(index) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
        }
        return ~bytes.reduce(~0) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
    }

    @Test("a damaged file is refused, or gives the pixels of Pillow, or those of the whole file")
    func damages() throws {
        let damages = try JSONDecoder().decode([Damage].self, from: Fixture.data("images/damages.json"))
        let bases = Dictionary(uniqueKeysWithValues: try DecodeCase.all().map { ($0.name, $0) })
        var refused = 0
        var stricter = 0
        for damage in damages {
            let base = try #require(bases[damage.base])
            let bytes = try damage.applied(to: base.file)
            do throws(ImageInputError) {
                let (image, remarks) = try ImageDecoder.decodeWithRemarks(
                    bytes, limits: .init(pixels: 1 << 20), options: .reference)
                let isWhole =
                    image.pixels == [UInt8](base.rgb) || image.pixels == [UInt8](base.uprightRGB ?? base.rgb)
                let label = "\(damage.base) \(damage.kind) \(damage.edits) \(damage.length): \(remarks)"
                #expect(isWhole || damage.pillow == Self.crc32(image.pixels), "\(label)")
                #expect(damage.pillow != nil || !remarks.isEmpty, "\(label)")
            } catch {
                refused += 1
                stricter += damage.pillow == nil ? 0 : 1
            }
        }
        #expect(refused > damages.count / 4)
        // Pillow shows a picture with wrong pixels, such as after a stray marker that happens to be a legal one.
        #expect(stricter < damages.count / 15)
    }

    @Test("the picture read by rows has the floats of the decoded picture")
    func streaming() throws {
        let files =
            try DecodeCase.all().map { ($0.name, $0.file) } + DefaultCase.all().map { ($0.name, $0.file) }
        for (name, file) in files where name != "jpeg-early-end-marker" {
            let whole = try ImageDecoder.decode(file)
            for geometry in [ImageGeometry.crop, .pad] {
                let preprocess = try ImagePreprocessor(
                    ImagePreprocessing(
                        geometry: geometry, size: 64, mean: [0.5, 0.4, 0.3],
                        standardDeviation: [0.2, 0.3, 0.4]),
                    background: RGBColor(red: 122, green: 116, blue: 104))
                let streamed = try file.withUnsafeBytes { raw in
                    try preprocess(PictureReader(raw), cancellation: Cancellation())?.pixels
                }
                #expect(try streamed == preprocess(whole), "\(name)")
            }
        }
    }

    @Test(
        "every orientation in every codec, turned while it is resized, has the floats of the turned picture")
    func orientations() throws {
        for size in [(301, 97), (97, 301), (640, 41), (70, 500)] {
            let picture = try noise(size.0, size.1)
            for orientation in ImageOrientation.allCases {
                let file = pngFile(picture, orientation: orientation)
                let whole = try ImageDecoder.decode(file)
                #expect(whole == picture.turned(orientation))
                for geometry in [ImageGeometry.crop, .pad] {
                    let preprocess = try ImagePreprocessor(ImagePreprocessing(geometry: geometry, size: 64))
                    let streamed = try file.withUnsafeBytes {
                        try preprocess(PictureReader($0), cancellation: Cancellation())?.pixels
                    }
                    #expect(try streamed == preprocess(whole), "\(size) \(orientation)")
                }
            }
        }
    }
}

@Suite("Very large pictures")
struct LargePictureTests {
    private struct Strip: Decodable {
        let file: Data
        let width: Int
        let height: Int
    }

    @Test("a JPEG of 200 megapixels passes by default, with the pixels of its strip")
    func twoHundredMegapixels() throws {
        let strip = try JSONDecoder().decode(Strip.self, from: Fixture.data("images/strip.json"))
        let file = try Fixture.tallJPEG(strip.file, height: strip.height, repeats: 800)
        let preprocess = try ImagePreprocessor(ImagePreprocessing(geometry: .pad, size: 256))
        let pixels = try file.withUnsafeBytes { raw in
            let picture = try PictureReader(raw)
            #expect(picture.width * picture.height > 200_000_000)
            #expect(picture.workingBytes == 0)
            #expect(try preprocess.decodingBytes(picture) < 8 << 20)
            return try preprocess(picture, cancellation: Cancellation())?.pixels
        }
        let cancelled = Cancellation()
        cancelled.cancel()
        try file.withUnsafeBytes { raw in
            let picture = try PictureReader(raw)
            #expect(try preprocess(picture, cancellation: cancelled) == nil)
        }
        // Every column of the picture is of one colour, so a row of the result is the strip's row resized.
        let row = try resized(ImageDecoder.decode(strip.file), width: 256, height: 1)
        let expected = row.pixels.map { (level: UInt8) -> Float in Float(level) / 255 }
        for y in [60, 128, 200] {
            let found = Array(try #require(pixels).values[(y * 256 * 3)..<((y + 1) * 256 * 3)])
            let difference = zip(found, expected).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
            #expect(difference < 1.5 / 255, "row \(y)")
        }
    }
}
