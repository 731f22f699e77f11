import Foundation
import SystemFiles
import TestSupport
import Testing

@testable import ImageInput

/// PNG chunks with the right checksum, to build files no encoder writes.
func chunk(_ kind: String, _ data: [UInt8]) -> [UInt8] {
    let body = Array(kind.utf8) + data
    var crc: UInt32 = 0xFFFF_FFFF
    for byte in body {
        crc ^= UInt32(byte)
        for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ 0xEDB8_8320 : crc >> 1 }
    }
    return bigEndian(UInt32(data.count)) + body + bigEndian(~crc)
}

func bigEndian(_ value: UInt32) -> [UInt8] {
    [UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
}

private func pngHeader(_ width: UInt32, _ height: UInt32) -> [UInt8] {
    [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
        + chunk("IHDR", bigEndian(width) + bigEndian(height) + [8, 2, 0, 0, 0])
}

/// How decoding went, without the pixels.
private func failure(of bytes: [UInt8], limits: ImageLimits = .standard) -> ImageInputError? {
    do throws(ImageInputError) {
        _ = try ImageDecoder.decode(bytes, limits: limits)
        return nil
    } catch {
        return error
    }
}

@Suite("Hostile images give typed errors")
struct HostileTests {
    /// One file of every codec path.
    static let samples = [
        "jpeg-420", "jpeg-420-progressive", "jpeg-cmyk-adobe", "jpeg-restarts", "jpeg-arithmetic",
        "png-colour2-depth8",
        "png-colour3-depth4-interlaced", "png-colour0-depth16", "webp-lossy", "webp-lossless-alpha-exact",
        "webp-lossy-alpha", "webp-animation-offset", "pnm-p3-255", "pnm-p5-1023", "pnm-p6-255",
        "exif-jpeg-big-endian", "exif-webp-6",
    ]

    @Test("a file cut anywhere is truncated or damaged, never a picture with holes", arguments: samples)
    func cutAnywhere(_ name: String) throws {
        let example = try DecodeCase.named(name)
        let whole = [UInt8](example.file)
        var options = ImageOptions.reference
        options.appliesOrientation = false
        for length in 0..<whole.count {
            let cut = Array(whole[..<length])
            do throws(ImageInputError) {
                let image = try ImageDecoder.decode(cut, options: options)
                // Only what follows the pixels (an end marker, EXIF, one more frame) may be missing; nobody can see
                // whether the last number of a text has lost a digit.
                let sure = example.rgb.count - (name.hasPrefix("pnm-p3") ? 1 : 0)
                #expect(
                    image.pixels.prefix(sure) == [UInt8](example.rgb).prefix(sure), "\(name) cut at \(length)"
                )
                let after = name == "webp-animation-offset" ? whole.count / 2 : 140
                #expect(length >= whole.count - after, "\(name) cut at \(length)")
            } catch {
                #expect(isAboutDamage(error), "\(name) cut at \(length): \(error)")
            }
        }
    }

    private func isAboutDamage(_ error: ImageInputError) -> Bool {
        switch error {
        case .empty, .truncated, .corrupt, .unknownFormat: true
        default: false
        }
    }

    @Test("flipped bits give a picture or a typed error within the limits", arguments: samples)
    func flippedBits(_ name: String) throws {
        let whole = [UInt8](try DecodeCase.named(name).file)
        let limits = ImageLimits(pixels: 1 << 20, fileBytes: 1 << 20, side: 4096)
        var random = SeededGenerator()
        for _ in 0..<400 {
            var broken = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let at = Int.random(in: 0..<broken.count, using: &random)
                broken[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            }
            do throws(ImageInputError) {
                let image = try ImageDecoder.decode(broken, limits: limits)
                #expect(image.pixels.count == image.width * image.height * 3)
                #expect(image.width * image.height <= limits.pixels)
            } catch {
                #expect(!error.description.isEmpty)
            }
        }
    }

    @Test("absurd sizes in headers are refused before anything is allocated")
    func absurdSizes() throws {
        #expect(
            failure(of: pngHeader(0x7FFF_FFFF, 0x7FFF_FFFF) + chunk("IDAT", []))
                == .sideTooLong(
                    format: .png, width: 0x7FFF_FFFF, height: 0x7FFF_FFFF, limit: 100_000))
        #expect(
            failure(of: pngHeader(90_000, 20_000) + chunk("IDAT", []))
                == .tooManyPixels(format: .png, width: 90_000, height: 20_000, limit: 1_000_000_000))
        #expect(
            failure(of: pngHeader(20_000, 20_000) + chunk("IDAT", []))
                == .tooMuchMemory(
                    format: .png, width: 20_000, height: 20_000, bytes: 1_200_000_000, limit: 1 << 30))
        var jpeg = [UInt8](try DecodeCase.named("jpeg-420").file)
        let frame = try #require((0..<jpeg.count - 9).first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC0 })
        jpeg.replaceSubrange(frame + 5..<frame + 9, with: [0xFF, 0xDC, 0xFF, 0xDC])
        #expect(
            failure(of: jpeg)
                == .tooManyPixels(format: .jpeg, width: 65_500, height: 65_500, limit: 1_000_000_000))
        for text in ["P6 999999 999999 255\n", "P5 100001 1 255\n", "P2 1 9999999999 255\n"] {
            guard case .sideTooLong = failure(of: Array(text.utf8)) else {
                Issue.record("\(text) is not refused for its size")
                continue
            }
        }
        let canvas = try [UInt8](DecodeCase.named("webp-animation-offset").file)
        var wide = canvas
        wide.replaceSubrange(24..<30, with: [0xFF, 0xFF, 0xFE, 0, 0, 0])
        #expect(failure(of: wide) != nil)
    }

    @Test("a promise of many pixels with few bytes behind it is truncated, not a picture")
    func emptyPromises() throws {
        let samples = Array("P6 9000 9000 255\n".utf8) + [1, 2, 3]
        guard case .truncated = failure(of: samples) else {
            Issue.record("a short PPM is not truncated")
            return
        }
        let png = pngHeader(300, 300) + chunk("IDAT", [0x78, 0x9C, 0x03, 0, 0, 0, 0, 1]) + chunk("IEND", [])
        #expect(failure(of: png) != nil)
        #expect(failure(of: pngHeader(0, 5) + chunk("IDAT", [])) != nil)
        #expect(failure(of: Array("P6 0 5 255\n".utf8)) != nil)
    }

    @Test("side, pixel and file limits name what the file has and what is allowed")
    func limits() throws {
        let file = [UInt8](try DecodeCase.named("png-colour2-depth8").file)
        #expect(failure(of: file, limits: .init(side: 13)) == nil)
        #expect(
            failure(of: file, limits: .init(side: 12))
                == .sideTooLong(format: .png, width: 13, height: 11, limit: 12))
        #expect(
            failure(of: file, limits: .init(pixels: 142))
                == .tooManyPixels(format: .png, width: 13, height: 11, limit: 142))
        #expect(
            failure(of: file, limits: .init(fileBytes: file.count - 1))
                == .fileTooLarge(bytes: file.count, limit: file.count - 1))
    }

    private struct Bomb: Decodable {
        let name: String
        let file: Data
        let rgb: Data
    }

    @Test("cut and damaged files that are allowed give whole pictures with a remark", arguments: samples)
    func allowed(_ name: String) throws {
        let example = try DecodeCase.named(name)
        let whole = [UInt8](example.file)
        let limits = ImageLimits(pixels: 1 << 20, fileBytes: 1 << 20, side: 4096)
        var options = ImageOptions.reference
        options.appliesOrientation = false
        options.allowsTruncated = true
        for length in stride(from: 1, to: whole.count, by: 3) {
            let cut = Array(whole[..<length])
            guard let (image, remarks) = try? ImageDecoder.decodeWithRemarks(cut, options: options) else {
                continue
            }
            #expect([image.width, image.height] == example.size)
            let sure = example.rgb.count - (name.hasPrefix("pnm-p3") ? 1 : 0)
            #expect(
                image.pixels.prefix(sure) == [UInt8](example.rgb).prefix(sure) || !remarks.isEmpty,
                "\(name) cut at \(length)")
        }
        var random = SeededGenerator()
        for _ in 0..<200 {
            var broken = whole
            broken[Int.random(in: 0..<broken.count, using: &random)] = .random(in: 0...255, using: &random)
            _ = try? ImageDecoder.decode(broken, limits: limits, options: options)
            options.background = .white
            options.ignoresColorProfile = false
            _ = try? ImageDecoder.decode(broken, limits: limits, options: options)
        }
    }

    @Test("damaged colour profiles never stop a picture", arguments: ["jpeg-p3", "png-p3", "jpeg-grey"])
    func damagedProfiles(_ name: String) throws {
        let whole = [UInt8](try DefaultCase.named(name).file)
        var random = SeededGenerator()
        for _ in 0..<300 {
            var broken = whole
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                broken[Int.random(in: 20..<700, using: &random)] = .random(in: 0...255, using: &random)
            }
            guard let image = try? ImageDecoder.decode(broken, limits: .init(pixels: 1 << 20)) else {
                continue
            }
            #expect(image.pixels.count == image.width * image.height * 3)
        }
    }

    @Test("a text chunk that unfolds to gigabytes is unfolded to one megabyte at most")
    func textBombs() throws {
        let file = [UInt8](try DecodeCase.named("png-colour2-depth8").file)
        let pixels = try ImageDecoder.decode(file).pixels
        let bomb = try #require(
            try JSONDecoder().decode([Bomb].self, from: Fixture.data("images/bombs.json"))
                .first { $0.name == "zTXt" })
        // The bomb's compressed zeros under the names that are looked for.
        let bytes = [UInt8](bomb.file)
        let start = try #require((0..<bytes.count).first { bytes[$0...].starts(with: Array("zTXt".utf8)) })
        let length = bytes[(start - 4)..<start].reduce(0) { $0 << 8 | Int($1) }
        let zeros = Array(bytes[(start + 4)..<(start + 4 + length)].dropFirst(9))
        for (kind, name, between) in [
            ("zTXt", "Raw profile type exif", [0, 0]), ("iTXt", "XML:com.adobe.xmp", [0, 1, 0, 0, 0]),
        ] as [(String, String, [UInt8])] {
            let extra = chunk(kind, Array(name.utf8) + between + zeros)
            let clock = ContinuousClock()
            let start = clock.now
            let many = [[UInt8]](repeating: extra, count: 20).flatMap { $0 }
            #expect(try ImageDecoder.decode(Array(file[..<33]) + many + Array(file[33...])).pixels == pixels)
            #expect(clock.now - start < .seconds(2))
        }
    }

    @Test("PNG chunks that unfold to a thousand times their size are not unfolded")
    func bombs() throws {
        let bombs = try JSONDecoder().decode([Bomb].self, from: Fixture.data("images/bombs.json"))
        #expect(bombs.count == 5)
        for bomb in bombs {
            let image = try ImageDecoder.decode(bomb.file, options: .reference)
            #expect(image.pixels == [UInt8](bomb.rgb), "\(bomb.name)")
        }
    }

    @Test("chunks of a megabyte of rubbish are skipped unread")
    func rubbishChunks() throws {
        let file = [UInt8](try DecodeCase.named("png-colour2-depth8").file)
        let pixels = try ImageDecoder.decode(file).pixels
        let rubbish = [UInt8](repeating: 0, count: 1 << 20)
        for kind in ["zTXt", "iCCP", "iTXt", "tEXt", "sPLT", "vpAg"] {
            let extra = chunk(kind, Array("Comment".utf8) + [0, 0, 0x78, 0xDA] + rubbish)
            let loaded = try ImageDecoder.decode(Array(file[..<33]) + extra + Array(file[33...]))
            #expect(loaded.pixels == pixels, "\(kind)")
        }
    }

    @Test("a JPEG with hundreds of scans is refused instead of worked through")
    func manyScans() throws {
        let file = [UInt8](try DecodeCase.named("jpeg-grey-progressive").file)
        let scans = (0..<file.count - 1).filter { file[$0] == 0xFF && file[$0 + 1] == 0xDA }
        let first = try #require(scans.first)
        let second = try #require(scans.dropFirst().first)
        // The same first scan again and again: legal enough for libjpeg, endless work for us.
        var bytes = Array(file[..<first])
        for _ in 0..<400 { bytes += file[first..<second] }
        bytes += file[second...]
        guard case .overLimit(.jpeg, _) = failure(of: bytes) else {
            Issue.record("400 scans: \(String(describing: failure(of: bytes)))")
            return
        }
    }

    @Test("EXIF with loops, wild offsets and wrong types leaves the picture as it is")
    func strangeExif() {
        let little: [UInt8] = [0x49, 0x49, 0x2A, 0]
        let entry: [UInt8] = [0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0]
        let blocks: [([UInt8], ImageOrientation?)] = [
            ([], nil), (little, nil), (little + [0, 0, 0, 0], nil),
            (little + [0xFF, 0xFF, 0xFF, 0xFF], nil),
            (little + [4, 0, 0, 0] + [0xFF, 0xFF], nil),
            (little + [8, 0, 0, 0] + [0xFF, 0xFF] + entry.prefix(9), nil),
            (little + [8, 0, 0, 0] + [1, 0] + entry, .needsClockwiseTurn),
            (little + [8, 0, 0, 0] + [0xFF, 0xFF] + entry, .needsClockwiseTurn),
            (little + [8, 0, 0, 0] + [1, 0, 0x12, 1, 2, 0, 1, 0, 0, 0, 6, 0, 0, 0], nil),
            (little + [8, 0, 0, 0] + [1, 0, 0x12, 1, 4, 0, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF], nil),
            (little + [8, 0, 0, 0] + [1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 9, 0, 0, 0], nil),
        ]
        for (block, expected) in blocks {
            block.withUnsafeBytes { #expect(ImageOrientation.parse(ByteView($0)) == expected, "\(block)") }
        }
        var random = SeededGenerator()
        for _ in 0..<2000 {
            var block = little + [8, 0, 0, 0, 1, 0] + entry
            for index in block.indices where Int.random(in: 0..<6, using: &random) == 0 {
                block[index] = UInt8.random(in: 0...255, using: &random)
            }
            block.withUnsafeBytes { _ = ImageOrientation.parse(ByteView($0)) }
        }
    }

    @Test("other kinds of files are called by their name")
    func namesOfOtherFormats() {
        // Converting an error page to JPEG helps nobody: the advice fits the kind.
        let files: [(String, String, String)] = [
            ("%PDF-1.7", "PDF", "convert"), ("\0\0\0\u{18}ftypisom....", "video", "frame"),
            ("<svg xmlns=''>", "SVG", "convert"), ("<?xml version='1.0'?><svg>", "SVG", "convert"),
            ("<?xml version='1.0'?><Error>", "XML", "fetch the image itself"),
            ("\n <!DOCTYPE HTML><html>", "HTML", "fetch the image itself"),
            ("{\"error\": 404}", "JSON", "fetch the image itself"), ("PK\u{3}\u{4}....", "ZIP", "unpack"),
            ("RIFF....WAVEfmt ", "RIFF", "frame"), ("data:image/png;base64,AAAA", "data: URL", "base64"),
            ("version https://git-lfs.github.com", "LFS", "git lfs pull"),
        ]
        for (text, expectedName, expectedAdvice) in files {
            guard case .unsupportedFormat(let name, let advice) = failure(of: Array(text.utf8)) else {
                Issue.record("\(expectedName) is not recognised")
                continue
            }
            #expect(name.contains(expectedName))
            #expect(advice.contains(expectedAdvice), "\(expectedName)")
        }
        #expect(failure(of: []) == .empty)
        #expect(failure(of: Array("hello, world".utf8)) == .unknownFormat(start: "68 65 6C 6C 6F 2C 20 77"))
        #expect(failure(of: [0]) == .unknownFormat(start: "00"))
    }

    @Test("a wrong file name changes nothing, and unreadable paths say why")
    func paths() throws {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "ImageInputTests-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let example = try DecodeCase.named("jpeg-420")
        let path = folder.appending(path: "picture.png").path()
        try example.file.write(to: URL(fileURLWithPath: path))
        #expect(try RGBImage.load(path: path).pixels == [UInt8](example.rgb))
        #expect(throws: ImageInputError.fileTooLarge(bytes: example.file.count, limit: 100)) {
            try RGBImage.load(path: path, limits: .init(fileBytes: 100))
        }
        #expect(throws: ImageInputError.fileTooLarge(bytes: nil, limit: 1 << 16)) {
            try RGBImage.load(path: "/dev/zero", limits: .init(fileBytes: 1 << 16))
        }
        #expect(throws: ImageInputError.empty) { try RGBImage.load(path: "/dev/null") }
        let missing = folder.appending(path: "missing.jpg").path()
        #expect(throws: ImageInputError.unreadable(path: missing, reason: SystemReason(ENOENT))) {
            try RGBImage.load(path: missing)
        }
        #expect(throws: ImageInputError.self) { try RGBImage.load(path: folder.path()) }
    }

    @Test("every error ends in what to do")
    func descriptions() {
        let errors: [ImageInputError] = [
            .unreadable(path: "x", reason: "no such file"), .empty, .fileTooLarge(bytes: 9, limit: 8),
            .fileTooLarge(bytes: nil, limit: 8),
            .unsupportedFormat(name: "a PDF document", advice: "convert it"),
            .formatNotEnabled(.gif), .formatNotBuilt(.tiff),
            .unknownFormat(start: "00"), .unsupportedVariant(format: .jpeg, detail: "12 bits"),
            .missingLibrary(format: .heic, advice: "install it"),
            .sideTooLong(format: .png, width: 1, height: 2, limit: 1),
            .tooManyPixels(format: .png, width: 1, height: 2, limit: 1),
            .tooMuchMemory(format: .webp, width: 1, height: 2, bytes: 3, limit: 2),
            .truncated(format: .webp, offset: 3, fileBytes: 4, detail: "x"),
            .corrupt(format: .webp, offset: nil, detail: "x"), .overLimit(format: .jpeg, detail: "x"),
            .outOfMemory(format: .webp, width: 1, height: 2), .invalidImage(width: 1, height: 2, bytes: 3),
            .invalidParameter(name: "size", expected: "64", got: "63"),
        ]
        for error in errors { #expect(error.description.contains(";"), "\(error)") }
    }
}
