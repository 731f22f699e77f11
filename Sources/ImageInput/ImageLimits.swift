/// What is refused before anything the size of the picture is allocated.
package struct ImageLimits: Equatable, Sendable {
    /// Most pixels a header may promise. Rows are resized as they are decoded, so this bounds time, not memory.
    package var pixels: Int
    /// Most bytes of a file, read or handed over.
    package var fileBytes: Int
    /// Longest side a header may promise.
    package var side: Int
    /// The formats that are looked at; others are refused by their signature.
    package var formats: Set<ImageFormat>
    /// Most bytes that decoding may take for a picture that cannot be decoded row by row: coefficients of a
    /// progressive JPEG (2 to 6 bytes a pixel), an interlaced PNG (1 to 4), WebP (3 to 8).
    package var memory: Int

    package init(
        pixels: Int = 1_000_000_000, fileBytes: Int = 256 << 20, side: Int = 100_000, memory: Int = 1 << 30,
        formats: Set<ImageFormat> = ImageFormat.web
    ) {
        self.formats = formats
        self.pixels = pixels
        self.fileBytes = fileBytes
        self.side = side
        self.memory = memory
    }

    package static let standard = ImageLimits()

    func check(format: ImageFormat) throws(ImageInputError) {
        guard format.isBuilt else { throw .formatNotBuilt(format) }
        guard formats.contains(format) else { throw .formatNotEnabled(format) }
    }

    func check(width: Int, height: Int, format: ImageFormat?) throws(ImageInputError) {
        guard width > 0, height > 0 else {
            guard let format else { throw .invalidImage(width: width, height: height, bytes: 0) }
            throw .corrupt(format: format, offset: nil, detail: "the header says \(width)x\(height) pixels")
        }
        guard max(width, height) <= side else {
            throw .sideTooLong(format: format, width: width, height: height, limit: side)
        }
        let (count, overflow) = width.multipliedReportingOverflow(by: height)
        // Four bytes a pixel must be countable even when a caller lifts every limit.
        guard !overflow, count <= pixels, count <= Int.max / 4 else {
            throw .tooManyPixels(format: format, width: width, height: height, limit: pixels)
        }
    }

    /// - Parameter bytes: what decoding takes, the windows of the resize and the codec's own memory.
    func checkMemory(
        _ bytes: Int, width: Int, height: Int, format: ImageFormat?
    ) throws(ImageInputError) {
        guard bytes <= memory else {
            throw .tooMuchMemory(format: format, width: width, height: height, bytes: bytes, limit: memory)
        }
    }
}
