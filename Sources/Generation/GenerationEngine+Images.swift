internal import ImageInput
internal import Tensors

/// Images of sequences on their way through the encoder, between the decoder's steps.
extension GenerationEngine {
    /// Visual tokens that another request or the caller's memory has.
    func findTokens(for sequence: GenerationSequence) {
        for index in sequence.images.indices where !sequence.images[index].isEncoded {
            if let tokens = rememberedTokens(sequence.images[index].identity) {
                sequence.images[index].content = .encoded(tokens)
            }
        }
    }

    /// Works on the image that was begun, or on the one that the request waits for.
    func encode(for id: Int) {
        if let identity = encodings.activeIdentity, !isWanted(identity) { encodings.abandon() }
        if !encodings.isActive { beginEncoding(for: id) }
        guard encodings.isActive else { return }
        let identity = encodings.activeIdentity
        for sequence in sequences where sequence.outcome.began == nil && sequence.waits(for: identity) {
            sequence.outcome.began = clock.now
        }
        do {
            let others = candidates.count > 1
            let finished = try encodings.work(for: others ? .milliseconds(40) : .zero, on: encodingCompute)
            for sequence in sequences where sequence.waits(for: identity) {
                sequence.events(.encoding(encodings.progress))
            }
            if let finished, let identity { take(finished.output, of: identity) }
        } catch {
            encodingCompute = baseCompute.withCancellation(nil)
            for sequence in sequences where sequence.waits(for: identity) { finish(sequence, error) }
        }
    }

    private func beginEncoding(for id: Int) {
        guard let owner = sequences.first(where: { $0.id == id }) else {
            return encodings.begin(request: id)
        }
        guard let place = owner.imageToEncode(from: owner.ready),
            case .pixels(let pixels) = owner.images[place].content
        else { return }
        do {
            try encodings.begin(pixels, identity: owner.images[place].identity)
        } catch {
            finish(owner, error)
        }
    }

    private func isWanted(_ identity: Int) -> Bool { sequences.contains { $0.waits(for: identity) } }

    /// Gives an image's visual tokens to everybody who waits for them. Its time counts for the first of them.
    private func take(_ output: ImageEncodings.Output, of identity: Int) {
        var isFirst = true
        for sequence in sequences {
            for index in sequence.images.indices
            where sequence.images[index].identity == identity && !sequence.images[index].isEncoded {
                sequence.images[index].content = .encoded(output.projected)
                if isFirst {
                    isFirst = false
                    sequence.outcome.durations.encode += output.durations.encode
                    sequence.outcome.durations.project += output.durations.project
                }
                sequence.events(.encoded(index, output.projected))
            }
        }
    }
}
