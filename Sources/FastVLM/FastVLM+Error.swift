internal import Checkpoints
internal import Generation
internal import ImageInput
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
        /// The machine: memory, threads, instruction sets.
        case system
    }

    public let kind: Kind
    /// What was wrong, where, and what to do, in one sentence.
    public let description: String

    init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    /// Sorts an error of the rooms below into a kind; a cancellation becomes `CancellationError`.
    static func translating(_ error: any Error) -> any Error {
        switch error {
        case is FastVLMError, is CancellationError: error
        case TensorError.cancelled: CancellationError()
        case CheckpointError.unwritableFile: FastVLMError(.request, "\(error)")
        case let error as CheckpointError: FastVLMError(.model, "\(error)")
        case let error as TokenizationError: FastVLMError(.model, "\(error)")
        case let error as ImageInputError: FastVLMError(.image, "\(error)")
        case let error as GenerationError:
            if case .notANumber = error {
                FastVLMError(.model, "\(error)")
            } else {
                FastVLMError(.request, "\(error)")
            }
        case TensorError.unexpectedShape, TensorError.mappingFailed: FastVLMError(.model, "\(error)")
        case let error as TensorError: FastVLMError(.system, "\(error)")
        default: FastVLMError(.system, "\(error)")
        }
    }
}
