internal import Checkpoints
internal import Tensors

/// An image on its way through a vision transformer: the embedding, the slices of each block, then the features.
struct VisionTransformerRun: EncodingRun {
    private let tower: VisionTransformer
    private let pixels: FeatureMap
    private let features: Matrix
    var state: EncodingState
    /// The tokens and a scratch matrix of the same shape, from the first slice on.
    private var tokens: (x: Matrix, scratch: Matrix)?

    init(_ tower: VisionTransformer, pixels: FeatureMap, features: Matrix, workspace: Workspace) {
        let configuration = tower.configuration
        precondition(
            pixels.channels == 3 && pixels.height / configuration.patchSide == configuration.grid
                && pixels.width / configuration.patchSide == configuration.grid
                && features.columns == configuration.width && features.rows == configuration.tokens,
            "shapes do not agree")
        self.tower = tower
        self.pixels = pixels
        self.features = features
        state = EncodingState(workspace)
    }

    var slices: Int { 2 + tower.blocks.count * VisionTransformerBlock.slices }

    mutating func runSlice(on compute: Compute) throws(TensorError) {
        let (configuration, workspace) = (tower.configuration, state.workspace)
        guard let (x, scratch) = tokens else {
            let x = try workspace.matrix(configuration.positions, configuration.width)
            let scratch = try workspace.matrix(configuration.positions, configuration.width)
            tokens = (x, scratch)
            return try tower.embedding(pixels, into: x, workspace: workspace, on: compute)
        }
        let part = state.slicesDone - 1
        let block = part / VisionTransformerBlock.slices
        guard block < tower.blocks.count else {
            let taken = x.rows(configuration.positions - configuration.tokens..<x.rows)
            if let postNorm = tower.postNorm {
                postNorm(taken, into: features, on: compute)
            } else {
                features.copy(taken)
            }
            return
        }
        try tower.blocks[block].run(
            slice: part % VisionTransformerBlock.slices, x, scratch: scratch, workspace: workspace,
            on: compute)
    }
}
