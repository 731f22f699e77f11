import Foundation
import Tensors
import TestSupport
import Testing

@testable import ImageInput

extension ImageOrientation {
    /// What turns an upright picture to be stored like this.
    fileprivate var inverse: ImageOrientation {
        switch self {
        case .needsClockwiseTurn: .needsCounterclockwiseTurn
        case .needsCounterclockwiseTurn: .needsClockwiseTurn
        default: self
        }
    }
}

private struct ResizeCase: Decodable {
    let source: [Int]
    let target: [Int]
    let rgb: Data
}

/// Pillow's `resize((width, height), BICUBIC)`.
func resized(_ image: RGBImage, width: Int, height: Int) throws -> RGBImage {
    let resample = try #require(
        BicubicResample(horizontal: .init(image.width, to: width), vertical: .init(image.height, to: height)))
    return try RGBImage(
        width: width, height: height, pixels: image.pixels.withUnsafeBufferPointer { resample($0) })
}

@Suite("Bicubic resampling equals Pillow bit for bit")
struct ResampleTests {
    /// A grey picture given by rows, resized; the first channel by rows.
    private func resizeGrey(_ rows: [[Int]], _ width: Int, _ height: Int) throws -> [[Int]] {
        let pixels: [UInt8] = rows.joined().flatMap { [UInt8](repeating: UInt8($0), count: 3) }
        let image = try RGBImage(width: rows[0].count, height: rows.count, pixels: pixels)
        let resized = try resized(image, width: width, height: height)
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
            let resized = try resized(image, width: example.target[0], height: example.target[1])
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

    @Test("rows that come one after the other, stored in any orientation, give the same bytes")
    func streamsAgree() throws {
        var random = SeededGenerator()
        for round in 0..<120 {
            let upright = try noise(
                Int.random(in: 1...90, using: &random), Int.random(in: 1...90, using: &random))
            let side = max(upright.width, upright.height) + Int.random(in: 0...20, using: &random)
            let target = Int.random(in: 1...130, using: &random)
            let outputs = Int.random(in: 0..<target, using: &random)..<target
            func axis(_ length: Int) -> BicubicResample.Axis {
                .init(
                    padded: side, before: (side - length) / 3, real: length, resized: target, outputs: outputs
                )
            }
            // Different scales, so that both orders of the passes come up.
            let across = BicubicResample.Axis(upright.width, to: Int.random(in: 1...130, using: &random))
            let resample = try #require(
                BicubicResample(
                    horizontal: round % 2 == 0 ? axis(upright.width) : across, vertical: axis(upright.height),
                    background: (255, 3, 128), variant: round % 3 == 0 ? .scalar : .automatic))
            let expected = RGBImage(
                checkedWidth: resample.width, height: resample.height,
                pixels: upright.pixels.withUnsafeBufferPointer { resample($0) })
            for orientation in ImageOrientation.allCases {
                let stored = upright.turned(orientation.inverse)
                #expect(stored.turned(orientation) == upright)
                let plan = resample.stored(
                    mirrorsX: orientation.mirrorsX, mirrorsY: orientation.mirrorsY,
                    swapsSides: orientation.swapsSides)
                let result = RGBImage(
                    checkedWidth: plan.width, height: plan.height, pixels: streamed(plan, stored))
                #expect(result.turned(orientation) == expected, "\(orientation), round \(round)")
            }
        }
    }

    private func streamed(_ resample: BicubicResample, _ image: RGBImage) -> [UInt8] {
        var result = [UInt8]()
        var offset = 0
        resample.stream { count, buffer in
            let bytes = count * image.width * 3
            #expect(buffer.count == bytes)
            _ = buffer.update(fromContentsOf: image.pixels[offset..<(offset + bytes)])
            offset += bytes
        } writing: { rows, band in
            #expect(rows.lowerBound * resample.width * 3 == result.count)
            result += Array(band)
        }
        #expect(offset == image.pixels.count)
        return result
    }

    @Test("a picture of 200 megapixels is resized with a few megabytes")
    func streamingMemory() throws {
        for (width, height) in [(17_000, 12_000), (12_000, 17_000), (100_000, 2_000), (2_000, 100_000)] {
            for size in [256, 1024, 1536] {
                let side = max(width, height)
                func axis(_ length: Int) -> BicubicResample.Axis {
                    .init(
                        padded: side, before: (side - length) / 2, real: length, resized: size,
                        outputs: 0..<size)
                }
                let pad = try #require(BicubicResample(horizontal: axis(width), vertical: axis(height)))
                #expect(pad.streamingBytes < 8 << 20)
                let turned = pad.stored(mirrorsX: true, mirrorsY: false, swapsSides: true)
                // Whole rows, 4 per row of the result and level of reduction.
                #expect(turned.streamingBytes < max(side * 3 * (4 * side / size + 24), 8 << 20))
            }
        }
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
