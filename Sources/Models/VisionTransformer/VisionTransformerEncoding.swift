internal import Checkpoints
internal import Tensors

/// An image on its way through a vision transformer: the embedding, two slices a block, then the features.
final class VisionTransformerEncoding: VisionEncoding {
    private let tower: VisionTransformer
    private let pixels: FeatureMap
    private let features: Matrix
    private let workspace: Workspace
    /// The workspace's level to return to.
    private let start: Workspace.Mark
    /// The tokens, and room for as many, from the first slice on.
    private var tokens: (x: Matrix, scratch: Matrix)?
    private var slicesDone = 0
    private var failure: TensorError?

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
        self.workspace = workspace
        start = workspace.mark()
    }

    private var slices: Int { 2 + tower.blocks.count * VisionTransformerBlock.slices }

    var progress: Double { Double(slicesDone) / Double(slices) }

    func step(on compute: Compute) throws(TensorError) -> Bool {
        if let failure { throw failure }
        guard slicesDone < slices else { return true }
        do throws(TensorError) {
            try compute.checkCancellation()
            try runSlice(on: compute)
            // A flag raised within the slice leaves its output undefined.
            try compute.checkCancellation()
        } catch {
            failure = error
            workspace.release(to: start)
            throw error
        }
        slicesDone += 1
        guard slicesDone == slices else { return false }
        workspace.release(to: start)
        return true
    }

    private func runSlice(on compute: Compute) throws(TensorError) {
        let configuration = tower.configuration
        guard let (x, scratch) = tokens else {
            let x = try workspace.matrix(configuration.positions, configuration.width)
            let scratch = try workspace.matrix(configuration.positions, configuration.width)
            tokens = (x, scratch)
            return try tower.embedding(pixels, into: x, workspace: workspace, on: compute)
        }
        let part = slicesDone - 1
        let block = part / VisionTransformerBlock.slices
        guard block < tower.blocks.count else {
            let first = configuration.positions - configuration.tokens
            let taken = x.rows(first..<x.rows)
            if let postNorm = tower.postNorm {
                postNorm(taken, into: features, on: compute)
            } else {
                for row in 0..<taken.rows { features.copyRow(row, from: taken, row: row) }
            }
            return
        }
        try tower.blocks[block].run(
            slice: part % VisionTransformerBlock.slices, x, scratch: scratch, workspace: workspace,
            on: compute)
    }
}
