internal import Checkpoints
internal import Models
internal import Tensors

/// From scores to tokens, and the ends of answers.
extension GenerationEngine {
    /// Chooses the sequence's next token.
    func extend(_ sequence: GenerationSequence, _ scores: UnsafeMutableBufferPointer<Float>) {
        let token: AnswerText.Token
        do {
            token = try choose(sequence, scores)
        } catch {
            return finish(sequence, error)
        }
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
        if sequence.outcome.ids.count == sequence.limit { return end(sequence) }
        sequence.keys.append(.token(token.id))
    }

    private func choose(
        _ sequence: GenerationSequence, _ scores: UnsafeMutableBufferPointer<Float>
    ) throws(GenerationError) -> AnswerText.Token {
        let position = sequence.computed
        guard let count = sequence.request.probabilities else {
            guard let id = sequence.sampler.next(scores) else { throw .notANumber(position: position) }
            return AnswerText.Token(id: id)
        }
        // The penalty changes the scores in place, the report is of the model's own distribution.
        let untouched = UnsafeMutableBufferPointer<Float>.allocate(capacity: scores.count)
        defer { untouched.deallocate() }
        _ = untouched.initialize(from: scores)
        sequence.sampler.mask(untouched)
        guard let id = sequence.sampler.next(scores) else { throw .notANumber(position: position) }
        let report = Sampler.probabilities(untouched, of: id, alternatives: count)
        return AnswerText.Token(id: id, probability: report.chosen, alternatives: report.alternatives)
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
