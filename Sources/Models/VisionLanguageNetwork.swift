package import Checkpoints
package import Tensors

/// The three networks of a FastVLM checkpoint, loaded for one precision.
package struct VisionLanguageNetwork: Sendable {
    package let configuration: ModelConfiguration
    package let precision: Precision
    package let encoder: FastViTHD
    package let projector: Projector
    package let decoder: Decoder

    /// Packs every weight of a checkpoint.
    /// - Parameter progress: told the fraction done, 0...1; may throw to stop loading
    /// - Throws: `CheckpointError` naming the tensor that is missing or has the wrong shape; `TensorError`.
    package init(
        _ source: any WeightSource, configuration: ModelConfiguration, precision: Precision,
        compute: Compute, progress: (Double) throws -> Void = { _ in }
    ) throws {
        let loader = WeightLoader(source, precision: precision, compute: compute)
        self.configuration = configuration
        self.precision = precision
        // Rough shares of the loading time, for a steady progress bar: the decoder is most of the bytes.
        let encoderShare = 0.25
        encoder = try FastViTHD(loader, configuration: configuration.vision) { fraction in
            try progress(encoderShare * fraction)
        }
        projector = try Projector(
            loader, inputs: configuration.vision.finalChannels, outputs: configuration.text.hiddenSize)
        decoder = try Decoder(
            loader, configuration: configuration.text,
            maximumPositions: configuration.maximumSequenceLength
        ) { fraction in
            try progress(encoderShare + (1 - encoderShare) * fraction)
        }
    }

    /// Visual tokens per image at the configured resolution.
    package var tokensPerImage: Int {
        let side = encoder.tokensPerSide(configuration.imageSize)
        return side * side
    }
}

extension CanonicalWeights: WeightSource {}
