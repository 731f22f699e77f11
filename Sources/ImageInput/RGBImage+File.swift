#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

extension RGBImage {
    /// Reads and decodes an image file, never more of it than the limit allows.
    /// - Throws: `ImageInputError`.
    package static func load(
        path: String, limits: ImageLimits = .standard, options: ImageOptions = .standard
    ) throws(ImageInputError) -> RGBImage {
        // Nothing cancels it.
        let bytes = try ImageFile(path: path).read(limits: limits) ?? .init()
        return try ImageDecoder.decode(bytes, limits: limits, options: options)
    }
}
