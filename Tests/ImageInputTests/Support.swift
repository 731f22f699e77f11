import Foundation
import TestSupport
import Testing

@testable import ImageInput

/// One case of decode.json: a file and the RGB bytes Pillow makes of it.
struct DecodeCase: Decodable, Sendable, CustomStringConvertible {
    let name: String
    let file: Data
    let size: [Int]
    let rgb: Data
    let uprightSize: [Int]?
    let uprightRGB: Data?

    var description: String { name }

    /// Pillow fills missing rows without a word; here they have to be allowed.
    var isIncomplete: Bool { name == "jpeg-early-end-marker" }

    static func all() throws -> [DecodeCase] {
        try JSONDecoder().decode([DecodeCase].self, from: Fixture.data("images/decode.json"))
    }

    static func named(_ name: String) throws -> DecodeCase {
        try #require(try all().first { $0.name == name }, "no fixture \(name)")
    }
}

/// One case of defaults.json: a file and the RGB bytes that the defaults make of it.
struct DefaultCase: Decodable, Sendable, CustomStringConvertible {
    let name: String
    let file: Data
    let background: String
    let size: [Int]
    let tolerance: Int
    let rgb: Data

    var description: String { name }

    static func all() throws -> [DefaultCase] {
        try JSONDecoder().decode([DefaultCase].self, from: Fixture.data("images/defaults.json"))
    }

    static func named(_ name: String) throws -> DefaultCase {
        try #require(try all().first { $0.name == name }, "no fixture \(name)")
    }

    var options: ImageOptions {
        let background: ImageOptions.Background =
            switch self.background {
            case "drop": .drop
            case "black": .black
            case "white": .white
            default: .color(RGBColor(red: 0x1E, green: 0x90, blue: 0xFF))
            }
        return ImageOptions(background: background)
    }
}

/// The source picture of the resize and preprocessing fixtures, the same formula as in
/// Tools/reference/image_fixtures.py.
func noise(_ width: Int, _ height: Int) throws -> RGBImage {
    var pixels = [UInt8]()
    pixels.reserveCapacity(width * height * 3)
    for y in 0..<height {
        for x in 0..<width {
            for c in 0..<3 {
                let mixed = UInt64(x) &* 73_856_093 ^ UInt64(y) &* 19_349_663 ^ UInt64(c) &* 83_492_791
                pixels.append(UInt8(truncatingIfNeeded: ((mixed & 0xFFFF_FFFF) &* 2_654_435_761) >> 24))
            }
        }
    }
    return try RGBImage(width: width, height: height, pixels: pixels)
}

/// Largest difference between two byte strings; nil when their lengths differ.
func largestDifference(_ a: some Collection<UInt8>, _ b: some Collection<UInt8>) -> Int? {
    guard a.count == b.count else { return nil }
    return zip(a, b).reduce(0) { max($0, abs(Int($1.0) - Int($1.1))) }
}

/// A picture as PNG, not compressed, with an EXIF orientation.
func pngFile(_ image: RGBImage, orientation: ImageOrientation) -> [UInt8] {
    var raw: [UInt8] = []
    for y in 0..<image.height {
        raw.append(0)
        raw += image.pixels[(y * image.width * 3)..<((y + 1) * image.width * 3)]
    }
    var (low, high) = (UInt32(1), UInt32(0))
    for byte in raw {
        low = (low + UInt32(byte)) % 65_521
        high = (high + low) % 65_521
    }
    var stream: [UInt8] = [0x78, 0x01]
    for start in stride(from: 0, to: raw.count, by: 65_535) {
        let part = raw[start..<min(start + 65_535, raw.count)]
        let length = UInt16(part.count)
        stream.append(start + 65_535 >= raw.count ? 1 : 0)
        stream += [UInt8(length & 255), UInt8(length >> 8), UInt8(~length & 255), UInt8(~length >> 8)]
        stream += part
    }
    stream += bigEndian(high << 16 | low)
    let exif: [UInt8] =
        [0x49, 0x49, 0x2A, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0]
        + [UInt8(orientation.rawValue), 0, 0, 0, 0, 0, 0, 0]
    return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
        + chunk(
            "IHDR", bigEndian(UInt32(image.width)) + bigEndian(UInt32(image.height)) + [8, 2, 0, 0, 0])
        + chunk("eXIf", exif) + chunk("IDAT", stream) + chunk("IEND", [])
}
