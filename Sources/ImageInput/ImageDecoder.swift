#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// Bytes of an image file to a whole picture in RGB. The model's preparation reads rows instead
/// (``PictureReader``); both give the same pixels.
package enum ImageDecoder {
    /// - Parameters:
    ///   - bytes: a whole image file; its format is told by content.
    ///   - limits: checked against the header before the picture is allocated.
    /// - Throws: `ImageInputError`.
    package static func decode(
        _ bytes: UnsafeRawBufferPointer, limits: ImageLimits = .standard, options: ImageOptions = .standard
    ) throws(ImageInputError) -> RGBImage {
        try decodeWithRemarks(bytes, limits: limits, options: options).image
    }

    package static func decode(
        _ bytes: some ContiguousBytes, limits: ImageLimits = .standard, options: ImageOptions = .standard
    ) throws(ImageInputError) -> RGBImage {
        try decodeWithRemarks(bytes, limits: limits, options: options).image
    }

    /// The picture and what is worth telling about its file.
    package static func decodeWithRemarks(
        _ bytes: some ContiguousBytes, limits: ImageLimits = .standard, options: ImageOptions = .standard
    ) throws(ImageInputError) -> (image: RGBImage, remarks: [String]) {
        try bytes.withUnsafeBytes { raw in
            Result { () throws(ImageInputError) in
                try decodeWithRemarks(raw, limits: limits, options: options)
            }
        }.get()
    }

    package static func decodeWithRemarks(
        _ bytes: UnsafeRawBufferPointer, limits: ImageLimits = .standard, options: ImageOptions = .standard
    ) throws(ImageInputError) -> (image: RGBImage, remarks: [String]) {
        let reader = try PictureReader(bytes, limits: limits, options: options)
        var failure: ImageInputError?
        let capacity = reader.width * reader.height * 3
        try limits.checkMemory(
            capacity + reader.workingBytes, width: reader.width, height: reader.height, format: reader.format)
        let pixels = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            do throws(ImageInputError) {
                try reader.read(
                    reader.height, into: UnsafeMutableBufferPointer(rebasing: buffer[..<capacity]))
                count = capacity
            } catch {
                // Some bytes were never written; none of them may be seen.
                failure = error
                count = 0
            }
        }
        if let failure { throw failure }
        let remarks = try reader.finish()
        let image = RGBImage(checkedWidth: reader.width, height: reader.height, pixels: pixels)
        return (image.turned(reader.orientation), remarks)
    }
}
