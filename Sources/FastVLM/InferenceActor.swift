internal import Dispatch
internal import Generation
internal import ImageInput
internal import Synchronization
internal import Tensors

/// Runs an actor's jobs on one thread of their own: inference computes for seconds, which must not occupy the
/// threads that Swift's tasks share.
final class InferenceExecutor: SerialExecutor {
    private let queue = DispatchQueue(label: "fastvlm.inference", qos: .userInitiated)

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}

/// Owns the engine and runs its steps as long as there are requests. Between two steps it takes new ones.
actor InferenceActor {
    private let executor = InferenceExecutor()
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let engine: GenerationEngine
    private let metrics: EngineMetrics?
    private var isRunning = false
    /// Calls that wait for the actor. Leaving it between steps costs more than a step of a small model, so that is done
    /// for them only.
    private nonisolated let callers = Atomic<Int>(0)

    init(engine: sending GenerationEngine, images: ImageMemory, metrics: EngineMetrics?) {
        self.metrics = metrics
        engine.rememberedTokens = { images.tokens(of: $0) }
        self.engine = engine
    }

    /// Works on a request until it is finished, beside others.
    /// - Parameter events: called on the actor's thread; never receives `.finished`
    /// - Returns: what the generation came to, and what ended it before its time.
    nonisolated func generate(
        _ request: GenerationRequest, cancellation: Cancellation,
        events: @escaping @Sendable (GenerationEvent) -> Void
    ) async -> (outcome: GenerationOutcome, error: (any Error)?) {
        callers.add(1, ordering: .relaxed)
        return await add(request, cancellation: cancellation, events: events)
    }

    private func add(
        _ request: GenerationRequest, cancellation: Cancellation,
        events: @escaping @Sendable (GenerationEvent) -> Void
    ) async -> (outcome: GenerationOutcome, error: (any Error)?) {
        callers.subtract(1, ordering: .relaxed)
        return await withCheckedContinuation { continuation in
            do {
                try engine.add(request, cancellation: cancellation) { event in
                    if case .finished(let outcome, let error) = event {
                        continuation.resume(returning: (outcome, error))
                    } else {
                        events(event)
                    }
                }
                start()
            } catch {
                continuation.resume(returning: (GenerationOutcome(), error))
            }
        }
    }

    /// Encodes an image without a prompt, beside others' requests.
    nonisolated func encode(
        _ pixels: PixelTensor, cancellation: Cancellation
    ) async throws -> ImageEncodings.Output {
        callers.add(1, ordering: .relaxed)
        return try await add(pixels, cancellation: cancellation)
    }

    private func add(
        _ pixels: PixelTensor, cancellation: Cancellation
    ) async throws -> ImageEncodings.Output {
        callers.subtract(1, ordering: .relaxed)
        return try await withCheckedThrowingContinuation { continuation in
            engine.addEncoding(pixels, cancellation: cancellation) { continuation.resume(with: $0) }
            start()
        }
    }

    /// How likely the tokens of a sequence are, worked on beside others' requests.
    /// - Parameters: as of `GenerationEngine.addScoring`
    nonisolated func score(
        _ prompt: Prompt, images: [Tensor], from first: Int, cancellation: Cancellation
    ) async throws -> [TokenScore] {
        callers.add(1, ordering: .relaxed)
        return try await add(prompt, images: images, from: first, cancellation: cancellation)
    }

    private func add(
        _ prompt: Prompt, images: [Tensor], from first: Int, cancellation: Cancellation
    ) async throws -> [TokenScore] {
        callers.subtract(1, ordering: .relaxed)
        return try await withCheckedThrowingContinuation { continuation in
            do {
                try engine.addScoring(prompt, images: images, from: first, cancellation: cancellation) {
                    continuation.resume(with: $0)
                }
                start()
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }

    /// Forgets keys and values that no running request uses.
    nonisolated func forget() async {
        callers.add(1, ordering: .relaxed)
        await forgetPrompts()
    }

    private func forgetPrompts() {
        callers.subtract(1, ordering: .relaxed)
        engine.pool.forget()
    }

    private func start() {
        guard !isRunning else { return }
        isRunning = true
        Task(priority: .userInitiated) { await run() }
    }

    private func run() async {
        while true {
            let goesOn = engine.step()
            if let metrics, engine.sequencesInStep > 0 { metrics.record(sequences: engine.sequencesInStep) }
            guard goesOn else { break }
            if callers.load(ordering: .relaxed) > 0 { await Task.yield() }
        }
        isRunning = false
    }
}
