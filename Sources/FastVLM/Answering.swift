internal import Checkpoints
internal import Dispatch
internal import Generation
internal import Models
internal import Synchronization
internal import Tensors

/// Takes a turn from its question to its answer: preparation, engine, and what the conversation keeps of it.
struct Answering: Sendable {
    let actor: InferenceActor
    let preparation: TurnPreparation
    let memory: ImageMemory
    let network: VisionLanguageNetwork
    let journal: RequestJournal

    /// - Parameters:
    ///   - place: in the conversation's line
    ///   - emit: receives all events but `finished`
    /// - Throws: `FastVLMError`, `CancellationError`.
    func answer(
        _ turn: Turn, in conversation: Conversation, place: WeightedSemaphore.Claim,
        cancellation: Cancellation, emit: @escaping @Sendable (AnswerEvent) -> Void
    ) async throws -> Answer {
        let entry = journal.begin(turn.options.requestID)
        do {
            let answer = try await work(
                turn, in: conversation, place: place, cancellation: cancellation, entry: entry, emit: emit)
            entry.end(answer)
            return answer
        } catch {
            let error = FastVLMError.translating(error)
            entry.end(error)
            throw error
        }
    }

    private func work(
        _ turn: Turn, in conversation: Conversation, place: WeightedSemaphore.Claim,
        cancellation: Cancellation, entry: RequestJournal.Entry,
        emit: @escaping @Sendable (AnswerEvent) -> Void
    ) async throws -> Answer {
        let admission = try preparation.limits.admit(bytes: turn.bytes)
        entry.count(preparation.limits)
        defer {
            admission.leave()
            entry.count(preparation.limits)
        }
        // Longer ones are beyond what clocks can count.
        let deadline = turn.options.timeLimit.map {
            ContinuousClock.now + GenerationOptions.possible($0)
        }
        let prepared = try await within(deadline) {
            try await place.granted()
            return try await preparation.prepare(turn, in: conversation, admission: admission) {
                emit(.queued(position: $0))
            }
        } late: {
            preparation.release($0)
        }
        defer { preparation.release(prepared) }
        entry.begin(prepared, preparation.limits)
        var request = conversation.request(
            for: prepared.prompt, images: prepared.images.map(\.content), first: prepared.first)
        turn.options.apply(to: &request)
        request.format = prepared.format
        request.deadline = deadline
        let earlier = request.images.count - prepared.images.count
        let collected = Mutex(Collected())
        let (outcome, error) = await actor.generate(request, cancellation: cancellation) { event in
            switch event {
            case .encoding(let fraction): emit(.progress(.encode, fraction: fraction))
            case .encoded(let index, let tokens):
                collected.withLock { $0.encoded[index] = tokens }
                guard prepared.images.indices.contains(index - earlier) else { break }
                let image = prepared.images[index - earlier]
                guard let identity = image.content.identity else { break }
                memory.keep(
                    tokens, of: image.name, identity: identity, remarks: image.remarks,
                    multiImagePixels: image.multiImagePixels)
            case .prefilling(let fraction): emit(.progress(.prefill, fraction: fraction))
            case .piece(let piece):
                let token = AnswerToken(piece)
                collected.withLock { collected in
                    collected.text += piece.text
                    if let token { collected.tokens.append(token) }
                }
                if let token { emit(.token(token)) }
                if !piece.text.isEmpty { emit(.text(piece.text)) }
            case .finished: break
            }
        }
        let all = collected.withLock { $0 }
        if error == nil || (isCancellation(error) && !outcome.ids.isEmpty) {
            keep(request, outcome, all, prepared, in: conversation)
        }
        if let error { throw error }
        return Self.answer(prepared, outcome, all)
    }

    private struct Collected {
        var text = ""
        var tokens: [AnswerToken] = []
        /// Visual tokens by the place of their image in the request.
        var encoded: [Int: Tensor] = [:]
    }

    private func isCancellation(_ error: (any Error)?) -> Bool {
        if case TensorError.cancelled? = error { true } else { false }
    }

