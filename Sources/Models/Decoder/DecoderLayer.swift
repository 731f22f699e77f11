package import Checkpoints
package import Tensors

/// One layer of a Qwen2 or Llama decoder: grouped-query attention with rotary positions, then a gated
/// feed-forward (SwiGLU), each after an RMSNorm and added to the residual stream.
package struct DecoderLayer: Sendable {
    private let configuration: DecoderConfiguration
    private let inputNorm: Vector
    private let query: Linear
    private let key: Linear
    private let value: Linear
    private let output: Linear
    private let postNorm: Vector
    private let gateAndUp: PackedGatedMatrix
    private let down: Linear

    /// - Parameter loader: at `decoder.layers.N`.
    package init(_ loader: WeightLoader, configuration: DecoderConfiguration) throws {
        self.configuration = configuration
        let hidden = configuration.hiddenSize
        let queries = configuration.heads * configuration.headDimension
        let keys = configuration.keyValueHeads * configuration.headDimension
        inputNorm = try loader.vector("input_norm.weight", count: hidden)
        let attention = loader.part("attention")
        query = try attention.linear("query", outputs: queries, inputs: hidden)
        key = try attention.linear("key", outputs: keys, inputs: hidden)
        value = try attention.linear("value", outputs: keys, inputs: hidden)
        output = try attention.linear("output", outputs: hidden, inputs: queries)
        postNorm = try loader.vector("post_norm.weight", count: hidden)
        let mlp = loader.part("mlp")
        let intermediate = configuration.intermediateSize
        gateAndUp = try mlp.gated("gate.weight", "up.weight", outputs: intermediate, inputs: hidden)
        down = try mlp.linear("down", outputs: hidden, inputs: intermediate)
    }

    /// Adds the layer to the residual stream and writes the keys and values of the new positions.
    /// - Parameters:
    ///   - x: [new positions, hiddenSize], the residual stream; only the rows `wanted` are updated
    ///   - wanted: the rows whose output somebody will read: all of them, or in the last layer only the last
    ///   - index: which layer of `cache` this is
    ///   - cache: reserved for `cache.count + x.rows` positions; not advanced here
    package func callAsFunction(
        _ x: Matrix, wanted: Range<Int>, index: Int, rotary: RotaryTable, cache: KeyValueCache,
        workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let first = cache.count
        let total = first + x.rows
        let normalized = try workspace.matrix(x.rows, configuration.hiddenSize)
        compute.rmsNorm(x, weight: inputNorm, epsilon: configuration.rmsNormEpsilon, into: normalized)

        let keys = cache.keys(layer: index, positions: total)
        let values = cache.values(layer: index, positions: total)
        let newKeys = keys.rows(first..<total)
        key(normalized, into: newKeys, on: compute)
        value(normalized, into: values.rows(first..<total), on: compute)
        compute.rotate(
            newKeys, headDimension: configuration.headDimension, table: rotary, firstPosition: first)
        guard !wanted.isEmpty else { return }

        let residual = x.rows(wanted)
        let queries = try workspace.matrix(wanted.count, configuration.heads * configuration.headDimension)
        let attended = try workspace.matrix(wanted.count, queries.columns)
        query(normalized.rows(wanted), into: queries, on: compute)
        compute.rotate(
            queries, headDimension: configuration.headDimension, table: rotary,
            firstPosition: first + wanted.lowerBound)
        compute.attention(
            queries: queries, keys: keys, values: values, heads: configuration.heads,
            keyValueHeads: configuration.keyValueHeads,
            scale: 1 / Float(configuration.headDimension).squareRoot(),
            causalOffset: first + wanted.lowerBound, into: attended)
        compute.linearAdding(attended, output.weight, bias: output.bias, to: residual)

        let between = normalized.rows(wanted)
        let hidden = try workspace.matrix(wanted.count, configuration.intermediateSize)
        compute.rmsNorm(residual, weight: postNorm, epsilon: configuration.rmsNormEpsilon, into: between)
        compute.gatedLinear(between, gateAndUp, into: hidden)
        compute.linearAdding(hidden, down.weight, bias: down.bias, to: residual)
    }
}
