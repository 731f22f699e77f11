package import Checkpoints
package import Tensors

/// A vision transformer as CLIP and SigLIP have it: patches of the image as tokens with learned positions, then blocks of
/// self-attention over all of them (Dosovitskiy et al. 2021; Radford et al. 2021; Zhai et al. 2023).
///
/// ```
/// x = [class token; patches · Wᵀ + b] + positions        CLIP: norm(x)
/// x = x + attention(norm(x));  x = x + MLP(norm(x))      for each block up to the one that is taken
/// features = x without the class token                   or norm(x)
/// ```
package struct VisionTransformer: VisionTower {
    package let configuration: VisionTransformerConfiguration
    let embedding: PatchEmbedding
    let blocks: [VisionTransformerBlock]
    let postNorm: LayerNorm?

    /// - Parameters:
    ///   - loader: at the root of the canonical names; reads `vision.*`
    ///   - progress: told the fraction of the blocks loaded; may throw to stop loading
    package init(
        _ loader: WeightLoader, configuration: VisionTransformerConfiguration,
        progress: (Double) throws -> Void = { _ in }
    ) throws {
        self.configuration = configuration
        let vision = loader.part("vision")
        embedding = try PatchEmbedding(vision, configuration: configuration)
        blocks = try (0..<configuration.layers).map { number in
            try progress(Double(number) / Double(configuration.layers))
            return try VisionTransformerBlock(vision.part("layers.\(number)"), configuration: configuration)
        }
        postNorm =
            configuration.appliesPostNorm
            ? try LayerNorm(
                vision.part("post_norm"), channels: configuration.width,
                epsilon: configuration.layerNormEpsilon) : nil
    }

    package var featureChannels: Int { configuration.width }

    /// Of whole patches; there are positions for square images of the configured side only.
    package func tokens(height: Int, width: Int) -> Int {
        (height / configuration.patchSide) * (width / configuration.patchSide)
            + (configuration.keepsClassToken ? 1 : 0)
    }

    package func encode(
        _ pixels: FeatureMap, into features: Matrix, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        var run = VisionTransformerRun(self, pixels: pixels, features: features, workspace: workspace)
        try run.finish(on: compute)
    }

    package func begin(
        _ pixels: FeatureMap, into features: Matrix, workspace: Workspace
    ) -> any VisionEncoding {
        SlicedEncoding(VisionTransformerRun(self, pixels: pixels, features: features, workspace: workspace))
    }
}

/// Square patches of the image, each a token: a convolution as wide as its stride, so one product.
package struct PatchEmbedding: Sendable {
    private let side: Int
    private let grid: Int
    private let projection: Linear
    /// [positions, width], the class token's included.
    private let positions: Tensor
    private let classToken: Tensor?
    private let preNorm: LayerNorm?

    /// - Parameter loader: at `vision`; reads `patch`, `positions`, `class_token` and `pre_norm`.
    package init(_ loader: WeightLoader, configuration: VisionTransformerConfiguration) throws {
        let (side, width) = (configuration.patchSide, configuration.width)
        self.side = side
        grid = configuration.grid
        // Stored by channels; a row of a patch's pixels has them beside each other.
        let stored = try loader.tensor("patch.weight", shape: [width, 3, side, side]).floats()
        let area = side * side
        let turned = try Tensor(float32: [width, 3 * area]) { target in
            for output in 0..<width {
                for channel in 0..<3 {
                    for place in 0..<area {
                        target[(output * area + place) * 3 + channel] =
                            stored[(output * 3 + channel) * area + place]
                    }
                }
            }
        }
        projection = Linear(
            weight: try loader.matrix("patch.weight", of: turned, format: loader.sensitiveFormat),
            bias: configuration.hasPatchBias ? try loader.vector("patch.bias", count: width) : nil)
        positions = try loader.checked("positions.weight", shape: [configuration.positions, width])
        classToken =
            configuration.hasClassToken ? try loader.checked("class_token", shape: [width]) : nil
        preNorm =
            configuration.hasPreNorm
            ? try LayerNorm(
                loader.part("pre_norm"), channels: width, epsilon: configuration.layerNormEpsilon) : nil
    }

    /// - Parameters:
    ///   - pixels: [height, width, 3], at least `grid` patches each way; what is beyond them is not read
    ///   - y: [positions, width], overwritten
    package func callAsFunction(
        _ pixels: FeatureMap, into y: Matrix, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        // Places of the learned positions first, then what stands there.
        y.copy(positions)
        let first = classToken == nil ? 0 : 1
        if let classToken {
            let token = try workspace.matrix(1, y.columns)
            token.copy(classToken)
            compute.add(token, to: y.rows(0..<1))
        }
        let patches = try workspace.matrix(grid * grid, 3 * side * side)
        pixels.copyPatches(side: side, into: patches, columns: grid)
        compute.linearAdding(
            patches, projection.weight, bias: projection.bias, to: y.rows(first..<y.rows))
        if let preNorm { preNorm(y, into: y, on: compute) }
    }
}
