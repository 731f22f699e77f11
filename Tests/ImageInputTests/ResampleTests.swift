import Foundation
import Tensors
import TestSupport
import Testing

@testable import ImageInput

private struct ResizeCase: Decodable {
    let source: [Int]
    let target: [Int]
    let rgb: Data
}

@Suite("Bicubic resampling equals Pillow bit for bit")
struct ResampleTests {
    /// A grey picture given by rows, resized; the first channel by rows.
    private func resizeGrey(_ rows: [[Int]], _ width: Int, _ height: Int) throws -> [[Int]] {
        let pixels: [UInt8] = rows.joined().flatMap { [UInt8](repeating: UInt8($0), count: 3) }
        let image = try RGBImage(width: rows[0].count, height: rows.count, pixels: pixels)
        let resized = try image.resized(width: width, height: height)
        return (0..<height).map { (y: Int) -> [Int] in
            (0..<width).map { (x: Int) -> Int in Int(resized.pixels[(y * width + x) * 3]) }
        }
    }

    @Test("the golden vectors of the reference notes hold")
    func goldenVectors() throws {
        #expect(try resizeGrey([[0, 64, 128, 255]], 8, 1) == [[0, 11, 45, 79, 108, 161, 232, 255]])
        #expect(try resizeGrey([[0, 64, 128, 255]], 2, 1) == [[35, 183]])
        #expect(try resizeGrey([[0, 0, 0, 255, 0, 0, 0, 0]], 4, 1) == [[0, 109, 29, 0]])
        #expect(try resizeGrey([[0, 255]], 3, 1) == [[0, 128, 255]])
        #expect(try resizeGrey([[0, 255]], 5, 1) == [[0, 17, 128, 238, 255]])
        #expect(try resizeGrey([[255, 0, 255, 0, 255, 0, 255]], 3, 1) == [[144, 125, 144]])
        #expect(try resizeGrey([[10, 200, 30, 250, 50, 60, 0, 255, 13]], 4, 1) == [[95, 142, 55, 117]])
        let checks = [[0, 255, 0], [255, 0, 255], [0, 255, 0]]
        #expect(try resizeGrey(checks, 2, 2) == [[121, 121], [121, 121]])
        #expect(
            try resizeGrey(checks, 4, 4) == [
                [0, 183, 183, 0], [178, 108, 108, 178], [178, 108, 108, 178], [0, 183, 183, 0],
            ])
        let ramp: [[Int]] = (0..<6).map { (y: Int) -> [Int] in
            (0..<7).map { (x: Int) -> Int in (37 * y + 53 * x) % 256 }
        }
        #expect(
            try resizeGrey(ramp, 4, 3) == [[41, 141, 179, 57], [119, 178, 85, 129], [193, 134, 102, 206]])
        #expect(
            try resizeGrey(ramp, 5, 9) == [
                [11, 81, 170, 123, 34], [28, 98, 190, 149, 50], [56, 127, 211, 150, 81],
                [81, 155, 206, 60, 115], [106, 181, 120, 57, 142], [130, 207, 47, 91, 166],
                [154, 239, 83, 116, 191], [190, 178, 83, 146, 219], [214, 115, 74, 167, 236],
            ])
    }

    @Test("odd sizes in both directions equal Pillow's resize")
    func equalsPillow() throws {
        let cases = try JSONDecoder().decode([ResizeCase].self, from: Fixture.data("images/resize.json"))
        #expect(cases.count >= 18)
        for example in cases {
            let image = try noise(example.source[0], example.source[1])
            let resized = try image.resized(width: example.target[0], height: example.target[1])
            #expect(
                largestDifference(resized.pixels, example.rgb) == 0, "\(example.source) to \(example.target)")
        }
    }

    @Test("the vector form, the scalar form and any split into bands give the same bytes")
    func variantsAgree() throws {
        var random = SeededGenerator()
        for _ in 0..<60 {
            let width = Int.random(in: 1...90, using: &random)
            let height = Int.random(in: 1...90, using: &random)
            let image = try noise(width, height)
            let side = max(width, height) + Int.random(in: 0...20, using: &random)
            let target = Int.random(in: 1...130, using: &random)
            let first = Int.random(in: 0..<target, using: &random)
            func axis(_ length: Int) -> BicubicResample.Axis {
                .init(
                    padded: side, before: (side - length) / 2, real: length, resized: target,
                    outputs: first..<target)
            }
            let fast = try #require(
                BicubicResample(
                    horizontal: axis(width), vertical: axis(height), background: (255, 3, 128)))
            let slow = try #require(
                BicubicResample(
                    horizontal: axis(width), vertical: axis(height), background: (255, 3, 128),
                    variant: .scalar))
            let expected = image.pixels.withUnsafeBufferPointer { slow($0) }
            #expect(image.pixels.withUnsafeBufferPointer { fast($0) } == expected)
            #expect(byBands(fast, image, of: Int.random(in: 1...9, using: &random)) == expected)
        }
    }

    private func byBands(_ resample: BicubicResample, _ image: RGBImage, of count: Int) -> [UInt8] {
        var result = [UInt8]()
        image.pixels.withUnsafeBufferPointer { source in
            for start in stride(from: 0, to: resample.height, by: count) {
                let rows = start..<min(start + count, resample.height)
                var band = [UInt8](repeating: 1, count: rows.count * resample.width * 3)
                band.withUnsafeMutableBufferPointer { resample.compute(rows: rows, of: source, into: $0) }
                result += band
            }
        }
        return result
    }

    @Test("impossible axes are refused")
    func impossibleAxes() {
        let good = BicubicResample.Axis(4, to: 8)
        #expect(BicubicResample(horizontal: .init(0, to: 8), vertical: good) == nil)
        #expect(BicubicResample(horizontal: good, vertical: .init(4, to: 0)) == nil)
        let outside = BicubicResample.Axis(padded: 4, before: 2, real: 3, resized: 8, outputs: 0..<8)
        #expect(BicubicResample(horizontal: outside, vertical: good) == nil)
        let beyond = BicubicResample.Axis(padded: 4, before: 0, real: 4, resized: 8, outputs: 0..<9)
        #expect(BicubicResample(horizontal: good, vertical: beyond) == nil)
    }
}
