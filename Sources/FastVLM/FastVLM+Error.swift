/// What the library throws. The work of a task that was cancelled ends in `CancellationError` instead.
///
/// ```swift
/// do {
///     let answer = try await model.answer("What is this?", images: [.file(url)])
/// } catch let error as FastVLMError where error.code == .imageTooLarge {
///     print("Choose a smaller picture, of at most \(error.limit ?? 0): \(error)")
/// }
/// ```
public struct FastVLMError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Whose fault it is, so that a caller can decide what to do.
    ///
    /// ```swift
    /// if error.kind == .image { print("Choose another picture: \(error)") }
    /// ```
    public enum Kind: String, Sendable, Hashable, CaseIterable, Codable {
        /// The checkpoint folder: missing, damaged, or of a kind that is not supported.
        case model
        /// An image: unreadable, damaged, too large, or of a format that is not supported.
        case image
        /// The request: an option out of range, a prompt that does not fit into the context.
        case request
        /// The machine: memory, threads, open files, instruction sets, more requests than it can take.
        case system
        /// A file or folder to be written: its place, permissions, or room on the disk.
        case output
    }

    /// What happened, for programs. Later versions may add codes.
    ///
    /// ```swift
    /// if error.code == .contextExceeded { print("\(error.needed ?? 0) of \(error.limit ?? 0) positions") }
    /// ```
    public struct Code: RawRepresentable, Sendable, Hashable, Codable, CustomStringConvertible {
        public let rawValue: String

        public init(rawValue: String) { self.rawValue = rawValue }

        public var description: String { rawValue }

        // MARK: The model

        /// Files of the checkpoint are missing, damaged, or contradict each other.
        public static let checkpoint = Code(rawValue: "checkpoint")
        /// The checkpoint is of a kind that is not read: another format, network, quantisation or tokenizer.
        public static let unsupportedCheckpoint = Code(rawValue: "unsupportedCheckpoint")

        // MARK: An image

        /// The file of an image cannot be opened or read.
        public static let unreadableImage = Code(rawValue: "unreadableImage")
        /// An image is beyond a limit; ``FastVLMError/needed`` of ``FastVLMError/limit``, where it can be counted.
        /// ``FastVLMError/option`` names the limit, and so what is counted: bytes of the file (`maximumFileBytes`) or of
        /// decoding it (`maximumImageBytes`), pixels of the longer side (`maximumSide`) or all of them (`maximumPixels`).
        public static let imageTooLarge = Code(rawValue: "imageTooLarge")
        /// No image, or one of a format or variant that is not decoded or not allowed.
        public static let unsupportedImage = Code(rawValue: "unsupportedImage")
        /// An image is damaged or incomplete, or its pixels do not fit its size.
        public static let invalidImage = Code(rawValue: "invalidImage")

        // MARK: The request

        /// Conversation and question take ``FastVLMError/needed`` positions, the context has ``FastVLMError/limit``.
        public static let contextExceeded = Code(rawValue: "contextExceeded")
        /// The option ``FastVLMError/option`` is out of its range.
        public static let invalidOption = Code(rawValue: "invalidOption")
        /// There is neither text nor image.
        public static let emptyPrompt = Code(rawValue: "emptyPrompt")
        /// The turns of a conversation are not in order.
        public static let invalidConversation = Code(rawValue: "invalidConversation")
        /// More or fewer `<image>` in the text than images.
        public static let placeholderMismatch = Code(rawValue: "placeholderMismatch")
        /// The request's time (``GenerationOptions/timeLimit``) was over before its answer was complete.
        public static let deadlineExceeded = Code(rawValue: "deadlineExceeded")

        // MARK: The machine

        /// As many requests wait as may (``LoadOptions/maximumWaiting``), or they hold as many bytes as they may
        /// (``LoadOptions/requestBytes``, of which this one takes ``FastVLMError/needed``); ask again later.
        public static let overloaded = Code(rawValue: "overloaded")
        /// ``FastVLMError/needed`` bytes could not be had.
        public static let outOfMemory = Code(rawValue: "outOfMemory")
        /// The system refuses threads or files to be opened.
        public static let systemLimit = Code(rawValue: "systemLimit")
        /// `FASTVLM_ISA` names an instruction set that is not there.
        public static let unavailableInstructionSet = Code(rawValue: "unavailableInstructionSet")

        // MARK: An output

        /// A file or folder cannot be written.
        public static let output = Code(rawValue: "output")

        /// Whose fault it usually is.
        var kind: Kind {
            switch self {
            case .checkpoint, .unsupportedCheckpoint: .model
            case .unreadableImage, .imageTooLarge, .unsupportedImage, .invalidImage: .image
            case .overloaded, .outOfMemory, .systemLimit, .unavailableInstructionSet: .system
            case .output: .output
            default: .request
            }
        }
    }

    public let kind: Kind
    public let code: Code
    /// What was wrong, where, and what to do, in one sentence.
    public let description: String
    /// How much of ``limit`` it would have taken: positions, bytes or pixels; nil where it is no matter of amounts.
    public let needed: Int?
    public let limit: Int?
    /// The property of ``GenerationOptions`` or ``LoadOptions`` that is out of range, or the limit that was exceeded.
    public let option: String?

    /// - Parameter kind: nil takes the code's usual one
    init(
        _ code: Code, _ description: String, kind: Kind? = nil, needed: Int? = nil, limit: Int? = nil,
        option: String? = nil
    ) {
        self.kind = kind ?? code.kind
        self.code = code
        self.description = description
        self.needed = needed
        self.limit = limit
        self.option = option
    }
}
