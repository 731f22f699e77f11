internal import Logging
internal import Synchronization

/// Tells the log and the metrics what becomes of requests.
final class RequestJournal: Sendable {
    private let logger: Logger
    private let metrics: EngineMetrics?
    private let count = Atomic<Int>(0)

    init(_ logger: Logger, _ metrics: EngineMetrics?) {
        self.logger = logger
        self.metrics = metrics
    }

    /// A request that comes in.
    /// - Parameter id: what the caller calls it; nil takes a number
    func begin(_ id: String?) -> Entry {
        var logger = logger
        // Metadata is not made for nobody.
        if logger.logLevel <= .debug {
            logger[metadataKey: "request"] =
                "\(id ?? "\(count.wrappingAdd(1, ordering: .relaxed).newValue)")"
        }
        logger.debug("request received")
        return Entry(logger: logger, metrics: metrics)
    }

    struct Entry: Sendable {
        fileprivate let logger: Logger
        fileprivate let metrics: EngineMetrics?

        /// The request is worked on.
        func begin(_ turn: PreparedTurn, _ limits: PreparationLimits) {
            count(limits)
            guard metrics != nil || logger.logLevel <= .debug else { return }
            let remembered = turn.images.count {
                if case .encoded = $0.content.content { true } else { false }
            }
            metrics?.record(images: turn.images.count, remembered: remembered)
            logger.debug(
                "request begins",
                metadata: ["images": "\(turn.images.count)", "remembered images": "\(remembered)"])
        }

        /// How many requests wait and are worked on.
        func count(_ limits: PreparationLimits) {
            let running = limits.running.taken
            metrics?.record(waiting: max(limits.current - running, 0), running: running)
        }

        func end(_ answer: Answer) {
            metrics?.record(answer)
            logger.debug(
                "request answered",
                metadata: [
                    "finish reason": "\(answer.finishReason.rawValue)",
                    "prompt tokens": "\(answer.usage.promptTokens)",
                    "cached tokens": "\(answer.usage.cachedTokens)",
                    "completion tokens": "\(answer.usage.completionTokens)",
                    "first token": "\(answer.timings.timeToFirstToken) s",
                    "total": "\(answer.timings.total) s",
                ])
        }

        func end(_ error: any Error) {
            metrics?.record(error)
            logger.debug("request ended without an answer: \(error)")
        }
    }
}
