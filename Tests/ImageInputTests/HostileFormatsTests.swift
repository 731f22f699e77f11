import Foundation
import TestSupport
import Testing

@testable import ImageInput

private func little(_ value: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}
private func little(_ value: UInt16) -> [UInt8] { [UInt8(value & 255), UInt8(value >> 8)] }

private func failure(of bytes: [UInt8], limits: ImageLimits = FormatCase.limits) -> ImageInputError? {
    do throws(ImageInputError) {
        _ = try ImageDecoder.decode(bytes, limits: limits)
        return nil
    } catch {
        return error
    }
}

/// A BMP with a header of 40 bytes and a palette of two colours where it has one.
private func bitmap(
    width: Int32, height: Int32, bits: UInt16, compression: UInt32 = 0, _ pixels: [UInt8]
) -> [UInt8] {
    let palette: [UInt8] = bits > 8 ? [] : [1, 2, 3, 0, 4, 5, 6, 0]
    var info: [UInt8] = little(UInt32(40)) + little(UInt32(bitPattern: width))
    info += little(UInt32(bitPattern: height)) + little(UInt16(1)) + little(bits) + little(compression)
    info += [UInt8](repeating: 0, count: 12) + little(UInt32(palette.isEmpty ? 0 : 2)) + little(UInt32(0))
    let start = UInt32(14 + info.count + palette.count)
    return Array("BM".utf8) + little(UInt32(0)) + little(UInt32(0)) + little(start) + info + palette + pixels
}

/// A little-endian TIFF of one directory; every value stands in its entry, the pixels at byte 8.
private func tiff(_ tags: [(UInt16, UInt32)], pixels: [UInt8] = [1, 2, 3, 4]) -> [UInt8] {
    var bytes: [UInt8] = Array("II*\0".utf8) + little(UInt32(8 + pixels.count)) + pixels
    bytes += little(UInt16(tags.count))
    for (tag, value) in tags { bytes += little(tag) + little(UInt16(4)) + little(UInt32(1)) + little(value) }
    return bytes + little(UInt32(0))
}

private func grey(width: UInt32, height: UInt32, _ more: [(UInt16, UInt32)]) -> [(UInt16, UInt32)] {
    var tags = [256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1] as [UInt16: UInt32]
    for (tag, value) in more { tags[tag] = value }
    return tags.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
}

@Suite("Hostile GIF, BMP, TIFF, HEIC and AVIF give typed errors")
struct HostileFormatsTests {
    /// One file of every path through the decoders.
    static let samples = [
        "gif-plain", "gif-interlaced-transparent", "gif-offset-transparent", "gif-animation",
        "gif-extensions",
        "bmp-1", "bmp-8-short-palette", "bmp-24-header124", "bmp-16-565", "bmp-32-bgra-header108", "bmp-rle8",
        "bmp-rle4", "tiff-rgb-8-little", "tiff-many-tiles-deflate", "tiff-tiles-planes", "tiff-planes",
        "tiff-bigtiff", "tiff-group4", "tiff-jpeg", "tiff-ycbcr", "tiff-pillow-tiff_lzw",
        "tiff-packbits-across-rows", "tiff-palette-4", "tiff-rgba-8-premultiplied", "avif-alpha", "avif-grid",
        "heic-444", "heic-alpha",
    ]

    @Test("a file cut anywhere is damaged, or the whole picture", arguments: try FormatCase.named(samples))
    func cutAnywhere(_ example: FormatCase) throws {
        let whole = [UInt8](example.file)
        let expected = try ImageDecoder.decode(whole, limits: FormatCase.limits).pixels
        for length in stride(from: 0, to: whole.count, by: max(1, whole.count / 150)) {
            do throws(ImageInputError) {
                let image = try ImageDecoder.decode(Array(whole[..<length]), limits: FormatCase.limits)
                #expect(image.pixels == expected, "\(example.name) cut at \(length)")
            } catch {
                switch error {
                case .empty, .truncated, .corrupt, .unknownFormat, .unsupportedVariant: break
                default: Issue.record("\(example.name) cut at \(length): \(error)")
                }
            }
        }
    }

