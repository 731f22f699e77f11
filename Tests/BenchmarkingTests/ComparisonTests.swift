import Benchmarking
import Checkpoints
import Models
import Tensors
import Testing

/// The systems of the paper's comparisons, and how their way to the first token is measured.
@Suite("Comparisons with other systems")
struct ComparisonTests {
    @Test("Published dimensions: tokens, tiles, parameters of the towers")
    func published() {
        let system = ComparedSystem.oneVision
        #expect(system.visualTokens == 7371 && system.encodings == 10)
        #expect(system.towerParameters == 397_747_744)
        #expect(ComparedSystem.llava.visualTokens == 576 && ComparedSystem.llava.encodings == 1)
        #expect(ComparedSystem.llava.towerParameters == 303_507_456)
        #expect(ComparedSystem.fastVLMHalf.visualTokens == 256)
        for (side, tokens) in [(256, 16), (512, 64), (768, 144), (1024, 256)] {
            let system = ComparedSystem.fastVLMVicuna(side: side)
            #expect(system.visualTokens == tokens && (system.paper == nil) == (side == 512))
            // One decoder serves both sides of the comparison.
            #expect(system.configuration.text == ComparedSystem.llava.configuration.text)
            #expect(
                system.configuration.maximumSequenceLength
                    == ComparedSystem.llava.configuration.maximumSequenceLength)
        }
        #expect(ComparedSystem.oneVision.configuration.text == ComparedSystem.fastVLMHalf.configuration.text)
        let ratio = ComparedSystem.oneVision.paper.map { $0.firstToken / 0.1668 } ?? 0
        #expect(abs(ratio - 84.7) < 0.1)
    }

    @Test("A 7B decoder takes what its weights take, fewer layers less, integers half")
    func memory() {
        let system = ComparedSystem.llava
        let whole = system.decoderBytes(.bfloat16, textTokens: 30)
        // 6.74 billion parameters of 2 bytes, keys and values, and a gigabyte.
        #expect((14_500_000_000..<16_500_000_000).contains(whole), "\(whole)")
        #expect(system.decoderBytes(.int8, textTokens: 30) < whole * 7 / 10)
        #expect(system.withLayers(8).decoderBytes(.bfloat16, textTokens: 30) < whole * 4 / 10)
    }

    /// A LLaVA-OneVision that is small in every dimension.
    private static let small: ComparedSystem = {
        var configuration = WorkbenchTests.configuration
        configuration.vision = .visionTransformer(
            VisionTransformerConfiguration(
                imageSide: 30, patchSide: 7, width: 48, hidden: 72, heads: 2, layers: 2, storedLayers: 2,
                activation: .tanhGelu, layerNormEpsilon: 1e-6, hasPatchBias: true))
        configuration.preprocessing = ImagePreprocessing(
            geometry: .pad, size: 30,
            tiling: .anyResolution(AnyResolution(canvases: [.init(height: 60, width: 60)], mostTiles: 9)))
        return ComparedSystem(name: "small", configuration: configuration, imageSide: 60)
    }()

    private func bench(_ system: ComparedSystem, sharing decoder: Decoder? = nil) throws -> Workbench {
        let compute = try Compute(threads: 2)
        return Workbench(
            network: try VisionLanguageNetwork(
                SyntheticWeights(), configuration: system.configuration, precision: .bfloat16,
                compute: compute, sharing: decoder), compute: compute)
    }

    @Test(
        "Operations are those of every tile and of the whole prompt; half the layers tell what all take"
    )
    func stages() throws {
        let system = Self.small
        #expect(system.encodings == 5 && system.visualTokens == 16 + 8 * 8 + 8)
        let bench = try bench(system)
        let counted = try bench.firstTokenOperations(system, textTokens: 7)
        #expect(counted.encode == Double(5 * (try bench.operations(.encoder(side: 30)))))
        #expect(counted.project == Double(5 * (try bench.operations(.projector(side: 30)))))
        #expect(
            counted.prefill == Double(try bench.operations(.prefill(positions: system.visualTokens + 7))))
        let seconds = try bench.firstToken(system, textTokens: 7)
        #expect(seconds.encode > 0 && seconds.project > 0 && seconds.prefill > 0)
        let (deep, half) = (system.withLayers(8), try self.bench(system.withLayers(4)))
        let extrapolated = try half.firstTokenOperations(deep, textTokens: 7)
        let whole = try self.bench(deep).firstTokenOperations(deep, textTokens: 7)
        // The scores of one row are counted twice, attention of the last layer as if it were of all positions.
        #expect(abs(extrapolated.prefill / whole.prefill - 1) < 0.03)
        #expect(extrapolated.encode == whole.encode)
    }

    @Test("Two systems share a decoder that is loaded once")
    func sharing() throws {
        let first = try bench(Self.small)
        var configuration = WorkbenchTests.configuration
        configuration.maximumSequenceLength = Self.small.configuration.maximumSequenceLength
        let other = ComparedSystem(name: "other", configuration: configuration, imageSide: 1024)
        let second = try bench(other, sharing: first.network.decoder)
        #expect(try second.run(.prefill(positions: 9)) > .zero)
        #expect(second.network.encoder.featureChannels != first.network.encoder.featureChannels)
    }
}
