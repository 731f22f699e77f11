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

    /// - Throws: `ImageInputError`.
    func prepare(_ source: ImageSource, durations: inout Durations) throws -> PixelTensor {
        let clock = ContinuousClock()
        let start = clock.now
        let image: RGBImage
        switch source {
        case .file(let url):
            image = try RGBImage.load(path: url.path, limits: limits, applyOrientation: appliesOrientation)
        case .data(let data):
            image = try ImageDecoder.decode(data, limits: limits, applyOrientation: appliesOrientation)
        }
        let decoded = clock.now
        let pixels = try preprocessor(image)
        durations.decode += decoded - start
        durations.preprocess += clock.now - decoded
        return pixels
    }
}
