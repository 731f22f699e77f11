import Benchmarking
import Checkpoints
import Models
import Tensors
import Testing

/// What a vision transformer computes, counted while it runs and stated a second time from its configuration.
@Suite("Operations of vision transformers")
struct VisionTransformerOperationsTests {
    /// Of the published dimensions, products and attention: computed by hand from the tables of the papers.
    @Test(
        "the published towers have the known number of operations",
        arguments: [
            (VisionTransformerConfiguration.clipLarge336, 366.0),
            (.siglipSO400M384, 641.8),
        ])
    func published(tower: VisionTransformerConfiguration, billions: Double) {
        let expected = ExpectedOperations.encoding(.visionTransformer(tower), side: tower.imageSide)
        let counted = [OperationLog.Kind.linear, .attention].reduce(0) {
            $0 + (expected.kinds[$1]?.operations ?? 0)
        }
        #expect(abs(Double(counted) / 1e9 - billions) < 0.05, "\(counted)")
    }

    @Test("a run writes down exactly those", arguments: [true, false])
    func counted(hasClassToken: Bool) throws {
        let tower = VisionTransformerConfiguration(
            imageSide: 50, patchSide: 8, width: 144, hidden: 200, heads: 2, layers: 2, storedLayers: 3,
            activation: hasClassToken ? .quickGelu : .tanhGelu, layerNormEpsilon: 1e-5,
            hasClassToken: hasClassToken, hasPatchBias: !hasClassToken, hasPreNorm: hasClassToken)
        let log = OperationLog()
        let compute = try Compute(threads: 2)
        let encoder = try VisionTransformer(
            WeightLoader(SyntheticWeights(), format: .float32, compute: compute), configuration: tower)
        let workspace = Workspace()
        let pixels = try workspace.map(height: 50, width: 50, channels: 3)
        pixels.buffer.initialize(repeating: 0.5)
        let features = try workspace.matrix(tower.tokens, tower.width)
        #expect(encoder.tokens(side: 50) == 36 && tower.tokens == 36)
        try encoder.encode(pixels, into: features, workspace: workspace, on: compute.recording(to: log))
        #expect(
            ExpectedOperations(log) == ExpectedOperations.encoding(.visionTransformer(tower), side: 50))
    }
}
