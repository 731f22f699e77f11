/// What is refused before anything the size of the picture is allocated.
package struct ImageLimits: Equatable, Sendable {
    /// Most pixels a header may promise.
    package var pixels: Int
    /// Most bytes of a file, read or handed over.
    package var fileBytes: Int
    /// Longest side a header may promise.
    package var side: Int
    /// The formats that are looked at; others are refused by their signature.
    package var formats: Set<ImageFormat>

    package init(
        pixels: Int = 100_000_000, fileBytes: Int = 64 << 20, side: Int = 30_000,
        formats: Set<ImageFormat> = ImageFormat.web
    ) {
        self.formats = formats
        self.pixels = pixels
        self.fileBytes = fileBytes
        self.side = side
    }

    package static let standard = ImageLimits()

    func check(format: ImageFormat) throws(ImageInputError) {
        guard format.isBuilt else { throw .formatNotBuilt(format) }
        guard formats.contains(format) else { throw .formatNotEnabled(format) }
    }

    /// Decoded memory is 3 bytes a pixel here; a progressive JPEG takes up to 6 more inside libjpeg, a
    /// lossless WebP 4 more inside libwebp.
    func check(width: Int, height: Int, format: ImageFormat) throws(ImageInputError) {
        guard width > 0, height > 0 else {
            throw .corrupt(format: format, offset: nil, detail: "the header says \(width)x\(height) pixels")
        }
        guard max(width, height) <= side else {
            throw .sideTooLong(format: format, width: width, height: height, limit: side)
        }
        let (count, overflow) = width.multipliedReportingOverflow(by: height)
        // Three bytes a pixel must be countable even when a caller lifts every limit.
        guard !overflow, count <= pixels, count <= Int.max / 4 else {
            throw .tooManyPixels(format: format, width: width, height: height, limit: pixels)
        }
    }
}