    @Test(
        "where missing pixels are allowed, those that are there are right",
        arguments: try FormatCase.named(samples))
    func allowed(_ example: FormatCase) throws {
        guard example.format != "avif", example.format != "heic" else { return }
        let whole = [UInt8](example.file)
        let expected = try ImageDecoder.decode(whole, limits: FormatCase.limits).pixels
        let options = ImageOptions(allowsTruncated: true)
        for length in stride(from: 0, to: whole.count, by: max(1, whole.count / 40)) {
            guard
                let (image, remarks) = try? ImageDecoder.decodeWithRemarks(
                    Array(whole[..<length]), limits: FormatCase.limits, options: options)
            else { continue }
            guard image.pixels != expected else { continue }
            #expect(!remarks.isEmpty, "\(example.name) cut at \(length)")
            if example.most == nil {
                for (found, right) in zip(image.pixels, expected) where found != right {
                    #expect(found == 128, "\(example.name) cut at \(length)")
                    if found != 128 { return }
                }
            }
        }
    }

    @Test(
        "flipped bits give a picture or a typed error within the limits",
        arguments: try FormatCase.named(samples))
    func flippedBits(_ example: FormatCase) {
        let whole = [UInt8](example.file)
        let limits = ImageLimits(
            pixels: 1 << 20, fileBytes: 1 << 20, side: 4096, formats: Set(ImageFormat.allCases))
        var random = SeededGenerator(example.name)
        for round in 0..<300 {
            var broken = whole
            // Half of the damage goes into the header, which is a small part of the file.
            let end = round % 2 == 0 ? broken.count : min(broken.count, 160)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let at = Int.random(in: 0..<end, using: &random)
                broken[at] =
                    Bool.random(using: &random)
                    ? broken[at] ^ 1 << UInt8.random(in: 0..<8, using: &random) : 255
            }
            let options = ImageOptions(allowsTruncated: round % 3 == 0)
            do throws(ImageInputError) {
                let image = try ImageDecoder.decode(broken, limits: limits, options: options)
                #expect(image.pixels.count == image.width * image.height * 3)
                #expect(image.width * image.height <= limits.pixels)
            } catch {
                #expect(!error.description.isEmpty)
            }
        }
    }

    @Test("sizes in headers are checked before anything is allocated")
    func absurdSizes() {
        let giant =
            Array("GIF89a".utf8) + [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0]
            + [0x2C, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x40, 2, 1, 0x44, 0]
        if ImageFormat.gif.isBuilt {
            #expect(
                failure(of: giant)
                    == .tooManyPixels(format: .gif, width: 65_535, height: 65_535, limit: 1_000_000_000)
            )
        }
        #expect(
            failure(of: bitmap(width: .max, height: .min, bits: 1, []))
                == .sideTooLong(format: .bmp, width: Int(Int32.max), height: 1 << 31, limit: 100_000))
        #expect(
            failure(of: bitmap(width: 90_000, height: 20_000, bits: 8, compression: 1, [0, 1]))
                == .tooManyPixels(format: .bmp, width: 90_000, height: 20_000, limit: 1_000_000_000))
        guard ImageFormat.tiff.isBuilt else { return }
        let strips = grey(width: 90_000, height: 20_000, [(273, 8), (278, 20_000), (279, 4)])
        #expect(
            failure(of: tiff(strips))
                == .tooManyPixels(format: .tiff, width: 90_000, height: 20_000, limit: 1_000_000_000))
        let wide = grey(width: .max, height: .max, [(273, 8), (278, 1), (279, 4)])
        #expect(failure(of: tiff(wide)) != nil)
    }

    @Test("BMP runs and moves that leave the picture, and files of any length, are refused")
    func bitmapRuns() {
        let cases: [(String, [UInt8])] = [
            ("a move to the right of the row", [0, 2, 5, 0, 0, 1]),
            ("a move below the picture", [0, 2, 0, 4, 0, 1]),
            ("a move to the far corner", [0, 2, 255, 255]),
            ("pixels behind the row", [0, 6, 1, 1, 1, 1, 1, 1, 0, 1]),
            ("no code", []), ("half a code", [4]), ("half a move", [0, 2, 1]),
            ("half of the pixels", [0, 4, 1, 1]),
            ("no end", [4, 1, 0, 0]),
        ]
        for (name, codes) in cases {
            let error = failure(of: bitmap(width: 4, height: 4, bits: 8, compression: 1, codes))
            switch error {
            case .truncated(.bmp, _, _, _), .corrupt(.bmp, _, _): break
            default: Issue.record("\(name): \(String(describing: error))")
            }
        }
        // Runs that are too long for their row are cut, rows after the last one are not looked at.
        let long: [UInt8] = [255, 1, 0, 0] + [4, 0, 0, 0] + [0, 0, 0, 0] + [4, 1, 4, 1]
        #expect(failure(of: bitmap(width: 4, height: 4, bits: 8, compression: 1, long)) == nil)
        #expect(failure(of: bitmap(width: 4, height: 4, bits: 24, [1, 2, 3])) != nil)
        for (bits, compression) in [(UInt16(3), UInt32(0)), (8, 2), (4, 1), (24, 4), (24, 5), (1, 3), (8, 9)]
        {
            guard
                case .unsupportedVariant = failure(
                    of: bitmap(width: 1, height: 1, bits: bits, compression: compression, [0, 0, 0, 0]))
            else {
                Issue.record("\(bits) bits with compression \(compression)")
                continue
            }
        }
    }

    @Test("TIFF strips and tiles that lie about their place and size are refused")
    func tiffStrips() {
        guard ImageFormat.tiff.isBuilt else { return }
        let lies: [(String, [(UInt16, UInt32)])] = [
            ("strip beyond the file", [(273, 4000), (278, 2), (279, 4)]),
            ("no strip", []),
            ("more strips than there are", [(273, 8), (278, 1), (279, 2)]),
            ("tiles without a side", [(322, 0), (323, 16), (324, 8), (325, 4)]),
            ("giant tiles", [(322, 1 << 20), (323, 1 << 20), (324, 8), (325, 4)]),
            ("tiles that do not end at bytes", [(258, 1), (322, 3), (323, 16), (324, 8), (325, 4)]),
            ("a tile beyond the file", [(322, 16), (323, 16), (324, 900), (325, 256)]),
            ("a giant tile for a small picture", [(322, 16_384), (323, 16_384), (324, 8), (325, 4)]),
        ]
        for (name, tags) in lies {
            #expect(failure(of: tiff(grey(width: 2, height: 2, tags))) != nil, "\(name)")
        }
        // A wrong length of the only strip is corrected where every pixel is in the file.
        for length: UInt32 in [4, 1, 4_000_000_000] {
            let file = tiff(grey(width: 2, height: 2, [(273, 8), (278, 2), (279, length)]))
            let pixels = try? ImageDecoder.decode(file, limits: FormatCase.limits).pixels
            #expect(pixels == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4], "a length of \(length)")
        }
        let variants: [(String, [(UInt16, UInt32)])] = [
            ("LZMA", [(259, 34_925)]), ("old JPEG", [(259, 6)]), ("Zstandard", [(259, 50_000)]),
            ("Lab", [(262, 8), (277, 3)]), ("32 bits", [(258, 32)]),
            ("floating point", [(258, 16), (339, 3)]),
            ("100 samples", [(277, 100)]),
        ]
        for (name, tags) in variants {
            let error = failure(of: tiff(grey(width: 2, height: 2, [(273, 8), (278, 2), (279, 4)] + tags)))
            switch error {
            case .unsupportedVariant(.tiff, _), .corrupt(.tiff, _, _): break
            default: Issue.record("\(name): \(String(describing: error))")
            }
        }
    }

    private struct Lie: Decodable {
        let name: String
        let file: Data
    }

    @Test("HEIC and AVIF that hold larger pictures than they say are refused before those are decoded")
    func lyingSizes() throws {
        guard ImageFormat.heic.isBuilt else { return }
        let lies = try JSONDecoder().decode([Lie].self, from: Fixture.data("images/lies.json"))
        #expect(lies.map(\.name) == ["heic", "avif"])
        for lie in lies {
            let format = try #require(ImageFormat.allCases.first { $0.optionName == lie.name })
            guard case .overLimit(format, _) = failure(of: [UInt8](lie.file)) else {
                Issue.record("\(lie.name): \(String(describing: failure(of: [UInt8](lie.file))))")
                continue
            }
        }
    }

    @Test("a grid whose canvas is not what its properties say, or not covered by its tiles, is refused")
    func grids() throws {
        guard let example = try FormatCase.named("avif-grid") else { return }
        let file = [UInt8](example.file)
        func replacing(_ old: [UInt8], _ new: [UInt8], in file: [UInt8]) throws -> [UInt8] {
            let at = try #require((0..<file.count - old.count).first { file[$0...].starts(with: old) })
            var changed = file
            changed.replaceSubrange(at..<at + old.count, with: new)
            return changed
        }
        // Version, flags, two rows and two columns, 128x128.
        let canvas: [UInt8] = [0, 0, 1, 1, 0, 128, 0, 128]
        let giant = try replacing(canvas, [0, 0, 1, 1, 0xFF, 0xFF, 0xFF, 0xFF], in: file)
        #expect(
            failure(of: giant)
                == .tooManyPixels(format: .avif, width: 65_535, height: 65_535, limit: 1_000_000_000))
        let large = try replacing(canvas, [0, 0, 1, 1, 0x40, 0, 0x40, 0], in: file)
        guard case .tooMuchMemory(.avif, 16_384, 16_384, _, _) = failure(of: large) else {
            Issue.record("a canvas of 16384x16384: \(String(describing: failure(of: large)))")
            return
        }
        let other = try replacing(canvas, [0, 0, 1, 1, 0, 127, 0, 128], in: file)
        #expect(failure(of: other) != nil)
        let missing = try replacing(canvas, [0, 0, 9, 9, 0, 128, 0, 128], in: file)
        #expect(failure(of: missing) != nil)
        // Four tiles in a row have as many pixels as the canvas, and leave its lower half as memory was.
        let row = try replacing(canvas, [0, 0, 0, 3, 0, 128, 0, 128], in: file)
        #expect(failure(of: row) != nil)
        let column = try replacing(canvas, [0, 0, 3, 0, 0, 128, 0, 128], in: file)
        #expect(failure(of: column) != nil)
        // libheif takes the last of several meta boxes; which one was checked must not matter.
        let start = try #require((0..<file.count).first { file[$0...].starts(with: Array("meta".utf8)) }) - 4
        let length = file[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
        let twice = file + file[start..<start + length]
        guard case .overLimit(.avif, _) = failure(of: twice) else {
            Issue.record("two meta boxes: \(String(describing: failure(of: twice)))")
            return
        }
        let size: [UInt8] = Array("ispe".utf8) + [0, 0, 0, 0, 0, 0, 0, 128, 0, 0, 0, 128]
        let wide: [UInt8] = Array("ispe".utf8) + [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0]
        let uncovered = try replacing(
            size, wide, in: replacing(canvas, [0, 0, 1, 1, 1, 0, 1, 0], in: file))
        #expect(failure(of: uncovered) != nil)
    }

    @Test("damaged LZW data of a GIF is not a picture")
    func gifData() throws {
        guard let example = try FormatCase.named("gif-plain") else { return }
        let file = [UInt8](example.file)
        // The block of codes begins with the palette of 48 bytes, a descriptor of 10 and the code size behind it.
        let start = 13 + 48 + 10 + 1 + 1
        var early = file
        // The code that ends the data, 17 of 5 bits, as the first one.
        early[start] = 17
        #expect(failure(of: early) != nil)
        var impossible = file
        for at in start..<start + 40 { impossible[at] = 0xFF }
        #expect(failure(of: impossible) != nil)
        var wide = file
        wide[start - 2] = 12
        #expect(failure(of: wide) != nil)
    }
}
