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
