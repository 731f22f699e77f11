internal import Checkpoints
internal import ImageInput
internal import Tensors

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Image files to pixels at the model's resolution, with the checkpoint's geometry and the caller's limits.
struct ImagePreparation: Sendable {
    struct Durations: Sendable {
        var decode: Duration = .zero
        var preprocess: Duration = .zero
    }

    let limits: ImageLimits
    let options: ImageOptions
    var preprocessor: ImagePreprocessor

    /// The same at another side.
    /// - Parameter side: one that the model takes
    func resized(to side: Int) throws(ImageInputError) -> ImagePreparation {
        var preparation = self
        var description = preprocessor.description
        description.size = side
        preparation.preprocessor = try ImagePreprocessor(description, background: preprocessor.background)
        return preparation
    }

    /// The checkpoint's way from picture to pixels.
    static func preprocessor(
        _ configuration: ModelConfiguration, geometry: ImageGeometry
    ) throws(ImageInputError) -> ImagePreprocessor {
        var preprocessing = configuration.preprocessing
        preprocessing.geometry = geometry
        return try ImagePreprocessor(preprocessing)
    }

    /// Bytes of the pixels of an image, and most bytes that decoding it takes beside its file and those.
    /// - Parameter isSingleImage: whether it is the only one of its conversation
    /// - Throws: `ImageInputError` for what is no image or beyond the limits.
    func memory(
        _ image: ImageBytes, isSingleImage: Bool
    ) throws(ImageInputError) -> (pixels: Int, decoding: Int) {
        try image.data.withUnsafeBytes { raw in
            Result { () throws(ImageInputError) -> (pixels: Int, decoding: Int) in
                let picture = try reader(image, raw)
                guard preprocessor.cutsTiles(isSingleImage: isSingleImage) else {
                    let pixels = preprocessor.size * preprocessor.size * 3
                    return (
                        pixels * MemoryLayout<Float>.stride, try preprocessor.decodingBytes(picture)
                    )
                }
                let sides = picture.uprightSides
                return (
                    preprocessor.variantsBytes(width: sides.width, height: sides.height),
                    try preprocessor.variantsDecodingBytes(picture)
                )
            }
        }.get()
    }

    /// Width and height of an image that is upright, from its header.
    func sides(_ image: ImageBytes) throws(ImageInputError) -> (width: Int, height: Int) {
        try image.data.withUnsafeBytes { raw in
            Result { () throws(ImageInputError) in try reader(image, raw).uprightSides }
        }.get()
    }

    private func reader(
        _ image: ImageBytes, _ raw: UnsafeRawBufferPointer
    ) throws(ImageInputError) -> PictureReader {
        guard let (width, height) = image.sides else {
            return try PictureReader(raw, limits: limits, options: options)
        }
        return try PictureReader(rgb: raw, width: width, height: height, limits: limits)
    }

    /// The bytes of an image's file, within the limits.
    /// - Parameter received: told how many bytes a pipe has given, as they come; what it throws ends the reading
    /// - Throws: `ImageInputError`; `CancellationError` once the flag is raised, also while a pipe has nothing to give.
    func read(
        _ source: ImageSource, durations: inout Durations, cancellation: Cancellation,
        received: (Int) throws -> Void = { _ in }
    ) throws -> ImageBytes {
        let clock = ContinuousClock()
        let start = clock.now
        defer { durations.decode += clock.now - start }
        switch source.content {
        case .file(let url):
            let file = try localFile(url, what: "an image", code: .unreadableImage)
            var refusal: (any Error)?
            let bytes = try ImageFile(path: file.path).read(limits: limits, cancellation: cancellation) {
                do { try received($0) } catch { refusal = error }
                return refusal == nil
            }
            if let refusal { throw refusal }
            guard let bytes else { throw CancellationError() }
            return ImageBytes(data: bytes)
        case .data(let data): return ImageBytes(data: data)
        case .pixels(let width, let height, let rgb):
            return ImageBytes(data: rgb, width: width, height: height)
        }
    }

    /// What can be prepared of images that will be asked about; the others are left to the question, which reports what
    /// is wrong with them.
    func prepareAhead(_ sources: [ImageSource], cancellation: Cancellation) -> [PreparedImage] {
        var found: [PreparedImage] = []
        var durations = Durations()
        for source in sources.prefix(PreparedImage.most) where source.canBeReadTwice {
            guard !cancellation.isCancelled else { break }
            guard let bytes = try? read(source, durations: &durations, cancellation: cancellation),
                !found.contains(where: { $0.bytes == bytes }),
                let prepared = try? prepare(
                    bytes, isSingleImage: true, durations: &durations, cancellation: cancellation)
            else { continue }
            found.append(PreparedImage(bytes: bytes, prepared: prepared))
        }
        return found
    }

    /// Decodes and resizes at once.
    /// - Parameter isSingleImage: whether it is the only one of its conversation
    /// - Throws: `ImageInputError`; `CancellationError` once the flag is raised.
    func prepare(
        _ image: ImageBytes, isSingleImage: Bool, durations: inout Durations, cancellation: Cancellation
    ) throws -> PreparedPixels {
        let clock = ContinuousClock()
        let start = clock.now
        return try image.data.withUnsafeBytes { raw in
            let picture = try reader(image, raw)
            let prepared: PreparedPixels?
            if preprocessor.cutsTiles(isSingleImage: isSingleImage) {
                prepared = try preprocessor.variants(picture, limits: limits, cancellation: cancellation).map
                {
                    PreparedPixels(
                        pixels: $0.variants.singleImage, multiImagePixels: $0.variants.multiImage,
                        remarks: $0.remarks)
                }
            } else {
                prepared = try preprocessor(picture, limits: limits, cancellation: cancellation).map {
                    PreparedPixels(pixels: $0.pixels, remarks: $0.remarks)
                }
            }
            guard let prepared else { throw CancellationError() }
            durations.decode += picture.readingTime
            durations.preprocess += clock.now - start - picture.readingTime
            return prepared
        }
    }
}

/// What tells an image from others: the bytes of its file, or its pixels.
struct ImageBytes: Sendable, Hashable {
    var data: Data
    /// Of pixels; nil for a file.
    var width: Int?
    var height: Int?

    var sides: (width: Int, height: Int)? {
        if let width, let height { (width, height) } else { nil }
    }
}

/// An image as the encoder takes it.
struct PreparedPixels: Sendable {
    let pixels: PixelTensor
    /// What it is as one of several images, where `pixels` is something else.
    var multiImagePixels: PixelTensor?
    /// What is worth telling about its file.
    let remarks: [String]
}

extension ImageSource {
    /// A pipe gives its bytes once, and may keep its reader waiting.
    fileprivate var canBeReadTwice: Bool {
        switch content {
        case .file(let url): ImageFile(path: url.path).size != nil
        case .data, .pixels: true
        }
    }
}

/// An image whose pixels are ready before it is asked about.
struct PreparedImage: Sendable {
    static let most = 8

    let bytes: ImageBytes
    let prepared: PreparedPixels
}
