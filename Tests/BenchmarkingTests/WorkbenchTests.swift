import Benchmarking
import Checkpoints
import Models
import Tensors
import Testing

@Suite("Benchmarks")
struct WorkbenchTests {
    /// A small model of the published shape.
    static let configuration: ModelConfiguration = {
        var configuration = SyntheticModel.half.configuration
        configuration.vision = tower(depths: [1, 1, 1, 1, 1], widths: [8, 16, 32, 64, 128])
        configuration.text.hiddenSize = 64
        configuration.text.layers = 2
        configuration.text.heads = 4
        configuration.text.keyValueHeads = 2
        configuration.text.headDimension = 16
        configuration.text.intermediateSize = 96
        configuration.text.vocabularySize = 500
        configuration.maximumSequenceLength = 256
        return configuration
    }()

    /// A FastViTHD of other depths and widths, but for them as published.
    static func tower(depths: [Int], widths: [Int]) -> VisionConfiguration {
        switch SyntheticModel.half.configuration.vision {
        case .fastViTHD(var tower):
            let last = widths[widths.count - 1]
            tower.depths = depths
            tower.widths = widths
            tower.finalChannels = 2 * last
            tower.squeezeReduction = last / 8
            return .fastViTHD(tower)
        case let other: return other
        }
    }

    static func workbench(_ precision: Precision) throws -> Workbench {
        let compute = try Compute(threads: 2)
        return Workbench(
            network: try VisionLanguageNetwork(
                SyntheticWeights(), configuration: configuration, precision: precision, compute: compute),
            compute: compute)
    }

    @Test(
        "Synthetic weights make every part of a model run, in every precision", arguments: Precision.allCases)
    func items(precision: Precision) throws {
        let bench = try Self.workbench(precision)
        let items: [Workbench.Item] = [
            .encoder(side: 64), .encoder(side: 128), .projector(side: 128), .prefill(positions: 17),
            .decode(context: 9, tokens: 3),
        ]
        for item in items {
            // Twice: the second run meets what the first one left behind.
            #expect(try bench.run(item) > .zero)
            #expect(try bench.run(item) > .zero)
        }
    }

    @Test("The operations of a prefill are those of its matrices and its attention")
    func operations() throws {
        let bench = try Self.workbench(.float32)
        let text = Self.configuration.text
        let positions = 10
        let log = OperationLog()
        _ = try bench.run(.prefill(positions: positions), log: log)
        let counted = log.entries.filter { [.linear, .gatedLinear].contains($0.kind) }
            .reduce(0) { $0 + $1.operations }
        let width = text.heads * text.headDimension
        let groups = text.keyValueHeads * text.headDimension
        let keysAndValues = 2 * text.hiddenSize * groups
        let rest = 2 * text.hiddenSize * width + 3 * text.hiddenSize * text.intermediateSize
        // The last layer is computed for the last position only, beside its keys and values.
        let rows = (text.layers - 1) * positions + 1
        let expected =
            2
            * (text.layers * positions * keysAndValues + rows * rest + text.hiddenSize * text.vocabularySize)
        #expect(counted == expected)
        #expect(try bench.operations(.prefill(positions: 2 * positions)) > counted)
    }

    @Test("The operations of an encoding grow with its pixels")
    func encoding() throws {
        let bench = try Self.workbench(.float32)
        let small = try bench.operations(.encoder(side: 128))
        let large = try bench.operations(.encoder(side: 256))
        // A little more than fourfold, because attention grows with the square.
        #expect(large >= 4 * small * 99 / 100 && large < 5 * small)
    }

    @Test("The published dimensions have the published number of operations")
    func published() throws {
        // Qwen2-0.5B: 358 million weights in the layers, 136 million in the embedding.
        let text = SyntheticModel.half.configuration.text
        let layer =
            text.hiddenSize * (2 * text.queryWidth + 2 * text.keyValueWidth + 3 * text.intermediateSize)
        #expect(layer * text.layers == 357_826_560)
        #expect(text.vocabularySize * text.hiddenSize == 136_134_656)
    }

    @Test("Ceilings are positive and plausible")
    func ceilings() throws {
        let ceilings = try Ceilings(try Compute(threads: 1))
        for precision in Precision.allCases { #expect(ceilings.peak(precision) > 1e8) }
        #expect(ceilings.bytes > 1e8)
    }

    @Test("Synthetic weights are the same each time, and not the same for another name")
    func deterministic() throws {
        let weights = SyntheticWeights()
        let (a, b) = (
            try weights.tensor("a.weight", shape: [7, 9]), try weights.tensor("a.weight", shape: [7, 9])
        )
        #expect(a.floats() == b.floats())
        #expect(try weights.tensor("b.weight", shape: [7, 9]).floats() != a.floats())
        #expect(a.floats().allSatisfy { abs($0) <= (3 / Float(9)).squareRoot() })
    }
}
