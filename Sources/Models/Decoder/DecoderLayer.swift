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
        // Where several heads share keys and values these are small, and much depends on them.
        let format = keys < queries ? attention.format.inEightBits : attention.format
        key = try attention.linear("key", outputs: keys, inputs: hidden, format: format)
        value = try attention.linear("value", outputs: keys, inputs: hidden, format: format)
        output = try attention.linear("output", outputs: hidden, inputs: queries)
        postNorm = try loader.vector("post_norm.weight", count: hidden)
        let mlp = loader.part("mlp")
        let intermediate = configuration.intermediateSize
        gateAndUp = try mlp.gated("gate.weight", "up.weight", outputs: intermediate, inputs: hidden)
        down = try mlp.linear("down", outputs: hidden, inputs: intermediate)
    }

    /// Adds the layer to the residual stream and writes the keys and values of the new positions.
    /// - Parameters:
    ///   - x: [rows, hiddenSize], the residual stream of all rows of the batch
    ///   - wanted: for a last layer, whose output nobody reads but where scores are wanted: [wanted rows, hiddenSize],
    ///     overwritten with what becomes of those rows, in place of `x`
    ///   - index: which layer of the caches this is
    package func callAsFunction(
        _ x: Matrix, wanted: Matrix? = nil, batch: DecoderBatch, index: Int, rotary: RotaryTable,
        workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let normalized = try workspace.matrix(x.rows, configuration.hiddenSize)
        compute.rmsNorm(x, weight: inputNorm, epsilon: configuration.rmsNormEpsilon, into: normalized)
        try storeKeysAndValues(
            normalized, batch: batch, index: index, rotary: rotary, workspace: workspace, on: compute)
        guard let wanted else {
            return try attendAndFeedForward(
                x, normalized, parts: batch.parts, index: index, rotary: rotary, workspace: workspace,
                on: compute)
        }
        guard wanted.rows > 0 else { return }
        let normalizedWanted = try workspace.matrix(wanted.rows, configuration.hiddenSize)
        for (target, source) in batch.wantedRows.enumerated() {
            wanted.copyRow(target, from: x, row: source)
            normalizedWanted.copyRow(target, from: normalized, row: source)
        }
        try attendAndFeedForward(
            wanted, normalizedWanted, parts: batch.wantedParts, index: index, rotary: rotary,
            workspace: workspace, on: compute)
    }

    /// - Parameter normalized: [rows, hiddenSize]
    private func storeKeysAndValues(
        _ normalized: Matrix, batch: DecoderBatch, index: Int, rotary: RotaryTable, workspace: Workspace,
        on compute: Compute
    ) throws(TensorError) {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let width = configuration.keyValueHeads * configuration.headDimension
        let new = try workspace.matrix(normalized.rows, width)
        key(normalized, into: new, on: compute)
        batch.parts.withUnsafeBufferPointer {
            compute.rotate(new, headDimension: configuration.headDimension, table: rotary, parts: $0)
        }
        for part in batch.parts {
            part.blocks.storeKeys(new.rows(part.rows), layer: index, from: part.causalOffset)
        }
        value(normalized, into: new, on: compute)
        for part in batch.parts {
            part.blocks.storeValues(new.rows(part.rows), layer: index, from: part.causalOffset)
        }
    }

    /// - Parameters:
    ///   - residual: [rows of the parts, hiddenSize], added to
    ///   - normalized: the same rows behind the first norm; overwritten
    private func attendAndFeedForward(
        _ residual: Matrix, _ normalized: Matrix, parts: [AttentionPart], index: Int, rotary: RotaryTable,
        workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        let queries = try workspace.matrix(
            residual.rows, configuration.heads * configuration.headDimension)
        let attended = try workspace.matrix(residual.rows, queries.columns)
        query(normalized, into: queries, on: compute)
        parts.withUnsafeBufferPointer { parts in
            compute.rotate(queries, headDimension: configuration.headDimension, table: rotary, parts: parts)
            compute.attention(
                queries: queries, parts: parts, layer: index, heads: configuration.heads,
                keyValueHeads: configuration.keyValueHeads,
                scale: 1 / Float(configuration.headDimension).squareRoot(), into: attended)
        }
        compute.linearAdding(attended, output.weight, bias: output.bias, to: residual)

        let hidden = try workspace.matrix(residual.rows, configuration.intermediateSize)
        compute.rmsNorm(
            residual, weight: postNorm, epsilon: configuration.rmsNormEpsilon, into: normalized)
        compute.gatedLinear(normalized, gateAndUp, into: hidden)
        compute.linearAdding(hidden, down.weight, bias: down.bias, to: residual)
    }
}
