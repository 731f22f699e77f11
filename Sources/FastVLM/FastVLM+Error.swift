internal import Checkpoints
internal import Generation
internal import ImageInput
internal import SystemFiles
internal import Tensors
internal import Tokenization

/// What the library throws, apart from `CancellationError`.
///
/// ```swift
/// do {
///     let answer = try await model.answer("What is this?", images: [.file(url)])
/// } catch let error as FastVLMError where error.kind == .image {
///     print("Choose another picture: \(error)")
/// }
/// ```
public struct FastVLMError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Whose fault it is, so that a caller can decide what to do.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// The checkpoint folder: missing, damaged, or of a kind that is not supported.
        case model
        /// An image: unreadable, damaged, too large, or of a format that is not supported.
        case image
        /// The request: an option out of range, a prompt that does not fit into the context.
        case request
        /// The machine: memory, threads, open files, instruction sets.
        case system
        /// A file or folder to be written: its place, permissions, or room on the disk.
        case output
    }

    /// An error that a program may want to react to; most have none.
    public enum Code: String, Sendable, Hashable, CaseIterable {
        /// The conversation and the question are longer than the context.
        case contextExceeded
        /// Too many requests wait (``LoadOptions/maximumWaiting``).
        case overloaded
        /// The request's time was over (``GenerationOptions/timeLimit``).
        case deadlineExceeded
    }

    public let kind: Kind
    public let code: Code?
    /// What was wrong, where, and what to do, in one sentence.
    public let description: String

    init(_ kind: Kind, _ description: String, code: Code? = nil) {
        self.kind = kind
        self.code = code
        self.description = description
    }

    /// Sorts an error of the modules below into a kind; a cancellation becomes `CancellationError`.
    static func translating(_ error: any Error) -> any Error {
        if error is FastVLMError || error is CancellationError || isCancellation(error) {
            return error is FastVLMError ? error : CancellationError()
        }
        // Where the machine has no more memory or files to open, nothing else is at fault.
        if reason(of: error)?.isExhaustion == true { return FastVLMError(.system, "\(error)") }
        if case GenerationError.contextExceeded = error {
            return FastVLMError(.request, "\(error)", code: .contextExceeded)
        }
        if case GenerationError.deadlineExceeded = error {
            return FastVLMError(.request, "\(error)", code: .deadlineExceeded)
        }
        return FastVLMError(kind(of: error), "\(error)")
    }

    private static func isCancellation(_ error: any Error) -> Bool {
        switch error {
        case TensorError.cancelled, OutputError.cancelled, CheckpointError.output(.cancelled),
            CheckpointError.tensor(.cancelled):
            true
        default: false
        }
    }

    private static func kind(of error: any Error) -> Kind {
        switch error {
        case is OutputError, CheckpointError.output: .output
        case CheckpointError.tensor(.allocationFailed): .system
        case is CheckpointError, is TokenizationError: .model
        case is ImageInputError: .image
        case GenerationError.notANumber: .model
        case is GenerationError: .request
        case TensorError.unexpectedShape, TensorError.mappingFailed: .model
        default: .system
        }
    }

    /// What the system said, where it did.
    private static func reason(of error: any Error) -> SystemReason? {
        switch error {
        case let error as OutputError: error.reason
        case CheckpointError.output(let error): error.reason
        case CheckpointError.unreadableFile(_, let reason): reason
        case CheckpointError.tensor(.mappingFailed(_, let reason)): reason
        case TensorError.mappingFailed(_, let reason): reason
        case TokenizationError.unreadable(_, let reason): reason
        case ImageInputError.unreadable(_, let reason): reason
        default: nil
        }
    }
}
