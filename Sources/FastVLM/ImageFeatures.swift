internal import Checkpoints
internal import Generation
package import SystemFiles
internal import Tensors

#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

/// What the encoder saw in one image: its visual tokens before and after the projector.
///
/// ```swift
/// let encoded = try await model.encode(.file(url))
/// try encoded.write(to: URL(filePath: "features.safetensors"))
/// ```
public struct ImageFeatures: Sendable {
    /// Seconds per stage.
    ///
    /// ```swift
    /// print(encoded.seconds.encode)
    /// ```
    public struct Seconds: Sendable, Hashable, Codable {
        public let decodeImage: Double
        public let preprocess: Double
        public let encode: Double
        public let project: Double
    }

    private let featureTensor: Tensor
    private let projectedTensor: Tensor
    public let seconds: Seconds
    /// What is worth knowing about the image's file, in sentences.
    public let remarks: [String]

    init(
        _ output: ImageEncodings.Output, of image: PreparedPixels, durations: ImagePreparation.Durations
    ) {
        featureTensor = output.features
        projectedTensor = output.projected
        seconds = Seconds(
            decodeImage: durations.decode.seconds, preprocess: durations.preprocess.seconds,
            encode: output.durations.encode.seconds, project: output.durations.project.seconds)
        remarks = image.remarks
    }

    /// Number of visual tokens that the decoder reads, in row-major order of the final map.
    public var tokens: Int { projectedTensor.shape[0] }
    /// Channels of a visual feature (3,072 in the published models).
    public var featureChannels: Int { featureTensor.shape[1] }
    /// The decoder's width.
    public var hiddenSize: Int { projectedTensor.shape[1] }
    /// The encoder's output, [tokens, featureChannels] row-major; of an image in tiles that of every tile, the whole image
    /// first, before they are put together.
    public var features: [Float] { featureTensor.floats() }
    /// The projector's output, [tokens, hiddenSize] row-major: what the decoder reads in place of text embeddings.
    public var projected: [Float] { projectedTensor.floats() }

    /// The numbers of ``features`` where they stand: nothing is copied.
    ///
    /// ```swift
    /// let largest = encoded.withFeatures { $0.max() }
    /// ```
    /// - Parameter body: receives [tokens, featureChannels] row-major, which stay there as long as a copy of this value
    ///   lives
    public func withFeatures<Result>(_ body: (UnsafeBufferPointer<Float>) throws -> Result) rethrows -> Result
    {
        try body(featureTensor.bytes.assumingMemoryBound(to: Float.self))
    }

    /// The numbers of ``projected`` where they stand: nothing is copied.
    ///
    /// ```swift
    /// let first = encoded.withProjected { Array($0.prefix(encoded.hiddenSize)) }
    /// ```
    /// - Parameter body: receives [tokens, hiddenSize] row-major, which stay there as long as a copy of this value lives
    public func withProjected<Result>(_ body: (UnsafeBufferPointer<Float>) throws -> Result) rethrows
        -> Result
    {
        try body(projectedTensor.bytes.assumingMemoryBound(to: Float.self))
    }

    /// Writes `features` and `projected` as a safetensors file, float32. A file that is there is replaced at once, when
    /// the new one is complete; a symbolic link is followed; a device, pipe or folder is refused.
    ///
    /// ```swift
    /// try encoded.write(to: URL(filePath: "features.safetensors"))
    /// ```
    /// - Throws: `FastVLMError` of kind `output` when the file cannot be written.
    public func write(to url: URL) throws {
        guard url.isFileURL else {
            throw FastVLMError(.output, "features are written to a file, not to \(url.scheme ?? "")://")
        }
        do {
            try write(to: OutputFile(url.path))
        } catch {
            throw FastVLMError.translating(error)
        }
    }

    /// Writes the same to a file that was checked before the work, or to a stream.
    package func write(to file: OutputFile) throws {
        do {
            try SafetensorsWriter.write(
                [("features", featureTensor), ("projected", projectedTensor)],
                metadata: ["format": "fastvlm-features"], to: file)
        } catch {
            throw FastVLMError.translating(error)
        }
    }
}
