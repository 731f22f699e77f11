import Checkpoints
import Tensors

/// How often each kind of operation runs and how many multiplications and additions that is, from the configuration
/// alone: the architecture written down a second time, as sums over stages and layers.
struct ExpectedOperations: Equatable {
    struct Count: Equatable {
        var calls = 0
        var operations = 0
    }

    private(set) var kinds: [OperationLog.Kind: Count] = [:]

    var operations: Int { kinds.values.reduce(0) { $0 + $1.operations } }

    private init() {}

    /// What a run wrote down.
    init(_ log: OperationLog) {
        for entry in log.entries { add(entry.kind, entry.operations, calls: entry.calls) }
    }

    private mutating func add(_ kind: OperationLog.Kind, _ operations: Int, calls: Int = 1) {
        kinds[kind, default: Count()].calls += calls
        kinds[kind, default: Count()].operations += operations
    }

    /// One image of `side`² pixels, a multiple of the stride.
    static func encoding(_ vision: VisionConfiguration, side: Int) -> Self {
        switch vision {
        case .fastViTHD(let tower): encoding(tower, side: side)
        case .visionTransformer(let tower): encoding(tower)
        }
    }

    /// One image, or one tile of an image.
    private static func encoding(_ vision: VisionTransformerConfiguration) -> Self {
        var expected = Self()
        let (patches, width) = (vision.grid * vision.grid, vision.width)
        let (positions, layers) = (patches + (vision.hasClassToken ? 1 : 0), vision.layers)
        if vision.hasClassToken { expected.add(.other, width) }
        expected.add(.linear, 2 * patches * 3 * vision.patchSide * vision.patchSide * width)
        if vision.hasPreNorm { expected.add(.norm, positions * width) }
        expected.add(.norm, layers * 2 * positions * width, calls: 2 * layers)
        // Queries, keys, values and what is made of them; the two layers of the network.
        expected.add(.linear, layers * 8 * positions * width * width, calls: 4 * layers)
        expected.add(.attention, layers * 4 * positions * positions * width, calls: layers)
        expected.add(.linear, layers * 4 * positions * width * vision.hidden, calls: 2 * layers)
        return expected
    }

    private static func encoding(_ vision: FastViTHDConfiguration, side: Int) -> Self {
        var expected = Self()
        let width = vision.widths[0]
        let (half, quarter) = ((side / 2) * (side / 2), (side / 4) * (side / 4))
        expected.add(.stem, 2 * 27 * half * width)
        expected.add(.depthwise, 2 * 9 * quarter * width)
        expected.add(.linear, 2 * quarter * width * width)
        for (stage, width) in vision.widths.enumerated() {
            let blocks = vision.depths[stage]
            let extent = (side / 4) >> stage
            let positions = extent * extent
            let large = 2 * 49 * positions * width
            if stage > 0 {
                expected.add(.depthwise, large)
                expected.add(.linear, 2 * positions * width * width)
            }
            if vision.positionEncoding[stage] { expected.add(.depthwise, large) }
            let hidden = Int((Float(width) * vision.mlpRatios[stage]).rounded())
            expected.add(.depthwise, blocks * large, calls: blocks)
            expected.add(.feedForward, blocks * 4 * positions * width * hidden, calls: blocks)
            switch vision.tokenMixers[stage] {
            case .repMixer: expected.add(.depthwise, blocks * 2 * 9 * positions * width, calls: blocks)
            case .attention:
                expected.add(.norm, blocks * positions * width, calls: blocks)
                // Queries, keys and values in one product; the projection.
                expected.add(.linear, blocks * 8 * positions * width * width, calls: 2 * blocks)
                expected.add(.attention, blocks * 4 * positions * positions * width, calls: blocks)
            }
        }
        let last = side / vision.stride
        let channels = vision.finalChannels
        expected.add(.depthwise, 2 * 9 * last * last * channels)
        expected.add(.linear, 4 * channels * vision.squeezeReduction, calls: 2)
        // The gate, and its use.
        expected.add(.other, channels + last * last * channels, calls: 2)
        return expected
    }

    /// `count` positions behind `cached` ones, and the scores of what follows the last.
    static func prefill(_ text: DecoderConfiguration, count: Int, cached: Int) -> Self {
        var expected = Self()
        let (hidden, queries, keys) = (
            text.hiddenSize, text.heads * text.headDimension, text.keyValueHeads * text.headDimension
        )
        for layer in 0..<text.layers {
            // Nobody reads what the last layer makes of other positions than the last.
            let wanted = layer == text.layers - 1 ? 1 : count
            expected.add(.norm, (count + wanted) * hidden, calls: 2)
            expected.add(.linear, 2 * 2 * count * hidden * keys, calls: 2)
            expected.add(.linear, 2 * 2 * wanted * hidden * queries, calls: 2)
            expected.add(.other, 3 * (count * keys + wanted * queries), calls: 2)
            let first = cached + count - wanted
            expected.add(.attention, 4 * wanted * (first + (wanted + 1) / 2) * queries)
            expected.add(.gatedLinear, 4 * wanted * hidden * text.intermediateSize)
            expected.add(.linear, 2 * wanted * text.intermediateSize * hidden)
        }
        expected.add(.norm, hidden)
        expected.add(.linear, 2 * hidden * text.vocabularySize)
        return expected
    }
}
