package import Checkpoints
package import Tensors

/// A causal language model of the Qwen2, Llama or Mistral family: they are configurations of this one type.
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
            "embedding.weight", rows: configuration.vocabularySize, channels: configuration.hiddenSize,
            isPacked: configuration.tiedEmbeddings && !part.contains("scores.weight"))
        output = try Self.output(configuration, part)
        roundsCache = loader.format != .float32
        norm = try part.vector("norm.weight", count: configuration.hiddenSize)
        rotary = try RotaryTable(
            headDimension: configuration.headDimension, theta: Double(configuration.ropeTheta),
            positions: maximumPositions)
        var loaded: [DecoderLayer] = []
        for number in 0..<configuration.layers {
            let keepsEightBits = Precision.keepsEightBits(layer: number, of: configuration.layers)
            loaded.append(
                try DecoderLayer(
                    (keepsEightBits ? part.inEightBits : part).part("layers.\(number)"),
                    configuration: configuration))
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

    /// What the keys and values of a position are.
    package var keyValueShape: KeyValueShape {
        KeyValueShape(
            layers: configuration.layers, width: configuration.keyValueHeads * configuration.headDimension,
            isBFloat16: roundsCache)
    }

    /// A cache for one sequence of this decoder.
    package func makeCache() -> KeyValueCache { KeyValueCache(keyValueShape) }

    /// Token embeddings.
    /// - Parameters:
    ///   - ids: each below `configuration.vocabularySize`
    ///   - y: [ids.count, hiddenSize], overwritten
    package func embed(_ ids: [Int], into y: Matrix, on compute: Compute) {
        compute.gather(ids, from: embedding, into: y)
    }

    /// Runs new positions of several sequences through all layers: one step.
    ///
    /// A row's result has the same bits whatever the other rows are.
    /// - Parameters:
    ///   - embeddings: [batch.rows, hiddenSize]; overwritten
    ///   - batch: which positions of which sequences the rows are; their caches are advanced when all is done
    ///   - logits: [batch.wantedCount, n], overwritten with the scores of vocabulary rows 0..<n
    ///   - progress: receives the number of layers that are done
    /// - Throws: `TensorError.cancelled` when the flag was raised before the logits were complete, `allocationFailed`.
    ///   The caches then have what they had before.
    package func forward(
        _ embeddings: Matrix, batch: DecoderBatch, logits: Matrix, workspace: Workspace,
        on compute: Compute, progress: (Int) -> Void = { _ in }
    ) throws(TensorError) {
        precondition(
            embeddings.rows > 0 && embeddings.rows == batch.rows && logits.rows == batch.wantedCount,
            "rows do not agree with the batch")
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let wanted = try workspace.matrix(batch.wantedCount, configuration.hiddenSize)
        for (index, layer) in layers.enumerated() {
            try compute.checkCancellation()
            try layer(
                embeddings, wanted: index + 1 < layers.count ? nil : wanted, batch: batch, index: index,
                rotary: rotary, workspace: workspace, on: compute)
            progress(index + 1)
        }
        if wanted.rows > 0 {
            compute.rmsNorm(wanted, weight: norm, epsilon: configuration.rmsNormEpsilon, into: wanted)
            // In float32 precision a bfloat16 table is multiplied as it is: nothing rounds the row.
            compute.logits(wanted, output, isExact: !roundsCache, into: logits)
        }
        // A flag raised within the last layer leaves keys and values undefined.
        try compute.checkCancellation()
        batch.advance()
    }

    /// Runs new positions of one sequence through all layers, in chunks, and returns the scores of the last one.
    /// - Parameters:
    ///   - embeddings: [new positions, hiddenSize], at least one row; overwritten
    ///   - cache: what came before; advanced by the new positions
    ///   - logits: [1, n], overwritten with the scores of vocabulary rows 0..<n
    ///   - chunk: positions that go through the layers together
    /// - Throws: `TensorError.cancelled` when the flag was raised before the logits were complete (the cache then
    ///   holds only whole chunks), `allocationFailed`.
    package func forward(
        _ embeddings: Matrix, cache: KeyValueCache, logits: Matrix, workspace: Workspace,
        on compute: Compute, batch: DecoderBatch = DecoderBatch(), chunk size: Int = Decoder.prefillChunk
    ) throws(TensorError) {
        precondition(embeddings.rows > 0 && size > 0, "there must be at least one position")
        try cache.reserve(cache.count + embeddings.rows)
        for start in stride(from: 0, to: embeddings.rows, by: size) {
            let end = min(start + size, embeddings.rows)
            let isLast = end == embeddings.rows
            batch.removeAll()
            batch.append(cache, positions: end - start, wanted: isLast ? 1 : 0)
            try forward(
                embeddings.rows(start..<end), batch: batch, logits: isLast ? logits : logits.rows(0..<0),
                workspace: workspace, on: compute)
        }
    }
}
