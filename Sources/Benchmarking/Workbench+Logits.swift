internal import Checkpoints
internal import Models
package import Tensors

/// What a network says of token ids, for comparisons with other programs on the same ids.
extension Workbench {
    /// Positions whose scores are in memory at once: the vocabulary is wide.
    private static var logitsChunk: Int { 256 }

    /// The scores after each of a text's tokens, nothing before it.
    /// - Parameters:
    ///   - ids: at least one, each below the vocabulary's size
    ///   - body: receives them in order, in parts [positions, vocabulary], valid until it returns
    /// - Throws: `TensorError`, and what `body` throws.
    package func logits(_ ids: [Int], _ body: (Matrix) throws -> Void) throws {
        let cache = network.decoder.makeCache()
        try cache.reserve(ids.count)
        for start in stride(from: 0, to: ids.count, by: Self.logitsChunk) {
            let part = Array(ids[start..<min(start + Self.logitsChunk, ids.count)])
            try workspace.scope {
                let logits = try workspace.matrix(part.count, network.configuration.text.vocabularySize)
                try forward(part, cache: cache, logits: logits)
                try body(logits)
            }
        }
    }

    /// The likeliest tokens after a prompt, of equal ones the first. Nothing ends them.
    /// - Parameters:
    ///   - ids: at least one, each below the vocabulary's size
    ///   - tokens: how many, at least one
    /// - Throws: `TensorError`.
    package func greedy(_ ids: [Int], tokens: Int) throws -> [Int] {
        let cache = network.decoder.makeCache()
        try cache.reserve(ids.count + tokens)
        return try workspace.scope {
            let logits = try workspace.matrix(1, network.configuration.text.vocabularySize)
            try forward(ids, cache: cache, logits: logits)
            var answer = [Self.likeliest(logits)]
            while answer.count < tokens {
                try forward([answer[answer.count - 1]], cache: cache, logits: logits)
                answer.append(Self.likeliest(logits))
            }
            return answer
        }
    }

    /// Runs the next positions of one sequence; the last `logits.rows` of them get scores.
    private func forward(_ ids: [Int], cache: KeyValueCache, logits: Matrix) throws {
        try workspace.scope {
            let embeddings = try workspace.matrix(ids.count, network.configuration.text.hiddenSize)
            network.decoder.embed(ids, into: embeddings, on: compute)
            batch.removeAll()
            batch.append(cache, positions: ids.count, wanted: logits.rows)
            try network.decoder.forward(
                embeddings, batch: batch, logits: logits, workspace: workspace, on: compute)
        }
    }

    private static func likeliest(_ logits: Matrix) -> Int {
        let scores = logits.row(0)
        return scores.indices.reduce(0) { scores[$1] > scores[$0] ? $1 : $0 }
    }
}
