import Foundation
import TestSupport
import Testing

@testable import ImageInput

@Suite("Decoding equals Pillow")
struct DecodeTests {
    @Test("every format gives the bytes of Pillow's convert(\"RGB\")", arguments: try DecodeCase.all())
    func equalsPillow(_ example: DecodeCase) throws {
        var options = ImageOptions.reference
        options.appliesOrientation = false
        options.allowsTruncated = example.isIncomplete
        let image = try ImageDecoder.decode(example.file, options: options)
        #expect([image.width, image.height] == example.size)
        #expect(largestDifference(image.pixels, example.rgb) == 0)
    }

    @Test("EXIF orientation gives the bytes of Pillow's exif_transpose", arguments: try DecodeCase.all())
    func orientationEqualsPillow(_ example: DecodeCase) throws {
        var options = ImageOptions.reference
        options.allowsTruncated = example.isIncomplete
        let image = try ImageDecoder.decode(example.file, options: options)
        #expect([image.width, image.height] == example.uprightSize ?? example.size)
        #expect(largestDifference(image.pixels, example.uprightRGB ?? example.rgb) == 0)
    }
}
