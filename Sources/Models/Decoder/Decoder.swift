package import Checkpoints
package import Tensors

/// A causal language model of the Qwen2 or Llama family: the two are configurations of this one type.
package struct Decoder: Sendable {
    package let configuration: DecoderConfiguration
    private let embedding: EmbeddingTable
    private let layers: [DecoderLayer]
    private let norm: Vector
    /// The output matrix [vocabulary, hiddenSize]: packed even where it is the embedding (tied), because a product
    /// wants another order than looking up rows.
    private let output: PackedMatrix
    private let rotary: RotaryTable
    /// Keys and values are kept in bfloat16, but in the reference precision.
    private let roundsCache: Bool

    /// Positions that go through the layers together during prefill. Bounds the memory of long prompts; large
    /// enough that every weight is read from cache for many rows.
    package static let prefillChunk = 1024

    /// - Parameters:
    ///   - loader: at the root of the canonical names; reads `decoder.*`
    ///   - maximumPositions: the longest sequence that will be asked for
    package init(
        _ loader: WeightLoader, configuration: DecoderConfiguration, maximumPositions: Int,
        progress: (Double) throws -> Void = { _ in }
    ) throws {
        self.configuration = configuration
        let part = loader.part("decoder")
        embedding = try part.embedding(
            "embedding.weight", rows: configuration.vocabularySize, channels: configuration.hiddenSize)
        output = try Self.output(configuration, part)
        roundsCache = loader.format != .float32
        norm = try part.vector("norm.weight", count: configuration.hiddenSize)
        rotary = try RotaryTable(
            headDimension: configuration.headDimension, theta: Double(configuration.ropeTheta),
            positions: maximumPositions)
        var loaded: [DecoderLayer] = []
        for number in 0..<configuration.layers {
            loaded.append(try DecoderLayer(part.part("layers.\(number)"), configuration: configuration))
            try progress(Double(number + 1) / Double(configuration.layers))
        }
        layers = loaded
    }

    private static func output(
        _ configuration: DecoderConfiguration, _ loader: WeightLoader
    ) throws -> PackedMatrix {
        let shape = [configuration.vocabularySize, configuration.hiddenSize]
        let name = configuration.tiedEmbeddings ? "embedding.weight" : "output.weight"
        switch loader.format {
        case .float32:
            // Half the memory, and multiplied exactly (see prefill).
            let table = try loader.tensor(name, shape: shape)
            return try loader.matrix(
                name, of: table, format: table.dataType == .bfloat16 ? .bfloat16 : .float32)
        case .bfloat16:
            return try loader.matrix(name, shape: shape, format: .bfloat16)
        case .int8(let group), .int4(let group):
            // A packed checkpoint has a tied table twice: as numbers to look up, as integers to multiply with.
            // Every score depends on it directly, so it keeps 8 bits beside layers of 4.
            return try loader.matrix(
                loader.contains("scores.weight") ? "scores.weight" : name, shape: shape,
                format: .int8(group: group),
                recordedAs: configuration.tiedEmbeddings ? "scores.weight" : nil)
        }
    }

    /// A cache for one sequence of this decoder.
    package func makeCache() -> KeyValueCache {
        KeyValueCache(
            layers: configuration.layers, width: configuration.keyValueHeads * configuration.headDimension,
            isHalf: roundsCache)
    }

    /// Token embeddings.
    /// - Parameters:
    ///   - ids: each below `configuration.vocabularySize`
    ///   - y: [ids.count, hiddenSize], overwritten
    package func embed(_ ids: [Int], into y: Matrix, on compute: Compute) {
        compute.gather(ids, from: embedding, into: y)
    }

    /// Runs new positions through all layers, in chunks, and returns the logits of the last one only.
    /// - Parameters:
    ///   - embeddings: [new positions, hiddenSize], at least one row; overwritten
    ///   - cache: what came before; advanced by the new positions
    ///   - logits: [1, n], overwritten with the scores of vocabulary rows 0..<n
    ///   - chunk: positions that go through the layers together
    ///   - progress: told how many of the new positions are done, after each layer of a chunk
    /// - Throws: `TensorError.cancelled` when the flag was raised before the logits were complete (the cache then
    ///   holds only whole chunks, or all of them), `allocationFailed`.
    package func prefill(
        _ embeddings: Matrix, cache: KeyValueCache, logits: Matrix, workspace: Workspace,
        on compute: Compute, chunk size: Int = Decoder.prefillChunk, progress: (Double) -> Void = { _ in }
    ) throws(TensorError) {
        precondition(embeddings.rows > 0 && size > 0, "prefill needs at least one position")
        try cache.reserve(cache.count + embeddings.rows)
        var start = 0
        while start < embeddings.rows {
            let end = min(start + size, embeddings.rows)
            let chunk = embeddings.rows(start..<end)
            for (index, layer) in layers.enumerated() {
                try compute.checkCancellation()
                try layer(
                    chunk, wanted: wantedRows(of: chunk, isLastChunk: end == embeddings.rows, layer: index),
                    index: index, rotary: rotary, cache: cache, workspace: workspace, on: compute)
                let done = Double(start) + Double(chunk.rows) * Double(index + 1) / Double(layers.count)
                progress(done / Double(embeddings.rows))
            }
            // A flag raised within the last layer leaves keys and values undefined.
            try compute.checkCancellation()
            cache.advance(by: chunk.rows)
            start = end
        }
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let last = try workspace.matrix(1, configuration.hiddenSize)
        compute.rmsNorm(
            embeddings.rows(embeddings.rows - 1..<embeddings.rows), weight: norm,
            epsilon: configuration.rmsNormEpsilon, into: last)
        // In float32 precision a bfloat16 table is multiplied as it is: nothing rounds the row.
        compute.logits(last, output, isExact: !roundsCache, into: logits)
        try compute.checkCancellation()
    }

    /// Nothing reads the last layer's output except at the very last position, so only that row is computed there;
    /// keys and values are still written for every row.
    private func wantedRows(of chunk: Matrix, isLastChunk: Bool, layer: Int) -> Range<Int> {
        guard layer == layers.count - 1 else { return 0..<chunk.rows }
        return isLastChunk ? chunk.rows - 1..<chunk.rows : 0..<0
    }
}
