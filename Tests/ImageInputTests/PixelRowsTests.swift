import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@testable import ImageInput

@Suite("Pixels that need no decoding")
struct PixelRowsTests {
    @Test("Pixels give the floats of the files that hold them, padded and cropped")
    func equalToFiles() throws {
        var checked = 0
        for example in try DecodeCase.all() where example.name.hasPrefix("png") && !example.isIncomplete {
            let image = try ImageDecoder.decode(example.file)
            for geometry in ImageGeometry.allCases {
                let preprocess = try ImagePreprocessor(ImagePreprocessing(geometry: geometry, size: 64))
                let given = try image.pixels.withUnsafeBytes { raw in
                    try preprocess(
                        PictureReader(rgb: raw, width: image.width, height: image.height),
                        cancellation: Cancellation())?.pixels
                }
                #expect(try given == preprocess(image), "\(example.name)")
            }
            checked += 1
        }
        #expect(checked > 3)
    }

    private func failure(
        _ count: Int, _ width: Int, _ height: Int, limits: ImageLimits = .standard
    ) -> ImageInputError? {
        let bytes = [UInt8](repeating: 7, count: count)
        do throws(ImageInputError) {
            _ = try bytes.withUnsafeBytes { raw in
                Result { () throws(ImageInputError) in
                    try PictureReader(rgb: raw, width: width, height: height, limits: limits).width
                }
            }.get()
            return nil
        } catch { return error }
    }

    @Test("Bytes that do not fit the sides, and sides beyond the limits, are refused")
    func checks() {
        #expect(failure(36, 4, 3) == nil)
        for (width, height) in [(4, 4), (0, 0), (-4, -3), (Int.max, 2), (1 << 62, 4)] {
            #expect(failure(36, width, height) == .invalidImage(width: width, height: height, bytes: 36))
        }
        #expect(
            failure(36, 4, 3, limits: ImageLimits(side: 3))
                == .sideTooLong(format: nil, width: 4, height: 3, limit: 3))
        #expect(
            failure(36, 4, 3, limits: ImageLimits(pixels: 11))
                == .tooManyPixels(format: nil, width: 4, height: 3, limit: 11))
        let sentence = ImageInputError.sideTooLong(format: nil, width: 4, height: 3, limit: 3)
        #expect("\(sentence)".hasPrefix("the pixels are 4x3, the longest side allowed is 3"))
    }
}
