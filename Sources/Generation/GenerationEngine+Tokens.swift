internal import Checkpoints
internal import Models
internal import StructuredOutput
internal import Tensors

/// From scores to tokens, and the ends of answers.
extension GenerationEngine {
    /// Chooses the sequence's next token.
    func extend(_ sequence: GenerationSequence, _ scores: UnsafeMutableBufferPointer<Float>) {
        let chosen: AnswerText.Token?
        do {
            chosen = try choose(sequence, scores)
        } catch {
            return finish(sequence, error)
        }
        // What the format allows next would not fit, and the answer may end here.
        guard let token = chosen else { return end(sequence) }
        let now = clock.now
        if let last = sequence.lastToken {
            sequence.outcome.durations.decode.append(now - last)
        } else {
            sequence.outcome.firstToken = now
        }
        sequence.lastToken = now
        sequence.outcome.ids.append(token.id)
        if sequence.request.stopIDs.contains(token.id)
            || (!sequence.request.ignoresEndOfSequence
                && network.configuration.endOfSequenceIDs.contains(token.id))
        {
            sequence.outcome.finish = .stop
            sequence.outcome.ending = GeneratedPiece(
                text: "", id: token.id, probability: token.probability, alternatives: token.alternatives)
            return end(sequence)
        }
        let (piece, stopped) = sequence.text.append(token)
        sequence.events(.piece(piece))
        if stopped {
            // What came with the stop string is not part of the answer.
            sequence.outcome.finish = .stop
            return finish(sequence, nil)
        }
        if let constraint = sequence.constraint, constraint.isComplete {
            if !constraint.isClosing { sequence.outcome.finish = .stop }
            return end(sequence)
        }
        if sequence.outcome.ids.count == sequence.limit { return end(sequence) }
        sequence.keys.append(.token(token.id))
    }

    /// - Returns: nil where the answer ends without another token.
    private func choose(
        _ sequence: GenerationSequence, _ scores: UnsafeMutableBufferPointer<Float>
    ) throws(GenerationError) -> AnswerText.Token? {
        guard let count = sequence.request.probabilities else {
            return try chooseID(sequence, scores).map { AnswerText.Token(id: $0) }
        }
        // Penalties and masks change the scores in place, the report is of the model's own distribution.
        let untouched = UnsafeMutableBufferPointer<Float>.allocate(capacity: scores.count)
        defer { untouched.deallocate() }
        _ = untouched.initialize(from: scores)
        sequence.sampler.mask(untouched)
        guard let id = try chooseID(sequence, scores) else { return nil }
        let report = Sampler.probabilities(untouched, of: id, alternatives: count)
        return AnswerText.Token(id: id, probability: report.chosen, alternatives: report.alternatives)
    }

    private func chooseID(
        _ sequence: GenerationSequence, _ scores: UnsafeMutableBufferPointer<Float>
    ) throws(GenerationError) -> Int? {
        let position = sequence.computed
        guard sequence.constraint != nil else {
            guard let id = sequence.sampler.next(scores) else { throw .notANumber(position: position) }
            return id
        }
        guard sequence.sampler.prepare(scores) else { throw .notANumber(position: position) }
        do {
            return try chooseConstrained(sequence, scores)
        } catch {
            throw .format(error)
        }
    }

    /// A token of the answer's format. Near the limit it is one behind which the answer can still be ended in time, and
    /// where the sampler finds none soon, the answer is ended by the shortest way.
    private func chooseConstrained(
        _ sequence: GenerationSequence, _ scores: UnsafeMutableBufferPointer<Float>
    ) throws(StructuredOutputError) -> Int? {
        if sequence.constraint?.isClosing == false {
            try sequence.constraint?.restrict(scores)
            let remaining = sequence.limit - sequence.outcome.ids.count - 1
            for _ in 0..<Self.mostDraws {
                guard let id = sequence.sampler.draw(scores) else { break }
                if sequence.constraint?.accept(id, remaining: remaining) == true {
                    sequence.sampler.count(id)
                    return id
                }
                scores[id] = -.infinity
            }
            try sequence.constraint?.close()
        }
        let id = sequence.constraint?.nextToClose()
        if let id { sequence.sampler.count(id) }
        return id
    }

    /// Of a token in a format, before the answer is ended.
    private static var mostDraws: Int { 16 }

    /// What holds an answer to its format.
    /// - Parameter prompt: positions before the answer
    /// - Throws: `GenerationError` where not even the shortest answer fits.
    func constraint(
        for request: GenerationRequest, prompt: Int
    ) throws(GenerationError) -> AnswerConstraint? {
        guard let format = request.format else { return nil }
        let configuration = network.configuration
        let constraint = AnswerConstraint(
            format, ends: request.stopIDs.union(configuration.endOfSequenceIDs),
            excluded: [configuration.imageTokenID].compactMap { $0 })
        guard let shortest = constraint.tokensToEnd else { throw .format(.noToken) }
        try request.checkRoom(forAnswer: shortest)
        guard prompt + shortest - 1 <= contextLimit else {
            throw .contextExceeded(needed: prompt + shortest - 1, limit: contextLimit)
        }
        return constraint
    }

    /// Ends an answer that is complete.
    private func end(_ sequence: GenerationSequence) {
        if let rest = sequence.text.finish() { sequence.events(.piece(rest)) }
        finish(sequence, nil)
    }

    func finish(_ sequence: GenerationSequence, _ error: (any Error)?) {
        sequences.removeAll { $0 === sequence }
        if sequence.hasBegun { pool.end(sequence.lease, sequence.keys) }
        sequence.hasBegun = false
        sequence.events(.finished(sequence.outcome, error))
    }
}
