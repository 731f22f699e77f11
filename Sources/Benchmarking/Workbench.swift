internal import Checkpoints
package import Models
package import Tensors

/// One loaded network and the parts of an answer, each to be run and timed on its own.
///
/// Owns scratch memory; not Sendable.
package final class Workbench {
    /// A part of an answer with its size.
    package enum Item: Sendable, Hashable {
        /// Pixels of `side`² to visual features.
        case encoder(side: Int)
        /// Visual features of an image of `side`² pixels to the decoder's width.
        case projector(side: Int)
        /// A prompt of `positions` to the scores of its first answer token.
        case prefill(positions: Int)
        /// One further token behind `context` positions, `tokens` times.
        case decode(context: Int, tokens: Int)
    }

    package let network: VisionLanguageNetwork
    let compute: Compute
    let workspace = Workspace()
    let batch = DecoderBatch()

    package init(network: VisionLanguageNetwork, compute: Compute) {
        self.network = network
        self.compute = compute
    }

    /// Runs an item once.
    /// - Parameter log: told every operation, where given
    /// - Returns: how long it took, without what it only prepares
    /// - Throws: `TensorError`.
    package func run(_ item: Item, log: OperationLog? = nil) throws -> Duration {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let recording = compute.recording(to: log)
        switch item {
        case .encoder(let side): return try encode(side, recording)
        case .projector(let side): return try project(side, recording)
        case .prefill(let positions): return try prefill(positions, recording)
        case .decode(let context, let tokens): return try decode(context, tokens, recording)
        }
    }

    /// Multiplications and additions of an item, counted by running it once.
    package func operations(_ item: Item) throws -> Int {
        let log = OperationLog()
        _ = try run(item, log: log)
        return log.entries.reduce(0) { $0 + $1.operations }
    }

    private func encode(_ side: Int, _ compute: Compute) throws -> Duration {
        let input = try workspace.map(height: side, width: side, channels: 3)
        var random = LinearCongruential(seed: "pixels")
        for index in input.buffer.indices { input.buffer[index] = random.next() }
        let tokens = network.encoder.tokens(side: side)
        let features = try workspace.matrix(tokens, network.encoder.featureChannels)
        return try timed {
            try network.encoder.encode(input, into: features, workspace: workspace, on: compute)
        }
    }

    private func project(_ side: Int, _ compute: Compute) throws -> Duration {
        let tokens = network.encoder.tokens(side: side)
        let features = try random(tokens, network.encoder.featureChannels)
        let projected = try workspace.matrix(features.rows, network.configuration.text.hiddenSize)
        return try timed {
            try network.projector(features, into: projected, workspace: workspace, on: compute)
        }
    }

    private func prefill(_ positions: Int, _ compute: Compute) throws -> Duration {
        let embeddings = try random(positions, network.configuration.text.hiddenSize)
        let logits = try workspace.matrix(1, network.configuration.text.vocabularySize)
        let cache = network.decoder.makeCache()
        return try timed {
            try network.decoder.forward(
                embeddings, cache: cache, logits: logits, workspace: workspace, on: compute)
        }
    }

    private var decoding: (cache: KeyValueCache, context: Int)?

    private func decode(_ context: Int, _ tokens: Int, _ compute: Compute) throws -> Duration {
        let logits = try workspace.matrix(1, network.configuration.text.vocabularySize)
        let cache = decoding.flatMap { $0.context == context ? $0.cache : nil } ?? network.decoder.makeCache()
        if cache.count < context {
            try network.decoder.forward(
                random(context, network.configuration.text.hiddenSize), cache: cache, logits: logits,
                workspace: workspace, on: self.compute)
            try cache.reserve(context + tokens)
            decoding = (cache, context)
        }
        defer { cache.truncate(to: context) }
        let step = try workspace.matrix(1, network.configuration.text.hiddenSize)
        return try timed {
            for token in 0..<tokens {
                network.decoder.embed([token], into: step, on: compute)
                try network.decoder.forward(
                    step, cache: cache, logits: logits, workspace: workspace, on: compute, batch: batch)
            }
        }
    }

    private func random(_ rows: Int, _ columns: Int) throws -> Matrix {
        let matrix = try workspace.matrix(rows, columns)
        var random = LinearCongruential(seed: "activations")
        for row in 0..<rows {
            for column in 0..<columns { matrix[row, column] = random.next() }
        }
        return matrix
    }

    private func timed(_ work: () throws -> Void) rethrows -> Duration {
        let clock = ContinuousClock()
        let start = clock.now
        try work()
        return clock.now - start
    }
}
