package import SystemFiles

/// What can go wrong below the models: memory, files that cannot be mapped, shapes that do not fit.
package enum TensorError: Error, Sendable, Equatable {
    /// A size that would overflow or that the system did not grant.
    case allocationFailed(bytes: Int)
    /// A file that could not be opened or mapped; `reason` is the system's own word.
    case mappingFailed(path: String, reason: SystemReason)
    /// A tensor whose shape or type is not what the operation needs.
    case unexpectedShape(what: String, expected: String, got: String)
    /// `FASTVLM_ISA` names an instruction set that does not exist or that this processor lacks.
    case unavailableInstructionSet(requested: String, available: [String])
    /// The system started fewer threads than were asked for.
    case threadsRefused(requested: Int, started: Int)
    /// The threads were started, but took nearly all that the process may address.
    case noRoomBesideThreads(threads: Int)
    /// The process may open fewer files than it needs.
    case tooFewFiles(needed: Int)
    /// The work was cancelled before it ended.
    case cancelled
}

extension TensorError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .allocationFailed(let bytes):
            "cannot allocate \(bytes) bytes; close other programs or choose a smaller model or resolution"
        case .mappingFailed(let path, let reason):
            "cannot map \(path) into memory: \(reason); "
                + (reason.advice ?? "check that the file exists and can be read")
        case .unexpectedShape(let what, let expected, let got):
            "\(what): expected \(expected), got \(got); the file does not belong to this configuration"
        case .unavailableInstructionSet(let requested, let available):
            "FASTVLM_ISA=\(requested) is not available here; "
                + "choose one of \(available.joined(separator: ", "))"
        case .threadsRefused(let requested, let started):
            "the system started only \(started) of \(requested) threads; ask for fewer, or raise its limits on memory "
                + "and processes"
        case .noRoomBesideThreads(let threads):
            "beside the stacks of \(threads) threads, the process may address too little memory for its work; ask for "
                + "fewer, or raise the limit (ulimit -v)"
        case .tooFewFiles(let needed):
            "the system lets this process open fewer than \(needed) more files; close some or raise the limit "
                + "(ulimit -n)"
        case .cancelled:
            "the work was cancelled"
        }
    }
}
