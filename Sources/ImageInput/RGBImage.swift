import Tensors

/// A decoded picture, upright unless the caller asked for it as stored.
package struct RGBImage: Equatable, Sendable {
    package let width: Int
    package let height: Int
    /// [height, width, 3]: red, green, blue, 0...255, top row first, no padding.
    package let pixels: [UInt8]

    /// - Throws: `ImageInputError.invalidImage` unless both sides are positive and the bytes are exactly
    ///   width * height * 3.
    package init(width: Int, height: Int, pixels: [UInt8]) throws(ImageInputError) {
        let (count, overflow) = width.multipliedReportingOverflow(by: height)
        guard width > 0, height > 0, !overflow, count <= Int.max / 3, pixels.count == count * 3 else {
            throw .invalidImage(width: width, height: height, bytes: pixels.count)
        }
        self.init(checkedWidth: width, height: height, pixels: pixels)
    }

    /// For callers in this module that have just allocated the pixels to measure.
    init(checkedWidth width: Int, height: Int, pixels: [UInt8]) {
        self.width = width
        self.height = height
        self.pixels = pixels
    }

    /// Red, green and blue at column `x`, row `y`; nil outside.
    package subscript(x: Int, y: Int) -> (red: UInt8, green: UInt8, blue: UInt8)? {
        guard x >= 0, x < width, y >= 0, y < height else { return nil }
        let at = (y * width + x) * 3
        return (pixels[at], pixels[at + 1], pixels[at + 2])
    }
}
