internal import Checkpoints
internal import Foundation
internal import ImageInput

/// Image files to pixels at the model's resolution, with the checkpoint's geometry and the caller's limits.
struct ImagePreparation: Sendable {
    struct Durations {
        var decode: Duration = .zero
        var preprocess: Duration = .zero
    }

    let limits: ImageLimits
    let appliesOrientation: Bool
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

    /// - Throws: `ImageInputError`.
    func prepare(_ bytes: Data, durations: inout Durations) throws -> PixelTensor {
        let clock = ContinuousClock()
        let start = clock.now
        let image = try ImageDecoder.decode(bytes, limits: limits, applyOrientation: appliesOrientation)
        let decoded = clock.now
        let pixels = try preprocessor(image)
        durations.decode += decoded - start
        durations.preprocess += clock.now - decoded
        return pixels
    }
}
