/// Why an output cannot be written.
package enum OutputError: Error, Sendable, Hashable, CustomStringConvertible {
    case refused(path: String, reason: SystemReason, advice: String)
    /// The work was cancelled while it was being written.
    case cancelled

    init(_ path: String, _ reason: SystemReason, advice: String? = nil) {
        self = .refused(
            path: path, reason: reason, advice: advice ?? reason.advice ?? "choose another place")
    }

    package var reason: SystemReason? {
        if case .refused(_, let reason, _) = self { reason } else { nil }
    }

    package var description: String {
        switch self {
        case .refused(let path, let reason, let advice): "cannot write '\(path)': \(reason); \(advice)"
        case .cancelled: "the work was cancelled"
        }
    }
}
