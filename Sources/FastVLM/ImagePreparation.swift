internal import Checkpoints
internal import Foundation
internal import ImageInput
internal import Tensors

/// Image files to pixels at the model's resolution, with the checkpoint's geometry and the caller's limits.
struct ImagePreparation: Sendable {
    struct Durations: Sendable {
        var decode: Duration = .zero
        var preprocess: Duration = .zero
    }

    let limits: ImageLimits
    let options: ImageOptions
    let preprocessor: ImagePreprocessor

    /// The checkpoint's way from picture to pixels.
    static func preprocessor(
        _ configuration: ModelConfiguration, geometry: ImageGeometry
    ) throws(ImageInputError) -> ImagePreprocessor {
        var preprocessing = configuration.preprocessing
        preprocessing.geometry = geometry
        return try ImagePreprocessor(preprocessing)
    }

    /// Bytes of the pixels of one image.
    var pixelBytes: Int { preprocessor.size * preprocessor.size * 3 * MemoryLayout<Float>.stride }

    /// Most bytes that decoding an image takes beside its file and its pixels.
    /// - Throws: `ImageInputError` for what is no image or beyond the limits.
    func decodingBytes(_ bytes: Data) throws(ImageInputError) -> Int {
        try bytes.withUnsafeBytes { raw in
            Result { () throws(ImageInputError) in
                try preprocessor.decodingBytes(PictureReader(raw, limits: limits, options: options))
            }
        }.get()
    }

    /// The bytes of an image's file, within the limits.
    /// - Throws: `ImageInputError`; `CancellationError` once the flag is raised, also while a pipe has nothing to give.
    func read(_ source: ImageSource, durations: inout Durations, cancellation: Cancellation) throws -> Data {
        let clock = ContinuousClock()
        let start = clock.now
        defer { durations.decode += clock.now - start }
        switch source {
        case .file(let url):
            let file = try localFile(url, what: "an image", kind: .image)
            guard let bytes = try ImageFile(path: file.path).read(limits: limits, cancellation: cancellation)
            else { throw CancellationError() }
            return bytes
        case .data(let data): return data
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
                let prepared = try? prepare(bytes, durations: &durations, cancellation: cancellation)
            else { continue }
            found.append(PreparedImage(bytes: bytes, prepared: prepared))
        }
        return found
    }

    /// Decodes and resizes at once.
    /// - Throws: `ImageInputError`; `CancellationError` once the flag is raised.
    func prepare(
        _ bytes: Data, durations: inout Durations, cancellation: Cancellation
    ) throws -> PreparedPixels {
        let clock = ContinuousClock()
        let start = clock.now
        return try bytes.withUnsafeBytes { raw in
            let picture = try PictureReader(raw, limits: limits, options: options)
            guard
                let (pixels, remarks) = try preprocessor(
                    picture, limits: limits, cancellation: cancellation)
            else { throw CancellationError() }
            durations.decode += picture.readingTime
            durations.preprocess += clock.now - start - picture.readingTime
            return PreparedPixels(pixels: pixels, remarks: remarks)
        }
    }
}

/// An image as the encoder takes it.
struct PreparedPixels: Sendable {
    let pixels: PixelTensor
    /// What is worth telling about its file.
    let remarks: [String]
}

extension ImageSource {
    /// A pipe gives its bytes once, and may keep its reader waiting.
    fileprivate var canBeReadTwice: Bool {
        switch self {
        case .file(let url): ImageFile(path: url.path).size != nil
        case .data: true
        }
    }
}

/// An image whose pixels are ready before it is asked about.
struct PreparedImage: Sendable {
    static let most = 8

    let bytes: Data
    let prepared: PreparedPixels
}