    private func keep(
        _ request: GenerationRequest, _ outcome: GenerationOutcome, _ collected: Collected,
        _ turn: PreparedTurn, in conversation: Conversation
    ) {
        var request = request
        for (index, image) in request.images.enumerated() {
            // Another request may have encoded it.
            if let tokens = collected.encoded[index] ?? image.identity.flatMap(memory.tokens) {
                request.images[index].content = .encoded(tokens)
            }
        }
        // A token that only ends the answer is not part of it.
        conversation.append(
            request, ids: outcome.ending == nil ? outcome.ids : outcome.ids.dropLast(),
            multiImagePixels: turn.images.first?.multiImagePixels)
    }

    private static func answer(
        _ turn: PreparedTurn, _ outcome: GenerationOutcome, _ collected: Collected
    ) -> Answer {
        var tokens = collected.tokens
        // A token that ends the turn is chosen but never shown.
        if let ending = outcome.ending, let token = AnswerToken(ending) { tokens.append(token) }
        let end = ContinuousClock.now
        let began = outcome.began ?? end
        return Answer(
            text: collected.text, tokens: tokens, finishReason: outcome.finish,
            usage: Usage(
                promptTokens: outcome.promptPositions, imageTokens: outcome.imagePositions,
                cachedTokens: outcome.cachedPositions, cachedImageTokens: outcome.cachedImagePositions,
                completionTokens: outcome.ids.count),
            timings: Timings(
                decodeImage: turn.durations.decode.seconds, preprocess: turn.durations.preprocess.seconds,
                encode: outcome.durations.encode.seconds, project: outcome.durations.project.seconds,
                prefill: outcome.durations.prefill.seconds,
                timeToFirstToken: (turn.elapsed + ((outcome.firstToken ?? end) - began)).seconds,
                perToken: outcome.durations.decode.map(\.seconds),
                total: (turn.elapsed + (end - began)).seconds),
            remarks: turn.remarks)
    }
}

/// Suspends until the deadline. Cancelling frees it at once, while a job of `Task.sleep` is kept until its time: a server
/// with minutes for each request would hold all of them.
/// - Throws: `CancellationError`.
package func pause(until deadline: ContinuousClock.Instant) async throws {
    let fired = AsyncStream<Void> { continuation in
        let timer = DispatchSource.makeTimerSource(queue: .global(qos: .userInitiated))
        timer.setEventHandler { continuation.yield() }
        timer.schedule(deadline: .now() + max((deadline - .now).seconds, 0))
        nonisolated(unsafe) let pending = timer
        continuation.onTermination = { _ in pending.cancel() }
        timer.activate()
    }
    for await _ in fired { return }
    throw CancellationError()
}

/// Runs `body`, and cancels it at the deadline.
/// - Parameter late: receives what it came to nevertheless
/// - Throws: `GenerationError.deadlineExceeded` then.
private func within<Value: Sendable>(
    _ deadline: ContinuousClock.Instant?, _ body: @escaping @Sendable () async throws -> Value,
    late: (Value) -> Void
) async throws -> Value {
    guard let deadline else { return try await body() }
    return try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await pause(until: deadline)
            return nil
        }
        let first: Value??
        do {
            first = try await group.next()
        } catch {
            // The sleep ends at once when this task is cancelled; the body may still come to something.
            group.cancelAll()
            if let value = try? await group.next() ?? nil { late(value) }
            throw error
        }
        group.cancelAll()
        if let value = first ?? nil { return value }
        if let value = try? await group.next() ?? nil { late(value) }
        throw GenerationError.deadlineExceeded
    }
}

extension AnswerToken {
    init?(_ piece: GeneratedPiece) {
        guard let id = piece.id else { return nil }
        self.init(
            id: id, logProbability: piece.probability?.logProbability,
            alternatives: piece.alternatives.map {
                Alternative(id: $0.id, logProbability: $0.logProbability)
            })
    }
}
