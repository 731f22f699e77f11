internal import Dispatch
internal import FastVLM
internal import Synchronization

/// Work behind a handle: what it has told and nobody has taken yet, and how it ended.
final class Job: Sendable {
    /// What stays for later calls.
    enum Product: Sendable {
        case none
        case model(VisionLanguageModel)
        case features(ImageFeatures)
    }

    /// What a caller who waits gets.
    enum Next {
        case event(String)
        case nothingYet
        case end
        case failed(Failure)
    }

    private struct State {
        /// Events as JSON, and the stage of those that tell progress.
        var events: [(json: String, stage: String?)] = []
        var outcome: Result<Product, Failure>?
        var task: Task<Void, Never>?
    }

    private let state = Mutex(State())
    /// Counts the events, and the outcome once there is one.
    private let available = DispatchSemaphore(value: 0)

    /// Begins work.
    /// - Parameter work: gets the job, to tell it events
    static func begin(_ work: @escaping @Sendable (Job) async throws -> Product) -> Job {
        let job = Job()
        let task = Task.detached {
            let outcome: Result<Product, Failure>
            do {
                outcome = .success(try await work(job))
            } catch {
                outcome = .failure(Failure(error))
            }
            job.state.withLock {
                $0.outcome = outcome
                $0.task = nil
            }
            job.available.signal()
        }
        job.state.withLock { if $0.outcome == nil { $0.task = task } }
        return job
    }

    /// Adds an event. A progress replaces the one before it where that was not taken yet.
    func tell(_ event: Event) throws {
        let text = try json(event)
        let isNew = state.withLock { state in
            if let stage = event.stage, state.events.last?.stage == stage {
                state.events[state.events.count - 1].json = text
                return false
            }
            state.events.append((text, event.stage))
            return true
        }
        if isNew { available.signal() }
    }

    /// Takes the next event, or says how the work ended.
    /// - Parameter milliseconds: longest time to wait for it; below 0 for ever
    func next(milliseconds: Int32) -> Next {
        let deadline: DispatchTime =
            milliseconds < 0 ? .distantFuture : .now() + .milliseconds(Int(milliseconds))
        guard available.wait(timeout: deadline) == .success else { return .nothingYet }
        return state.withLock { state in
            guard state.events.isEmpty else { return .event(state.events.removeFirst().json) }
            // Whoever asks next shall hear of the end as well.
            available.signal()
            switch state.outcome {
            case .success: return .end
            case .failure(let failure): return .failed(failure)
            // Cannot be: what is counted is an event or the outcome.
            case nil: return .nothingYet
            }
        }
    }

    func cancel() { state.withLock { $0.task }?.cancel() }

    /// The model, of a job that loads one.
    func model() throws(Failure) -> VisionLanguageModel {
        switch state.withLock({ $0.outcome }) {
        case .success(.model(let model)): return model
        case .success: throw .invalidArgument("the handle is a request's, not a model's")
        case .failure(let failure): throw failure
        case nil: throw .notLoaded
        }
    }

    /// The features, of a request that is complete.
    func features() throws(Failure) -> ImageFeatures {
        switch state.withLock({ $0.outcome }) {
        case .success(.features(let features)): return features
        case .failure(let failure): throw failure
        case .success: throw .invalidArgument("only a request with the task \"encode\" has features")
        case nil: throw .invalidArgument("the request has no features yet; take its events until \"encoded\"")
        }
    }
}
