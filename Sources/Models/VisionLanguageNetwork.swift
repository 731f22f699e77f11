package import Checkpoints
package import Tensors

/// The three networks of a checkpoint, loaded for one precision.
package struct VisionLanguageNetwork: Sendable {
    package let configuration: ModelConfiguration
    package let precision: Precision
    package let encoder: any VisionTower
    package let projector: Projector
    /// How visual tokens of tiles are put together; nil for models that take an image as a whole.
    package let tileAssembly: TileAssembly?
    package let decoder: Decoder
    /// What was seen of the weights that changes answers.
    package let remarks: [String]

    /// Packs every weight of a checkpoint.
    /// - Parameters:
    ///   - recorder: receives every packed matrix
    ///   - shared: a decoder that is loaded already, of the same configuration and weights
    ///   - feedback: how rounding errors of the decoder's integers are made up for, by canonical name
    ///   - progress: told the fraction done, 0...1; may throw to stop loading
    /// - Throws: `CheckpointError` naming the tensor that is missing, has the wrong shape or holds NaN or infinity;
    ///   `TensorError`.
    package init(
        _ source: any WeightSource, configuration: ModelConfiguration, precision: Precision,
        compute: Compute, sharing shared: Decoder? = nil, recorder: PanelRecorder? = nil,
        feedback: [String: ErrorFeedback] = [:],
        progress: (Double) throws -> Void = { _ in }
    ) throws {
        let findings = LoadFindings()
        func weights(for format: WeightFormat) -> any WeightSource {
            format.group == nil ? source : EqualizedWeights.equalizing(source, configuration: configuration)
        }
        // The tower and the decoder share no weights that are changed together.
        let loader = WeightLoader(
            weights(for: precision.visionFormat), format: precision.visionFormat, compute: compute,
            recorder: recorder, findings: findings)
        self.configuration = configuration
        self.precision = precision
        // Rough shares of the loading time, for a steady progress bar: the decoder is most of the bytes.
        let encoderShare = 0.25
        encoder = try Self.tower(loader, configuration: configuration.vision) { fraction in
            try progress(encoderShare * fraction)
        }
        projector = try Projector(
            loader, inputs: encoder.featureChannels, outputs: configuration.text.hiddenSize)
        if case .anyResolution(let tiling) = configuration.preprocessing.tiling {
            tileAssembly = try TileAssembly(
                loader, tiling: tiling, side: configuration.tokensPerSide,
                channels: configuration.text.hiddenSize)
        } else {
            tileAssembly = nil
        }
        if let shared {
            precondition(shared.configuration == configuration.text, "another decoder")
            decoder = shared
        } else {
            decoder = try Decoder(
                WeightLoader(
                    weights(for: precision.textFormat), format: precision.textFormat, compute: compute,
                    recorder: recorder,
                    findings: findings, feedback: feedback, isWeightOnly: precision.isWeightOnly),
                configuration: configuration.text,
                maximumPositions: configuration.maximumSequenceLength
            ) { fraction in
                try progress(encoderShare + (1 - encoderShare) * fraction)
            }
        }
        remarks = findings.remarks
    }

    /// The tower that a checkpoint asks for.
    private static func tower(
        _ loader: WeightLoader, configuration: VisionConfiguration, progress: (Double) throws -> Void
    ) throws -> any VisionTower {
        switch configuration {
        case .fastViTHD(let tower): try FastViTHD(loader, configuration: tower, progress: progress)
        case .visionTransformer(let tower):
            try VisionTransformer(loader, configuration: tower, progress: progress)
        }
    }

    /// Visual tokens of an image that is encoded as a whole at the configured resolution.
    package var tokensPerImage: Int {
        configuration.reduced(encoder.tokens(side: configuration.preprocessing.size))
    }
}

extension CanonicalWeights: WeightSource {}

extension Precision {
    /// Encoder and projector. They are a fifth of the bytes and most of the arithmetic, which 4 bits do not
    /// make faster.
    var visionFormat: WeightFormat {
        switch self {
        case .float32: .float32
        case .bfloat16, .int8Weights, .int4Weights: .bfloat16
        case .int8, .int4: .int8(group: 256)
        }
    }

    /// The decoder, which is read whole for every token.
    package var textFormat: WeightFormat {
        switch self {
        case .float32: .float32
        case .bfloat16: .bfloat16
        case .int8, .int8Weights: .int8(group: 128)
        case .int4, .int4Weights: .int4(group: 64)
        }
    }
}
