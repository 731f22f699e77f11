internal import Logging
internal import Synchronization

/// What is known of one request, for the log and the metrics.
final class ExchangeJournal: Sendable {
    private struct State {
        var ignored: [String] = []
        /// Of the response's head; nil where the client left before there was one.
        var sent: Int?
        /// What became of a response that did not come to its end.
        var end: Int?
        var fields: [(String, String)] = []
    }

    private let state = Mutex(State())

    func ignore(_ names: [String]) { state.withLock { $0.ignored += names } }

    /// Something worth a field in the log's line.
    func add(_ name: String, _ value: String) { state.withLock { $0.fields.append((name, value)) } }

    var ignored: [String] { state.withLock { $0.ignored } }

    var hasBegun: Bool { state.withLock { $0.sent != nil } }

    func begin(status: Int) { state.withLock { $0.sent = status } }

    /// - Parameter status: what would have been sent instead
    func cutOff(status: Int) { state.withLock { $0.end = status } }

    /// How the request ended: the status that was sent, unless the response was cut off.
    var status: Int { state.withLock { $0.end ?? $0.sent ?? 499 } }

    func metadata() -> Logger.Metadata {
        let (status, fields) = (status, state.withLock { $0.fields })
        var metadata: Logger.Metadata = ["status": "\(status)"]
        if state.withLock({ $0.end != nil && $0.sent != nil }) { metadata["cut_off"] = "true" }
        for (name, value) in fields { metadata[name] = "\(value)" }
        return metadata
    }
}
