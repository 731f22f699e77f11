package import Checkpoints
internal import Models
package import Tensors

/// A system of the paper's comparisons (FastVLM, arXiv 2412.13303) at its published dimensions, asked about one image of a
/// size, to be filled with ``SyntheticWeights``.
package struct ComparedSystem: Sendable, Equatable {
    /// What the paper measured, with the encoder on an M1 Max's neural engine and the decoder on its GPU.
    package struct Paper: Sendable, Equatable {
        package let encodeSeconds: Double
        package let prefillSeconds: Double

        package var firstToken: Double { encodeSeconds + prefillSeconds }
    }

    package let name: String
    package let configuration: ModelConfiguration
    /// Pixels per side of the image.
    package let imageSide: Int
    package let paper: Paper?

    package init(
        name: String, configuration: ModelConfiguration, imageSide: Int, paper: Paper? = nil
    ) {
        self.name = name
        self.configuration = configuration
        self.imageSide = imageSide
        self.paper = paper
    }

    /// How the image is cut into tiles; nil where it is encoded as a whole.
    package var arrangement: TileArrangement? {
        configuration.preprocessing.arrangement(height: imageSide, width: imageSide)
    }
    /// Squares that the encoder takes.
    package var encodings: Int { arrangement?.count ?? 1 }
    package var visualTokens: Int { configuration.visualTokens(arrangement) }

    package static let oneVision = ComparedSystem(
        name: "LLaVA-OneVision-0.5B", configuration: oneVisionConfiguration, imageSide: 1152,
        paper: Paper(encodeSeconds: 2.7214, prefillSeconds: 11.4024))

    package static let fastVLMHalf = ComparedSystem(
        name: "FastVLM-0.5B", configuration: SyntheticModel.half.configuration, imageSide: 1024,
        paper: Paper(encodeSeconds: 0.1163, prefillSeconds: 0.0505))

    package static let llava = ComparedSystem(
        name: "LLaVA-1.5-7B", configuration: llavaConfiguration, imageSide: 336,
        paper: Paper(encodeSeconds: 0.1274, prefillSeconds: 1.17))

    /// - Parameter side: 256, 512, 768 or 1024; the paper's table leaves 512 out.
    package static func fastVLMVicuna(side: Int) -> ComparedSystem {
        var configuration = SyntheticModel.half.configuration
        configuration.text = vicuna
        configuration.maximumSequenceLength = vicuna.maximumPositions
        configuration.preprocessing.size = side
        let papers = [
            256: Paper(encodeSeconds: 0.0068, prefillSeconds: 0.1434),
            768: Paper(encodeSeconds: 0.0548, prefillSeconds: 0.3321),
            1024: Paper(encodeSeconds: 0.1163, prefillSeconds: 0.4611),
        ]
        return ComparedSystem(
            name: "FastVLM-Vicuna-7B", configuration: configuration, imageSide: side, paper: papers[side])
    }

    // MARK: Dimensions

    static let vicuna = DecoderConfiguration(
        kind: .llama, hiddenSize: 4096, layers: 32, heads: 32, keyValueHeads: 32, headDimension: 128,
        intermediateSize: 11008, vocabularySize: 32000, rmsNormEpsilon: 1e-5, ropeTheta: 10_000,
        maximumPositions: 4096, tiedEmbeddings: false, hasAttentionBias: false)

    private static let oneVisionConfiguration = ModelConfiguration(
        vision: .visionTransformer(.siglipSO400M384), text: SyntheticModel.half.configuration.text,
        preprocessing: ImagePreprocessing(
            geometry: .pad, size: 384, mean: [0.5, 0.5, 0.5], standardDeviation: [0.5, 0.5, 0.5],
            tiling: .anyResolution(.oneVision)),
        maximumSequenceLength: 8192, modelType: "synthetic-onevision")

    private static let llavaConfiguration = ModelConfiguration(
        vision: .visionTransformer(.clipLarge336), text: vicuna,
        preprocessing: ImagePreprocessing(geometry: .pad, size: 336),
        maximumSequenceLength: vicuna.maximumPositions, modelType: "synthetic-llava")

    // MARK: Memory

    /// The same with fewer layers of its decoder.
    package func withLayers(_ layers: Int) -> ComparedSystem {
        var configuration = configuration
        configuration.text.layers = layers
        return ComparedSystem(
            name: name, configuration: configuration, imageSide: imageSide, paper: paper)
    }

    /// About how many bytes it takes to load and to run, without its vision tower: weights, keys and values, and a gigabyte
    /// for activations and what is being packed.
    package func decoderBytes(_ precision: Precision, textTokens: Int) -> Int {
        let text = configuration.text
        let width = text.hiddenSize
        let layer =
            2 * width * (text.queryWidth + text.keyValueWidth) + 3 * width * text.intermediateSize
        let table = text.vocabularySize * width
        let (perWeight, perScore): (Double, Double) =
            switch precision {
            case .float32: (4, 2)
            case .bfloat16: (2, 2)
            case .int8, .int8Weights: (1.1, 1.1)
            case .int4, .int4Weights: (0.65, 1.1)
            }
        let cached = (visualTokens + textTokens) * text.layers * 2 * text.keyValueWidth * 4
        return Int(perWeight * Double(layer * text.layers) + (2 + perScore) * Double(table)) + cached + 1
            << 30
    }

    /// Parameters of its vision tower, as published.
    package var towerParameters: Int {
        switch configuration.vision {
        case .visionTransformer(let tower): tower.parameters
        // As timm counts them, batch normalisation folded.
        case .fastViTHD: 122_714_208
        }
    }
}

/// One system beside FastVLMs with the same decoder.
package struct Comparison: Sendable {
    package let system: ComparedSystem
    package let fastVLMs: [ComparedSystem]

    package static let all = [
        Comparison(system: .oneVision, fastVLMs: [.fastVLMHalf]),
        Comparison(
            system: .llava, fastVLMs: [256, 512, 768, 1024].map { .fastVLMVicuna(side: $0) }),
    ]
}

extension VisionTransformerConfiguration {
    /// Of all blocks that are stored, used or not.
    package var parameters: Int {
        let norm = 2 * width
        let block = 4 * (width * width + width) + 2 * norm + 2 * width * hidden + hidden + width
        let patches = 3 * patchSide * patchSide * width + (hasPatchBias ? width : 0)
        return patches + (hasClassToken ? width : 0) + positions * width + (hasPreNorm ? norm : 0)
            + storedLayers * block + (storesPostNorm ? norm : 0)
    }
}
