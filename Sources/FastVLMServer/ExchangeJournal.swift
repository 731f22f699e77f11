internal import Logging
internal import Synchronization

/// What is known of one request, for the log and the metrics.
final class ExchangeJournal: Sendable {
    private struct State {
        var ignored: [String] = []
        var status: Int?
        var fields: [(String, String)] = []
    }

    private let state = Mutex(State())

    func ignore(_ names: [String]) { state.withLock { $0.ignored += names } }

    /// Something worth a field in the log's line.
    func add(_ name: String, _ value: String) { state.withLock { $0.fields.append((name, value)) } }

    var ignored: [String] { state.withLock { $0.ignored } }

    var hasBegun: Bool { state.withLock { $0.status != nil } }

    func begin(status: Int) { state.withLock { $0.status = status } }

    /// The status that was sent; nil where the client left before there was one.
    var status: Int? { state.withLock { $0.status } }

    func metadata() -> Logger.Metadata {
        let (status, fields) = state.withLock { ($0.status, $0.fields) }
        // As nginx calls a client that left.
        var metadata: Logger.Metadata = ["status": "\(status ?? 499)"]
        for (name, value) in fields { metadata[name] = "\(value)" }
        return metadata
    }
}
