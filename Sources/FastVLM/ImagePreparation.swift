internal import Checkpoints
internal import Foundation
internal import ImageInput
internal import Tensors

/// Image files to pixels at the model's resolution, with the checkpoint's geometry and the caller's limits.
struct ImagePreparation: Sendable {
    struct Durations {
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
        let mean = configuration.imageMean
        return try ImagePreprocessor(
            geometry: geometry == .pad
                ? .pad(background: RGBColor(mean: mean.map(Double.init)) ?? .black) : .crop,
            size: configuration.imageSize, mean: mean, std: configuration.imageStandardDeviation)
    }

    /// The bytes of an image's file, within the limits.
    /// - Throws: `ImageInputError`.
    func read(_ source: ImageSource, durations: inout Durations) throws -> Data {
        let clock = ContinuousClock()
        let start = clock.now
        defer { durations.decode += clock.now - start }
        switch source {
        case .file(let url): return try RGBImage.readBytes(path: url.path, limits: limits)
        case .data(let data): return data
        }
    }

    /// What can be prepared of images that will be asked about; the others are left to the question, which tells what
    /// is wrong with them.
    func prepareAhead(_ sources: [ImageSource], cancellation: Cancellation) -> [PreparedImage] {
        var found: [PreparedImage] = []
        var durations = Durations()
        for source in sources.prefix(PreparedImage.most) where source.canBeReadTwice {
            guard !cancellation.isCancelled else { break }
            guard let bytes = try? read(source, durations: &durations),
                !found.contains(where: { $0.bytes == bytes }),
                let pixels = try? prepare(bytes, durations: &durations)
            else { continue }
            found.append(PreparedImage(bytes: bytes, pixels: pixels))
        }
        return found
    }

    /// - Throws: `ImageInputError`.
    func prepare(_ bytes: Data, durations: inout Durations) throws -> PixelTensor {
        let clock = ContinuousClock()
        let start = clock.now
        let image = try ImageDecoder.decode(bytes, limits: limits, options: options)
        let decoded = clock.now
        let pixels = try preprocessor(image)
        durations.decode += decoded - start
        durations.preprocess += clock.now - decoded
        return pixels
    }
}

extension ImageSource {
    /// A pipe gives its bytes once, and may keep its reader waiting.
    fileprivate var canBeReadTwice: Bool {
        switch self {
        case .file(let url):
            let kind = try? url.resolvingSymlinksInPath().resourceValues(forKeys: [.isRegularFileKey])
            return kind?.isRegularFile == true
        case .data: return true
        }
    }
}

/// An image whose pixels are ready before it is asked about.
struct PreparedImage: Sendable {
    static let most = 8

    let bytes: Data
    let pixels: PixelTensor
}
