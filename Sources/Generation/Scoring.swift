internal import Checkpoints
internal import Models
package import Tensors

/// How likely a token of a given text is.
package struct TokenScore: Sendable, Hashable {
    /// Its place in the sequence.
    package let position: Int
    package let id: Int
    /// Natural logarithm of its probability after everything before it, over all rows of the output matrix.
    package let logProbability: Float
    /// Whether no other token is likelier there: a greedy answer would go on with it.
    package let isMostLikely: Bool
}

/// A sequence whose tokens' probabilities are asked for. Worked on in chunks, so that steps of answers come between and
/// memory is bounded; keys and values are its own.
final class Scoring {
    /// Bytes of logits at once.
    private static let logitBytes = 32 << 20
    private static let largestChunk = 256

    let cancellation: Cancellation
    private let network: VisionLanguageNetwork
    private let compute: Compute
    private let keys: [PositionKey]
    private let images: [Tensor]
    /// The first position whose token is asked for.
    private let first: Int
    private let completion: (Result<[TokenScore], any Error>) -> Void
    private let cache: KeyValueCache
    private let workspace = Workspace()
    private let batch = DecoderBatch()
    private var scores: [TokenScore] = []

    /// - Parameters:
    ///   - keys: of all positions; images are identified by their place in `images`
    ///   - images: visual tokens, [tokens, hidden size]
    ///   - first: of the positions that are asked for; one that holds no token, or nothing before it, is left out
    init(
        _ network: VisionLanguageNetwork, keys: [PositionKey], images: [Tensor], first: Int,
        compute: Compute, cancellation: Cancellation,
        completion: @escaping (Result<[TokenScore], any Error>) -> Void
    ) {
        self.network = network
        self.keys = keys
        self.images = images
        self.first = max(first, 1)
        self.compute = compute.withCancellation(cancellation)
        self.cancellation = cancellation
        self.completion = completion
        cache = KeyValueCache(network.decoder.keyValueShape)
        scores.reserveCapacity(max(keys.count - self.first, 0))
    }

    /// Ends a request that was cancelled before its turn.
    /// - Returns: whether it was.
    func endIfCancelled() -> Bool {
        guard cancellation.isCancelled else { return false }
        completion(.failure(TensorError.cancelled))
        return true
    }

    /// Does the next chunk.
    /// - Parameter rows: most positions of it
    /// - Returns: whether that was the last one.
    func step(rows most: Int) -> Bool {
        do {
            try compute.checkCancellation()
            // The last position predicts what is not there.
            if cache.count < keys.count - 1, first < keys.count { try computeChunk(most) }
            guard cache.count >= keys.count - 1 || first >= keys.count else { return false }
            completion(.success(scores))
        } catch {
            completion(.failure(error))
        }
        return true
    }

    private func computeChunk(_ limit: Int) throws {
        let start = cache.count
        let vocabulary = network.configuration.text.vocabularySize
        let areWanted = start >= first - 1
        let most =
            areWanted
            ? min(max(Self.logitBytes / (vocabulary * MemoryLayout<Float>.stride), 1), Self.largestChunk)
            : Self.largestChunk
        let end = min(start + min(most, max(limit, 1)), areWanted ? keys.count - 1 : first - 1)
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let rows = try workspace.matrix(end - start, network.configuration.text.hiddenSize)
        embed(start..<end, into: rows)
        try cache.reserve(end)
        batch.removeAll()
        batch.append(cache, positions: rows.rows, wanted: areWanted ? rows.rows : 0)
        let logits = try workspace.matrix(batch.wantedCount, vocabulary)
        try network.decoder.forward(rows, batch: batch, logits: logits, workspace: workspace, on: compute)
        for row in 0..<batch.wantedCount {
            let position = start + row + 1
            guard let id = keys[position].tokenID else { continue }
            let scored = UnsafeMutableBufferPointer(start: logits.row(row).baseAddress, count: vocabulary)
            let (chosen, best) = Sampler.probabilities(scored, of: id, alternatives: 1)
            guard !chosen.logProbability.isNaN else { throw GenerationError.notANumber(position: position) }
            scores.append(
                TokenScore(
                    position: position, id: id, logProbability: chosen.logProbability,
                    isMostLikely: best.first?.id == id))
        }
    }

    /// The rows that go into the decoder.
    private func embed(_ positions: Range<Int>, into target: Matrix) {
        var place = positions.lowerBound
        while place < positions.upperBound {
            let start = place
            let run = { target.rows(start - positions.lowerBound..<place - positions.lowerBound) }
            if let (image, index) = keys[place].imagePart {
                while place < positions.upperBound, let part = keys[place].imagePart,
                    part.identity == image, part.index == index + place - start
                {
                    place += 1
                }
                run().copy(images[image], from: index)
            } else {
                var ids: [Int] = []
                while place < positions.upperBound, let id = keys[place].tokenID {
                    ids.append(id)
                    place += 1
                }
                network.decoder.embed(ids, into: run(), on: compute)
            }
        }
    }
}

extension GenerationEngine {
    /// Asks how likely the tokens of a given sequence are, to be worked on by ``step()`` beside answers.
    ///
    /// ```
    /// try engine.addScoring(prompt, images: [], from: 0, cancellation: Cancellation()) { result in … }
    /// while engine.step() {}
    /// ```
    /// - Parameters:
    ///   - prompt: the whole sequence
    ///   - images: the visual tokens of the images that it refers to, [tokens, hidden size] each
    ///   - first: the first position that is asked for; position 0 has nothing before it and gets no score
    ///   - completion: receives the scores of all tokens from there on, in order; images have none
    /// - Throws: `GenerationError` for what can be checked before any work; there is no completion then.
    package func addScoring(
        _ prompt: Prompt, images: [Tensor], from first: Int, cancellation: Cancellation,
        completion: @escaping (Result<[TokenScore], any Error>) -> Void
    ) throws(GenerationError) {
        var request = GenerationRequest(prompt: prompt)
        request.images = images.enumerated().map { .init(.encoded($1), identity: $0) }
        let keys = try keys(of: request)
        guard keys.count <= contextLimit else {
            throw .contextExceeded(needed: keys.count, limit: contextLimit)
        }
        add(
            Scoring(
                network, keys: keys, images: images, first: first, compute: scoringCompute,
                cancellation: cancellation, completion: completion))
    }

    /// How likely the tokens of a sequence are, computed at once, beside whatever else was added.
    /// - Throws: `GenerationError`, `TensorError`.
    package func score(
        _ prompt: Prompt, images: [Tensor] = [], from first: Int = 0,
        cancellation: Cancellation = Cancellation()
    ) throws -> [TokenScore] {
        var result: Result<[TokenScore], any Error>?
        try addScoring(prompt, images: images, from: first, cancellation: cancellation) { result = $0 }
        while result == nil, step() {}
        guard let result else { throw TensorError.cancelled }
        return try result.get()
    }
}
