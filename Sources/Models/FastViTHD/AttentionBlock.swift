package import Tensors

/// An attention block: multi-head self-attention over all positions (no mask, no position bias), followed by
/// the convolutional feed-forward, which has no norm before it other than its folded BatchNorm.
package struct AttentionBlock: EncoderLayer {
    private let channels: Int
    private let headDimension: Int
    private let norm: LayerNorm
    private let queryKeyValue: Linear
    private let projection: Linear
    private let scale: Vector
    private let feedForward: ConvFeedForward

    package init(
        _ loader: WeightLoader, channels: Int, hidden: Int, headDimension: Int, kernel: Int, epsilon: Float
    ) throws {
        self.channels = channels
        self.headDimension = headDimension
        norm = try LayerNorm(loader.part("norm"), channels: channels, epsilon: epsilon)
        queryKeyValue = try loader.linear("attention.qkv", outputs: 3 * channels, inputs: channels)
        projection = try loader.linear("attention.projection", outputs: channels, inputs: channels)
        scale = try loader.vector("scale.mixer", count: channels)
        feedForward = try ConvFeedForward(loader, channels: channels, hidden: hidden, kernel: kernel)
    }

    package var slices: Int { 2 }

    /// x ← x + scale₁ ⊙ attention(norm(x)); x ← x + scale₂ ⊙ FFN(x). Shape kept.
    package func run(
        slice: Int, _ maps: inout EncoderMaps, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        if slice == 0 {
            try attend(maps.x.matrix, scratch: maps.scratch.matrix, workspace: workspace, on: compute)
        } else {
            feedForward.add(to: maps.x, scratch: maps.scratch, on: compute)
        }
    }

    private func attend(
        _ x: Matrix, scratch: Matrix, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        // [positions, 3 × channels]: queries, keys and values beside each other, each heads × headDimension.
        let qkv = try workspace.matrix(x.rows, 3 * channels)
        norm(x, into: scratch, on: compute)
        queryKeyValue(scratch, into: qkv, on: compute)
        let heads = channels / headDimension
        compute.attention(
            queries: qkv.columns(0..<channels),
            keys: qkv.columns(channels..<2 * channels),
            values: qkv.columns(2 * channels..<3 * channels),
            heads: heads, keyValueHeads: heads, scale: 1 / Float(headDimension).squareRoot(),
            causalOffset: nil, mayRound: !queryKeyValue.weight.isFloat32,
            into: scratch)
        compute.linearAdding(scratch, projection.weight, bias: projection.bias, scale: scale, to: x)
    }
}
