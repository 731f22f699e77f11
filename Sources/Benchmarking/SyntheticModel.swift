package import Checkpoints

/// Dimensions of the published FastVLM models, to be filled with ``SyntheticWeights``.
package enum SyntheticModel: String, Sendable, CaseIterable {
    case half = "0.5b"
    case oneAndAHalf = "1.5b"
    case seven = "7b"

    package var configuration: ModelConfiguration {
        let text: DecoderConfiguration =
            switch self {
            case .half:
                Self.qwen2(hidden: 896, layers: 24, heads: 14, groups: 2, head: 64, feedForward: 4864)
            case .oneAndAHalf:
                Self.qwen2(hidden: 1536, layers: 28, heads: 12, groups: 2, head: 128, feedForward: 8960)
            case .seven:
                Self.qwen2(
                    hidden: 3584, layers: 28, heads: 28, groups: 4, head: 128, feedForward: 18944,
                    vocabulary: 152_064, tied: false)
            }
        return ModelConfiguration(
            vision: .fastViTHD(
                FastViTHDConfiguration(
                    depths: [2, 12, 24, 4, 2], widths: [96, 192, 384, 768, 1536],
                    mlpRatios: [4, 4, 4, 4, 4],
                    tokenMixers: [.repMixer, .repMixer, .repMixer, .attention, .attention],
                    positionEncoding: [false, false, false, true, true], finalChannels: 3072,
                    squeezeReduction: 192)),
            text: text, preprocessing: ImagePreprocessing(geometry: .pad, size: 1024),
            maximumSequenceLength: 8192,
            modelType: "synthetic-\(rawValue)")
    }

    private static func qwen2(
        hidden: Int, layers: Int, heads: Int, groups: Int, head: Int, feedForward: Int,
        vocabulary: Int = 151_936, tied: Bool = true
    ) -> DecoderConfiguration {
        DecoderConfiguration(
            hiddenSize: hidden, layers: layers, heads: heads, keyValueHeads: groups, headDimension: head,
            intermediateSize: feedForward, vocabularySize: vocabulary, rmsNormEpsilon: 1e-6,
            ropeTheta: 1_000_000, maximumPositions: 32768, tiedEmbeddings: tied, hasAttentionBias: true)
    }
}
