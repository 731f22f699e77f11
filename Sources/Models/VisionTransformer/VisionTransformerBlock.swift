package import Checkpoints
package import Tensors

/// A block: self-attention over all tokens and a network of two layers, each behind a norm and added to what it read.
package struct VisionTransformerBlock: Sendable {
    private let width: Int
    private let hidden: Int
    private let heads: Int
    private let activation: Activation
    private let attentionNorm: LayerNorm
    private let query: Linear
    private let key: Linear
    private let value: Linear
    private let output: Linear
    private let mlpNorm: LayerNorm
    private let expand: Linear
    private let project: Linear

    /// Parts that it is computed in.
    package static let slices = 2

    /// - Parameter loader: at the block.
    package init(_ loader: WeightLoader, configuration: VisionTransformerConfiguration) throws {
        let (width, hidden) = (configuration.width, configuration.hidden)
        self.width = width
        self.hidden = hidden
        heads = configuration.heads
        activation =
            switch configuration.activation {
            case .quickGelu: .quickGelu
            case .tanhGelu: .tanhGelu
            case .gelu: .gelu
            }
        let epsilon = configuration.layerNormEpsilon
        attentionNorm = try LayerNorm(loader.part("attention_norm"), channels: width, epsilon: epsilon)
        let attention = loader.part("attention")
        query = try attention.linear("query", outputs: width, inputs: width)
        key = try attention.linear("key", outputs: width, inputs: width)
        value = try attention.linear("value", outputs: width, inputs: width)
        output = try attention.linear("output", outputs: width, inputs: width)
        mlpNorm = try LayerNorm(loader.part("mlp_norm"), channels: width, epsilon: epsilon)
        expand = try loader.linear("mlp.expand", outputs: hidden, inputs: width)
        project = try loader.linear("mlp.project", outputs: width, inputs: hidden)
    }

    /// Computes a part; both, in order, take x through the block.
    /// - Parameters:
    ///   - slice: in 0 ..< slices
    ///   - x: [tokens, width], changed in place
    ///   - scratch: [tokens, width], overwritten
    package func run(
        slice: Int, _ x: Matrix, scratch: Matrix, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        if slice == 0 {
            try attend(x, scratch: scratch, workspace: workspace, on: compute)
        } else {
            mlpNorm(x, into: scratch, on: compute)
            let between = try workspace.matrix(x.rows, hidden)
            expand(scratch, activation: activation, into: between, on: compute)
            compute.linearAdding(between, project.weight, bias: project.bias, to: x)
        }
    }

    private func attend(
        _ x: Matrix, scratch: Matrix, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        let queries = try workspace.matrix(x.rows, width)
        let keys = try workspace.matrix(x.rows, width)
        let values = try workspace.matrix(x.rows, width)
        attentionNorm(x, into: scratch, on: compute)
        query(scratch, into: queries, on: compute)
        key(scratch, into: keys, on: compute)
        value(scratch, into: values, on: compute)
        compute.attention(
            queries: queries, keys: keys, values: values, heads: heads, keyValueHeads: heads,
            scale: 1 / Float(width / heads).squareRoot(), causalOffset: nil,
            mayRound: !query.weight.isFloat32,
            into: scratch)
        compute.linearAdding(scratch, output.weight, bias: output.bias, to: x)
    }
}
