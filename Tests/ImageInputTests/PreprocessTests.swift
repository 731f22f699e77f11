import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@testable import ImageInput

private struct Fixtures: Decodable {
    struct Square: Decodable {
        let geometry: String
        let size: Int
        let background: [UInt8]
        let source: [Int]
        let rgb: Data
    }
    struct Table: Decodable {
        let mean: [Float]
        let std: [Float]
        /// [256, 3] float32.
        let table: Data
    }
    let squares: [Square]
    let tables: [Table]

    static func load() throws -> Fixtures {
        try JSONDecoder().decode(Fixtures.self, from: Fixture.data("images/preprocess.json"))
    }
}

@Suite("Preprocessing equals the reference processors")
struct PreprocessTests {
    @Test("pad and crop give exactly float32(k) / float32(255) of Pillow's square")
    func squares() throws {
        for example in try Fixtures.load().squares {
            let color = RGBColor(
                red: example.background[0], green: example.background[1], blue: example.background[2])
            let preprocess = try ImagePreprocessor(
                ImagePreprocessing(geometry: example.geometry == "pad" ? .pad : .crop, size: example.size),
                background: color)
            let tensor = try preprocess(noise(example.source[0], example.source[1]))
            let expected: [Float] = example.rgb.map { (level: UInt8) -> Float in Float(level) / 255 }
            #expect(tensor.size == example.size)
            #expect(tensor.values == expected, "\(example.geometry) \(example.source) to \(example.size)")
        }
    }

    @Test("mean and standard deviation give NumPy's float32 bits for every level")
    func normalisation() throws {
        // A picture of the size asked for is not resized: its levels come through unchanged.
        let levels: [UInt8] = (0..<64 * 64 * 3).map { (index: Int) -> UInt8 in UInt8(index / 3 % 256) }
        let image = try RGBImage(width: 64, height: 64, pixels: levels)
        for example in try Fixtures.load().tables {
            let preprocess = try ImagePreprocessor(
                ImagePreprocessing(
                    geometry: .crop, size: 64, mean: example.mean, standardDeviation: example.std))
            let values = try preprocess(image).values[0..<256 * 3]
            let expected = example.table.withUnsafeBytes { raw in
                (0..<256 * 3).map { (index: Int) -> Float in
                    raw.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
                }
            }
            #expect(Array(values) == expected, "mean \(example.mean)")
        }
    }

    @Test("parameters that make no sense are refused by name")
    func badParameters() {
        for size in [0, -64, 8193, 1 << 40] {
            #expect(throws: ImageInputError.self) {
                try ImagePreprocessor(ImagePreprocessing(geometry: .crop, size: size))
            }
        }
        #expect(throws: ImageInputError.self) {
            try ImagePreprocessor(ImagePreprocessing(geometry: .crop, size: 64, mean: [0, 0]))
        }
        #expect(throws: ImageInputError.self) {
            try ImagePreprocessor(
                ImagePreprocessing(geometry: .crop, size: 64, standardDeviation: [1, 0, 1]))
        }
        #expect(throws: ImageInputError.self) {
            try ImagePreprocessor(
                ImagePreprocessing(geometry: .crop, size: 64, standardDeviation: [1, .nan, 1]))
        }
    }

    @Test("the padding colour is int(mean * 255), as LLaVA computes it")
    func paddingColour() {
        #expect(
            RGBColor(mean: [0.48145466, 0.4578275, 0.40821073]) == RGBColor(red: 122, green: 116, blue: 104))
        #expect(RGBColor(mean: [0, 0, 0]) == .black)
        #expect(RGBColor(mean: [0, 0, .nan]) == nil)
        #expect(RGBColor(mean: [0, 0, 2]) == nil)
    }

    @Test("sides of one pixel and extreme shapes are resized without growing the picture")
    func extremeShapes() throws {
        for (width, height) in [(1, 30_000), (30_000, 1), (1, 1), (2, 29_999)] {
            let image = try RGBImage(
                width: width, height: height, pixels: [UInt8](repeating: 200, count: width * height * 3))
            let crop = try ImagePreprocessor(ImagePreprocessing(geometry: .crop, size: 128))(image)
            #expect(crop.values.allSatisfy { $0 == Float(200) / 255 })
            let pad = try ImagePreprocessor(ImagePreprocessing(geometry: .pad, size: 64))(image)
            #expect(pad.values.count == 64 * 64 * 3)
        }
    }
}
