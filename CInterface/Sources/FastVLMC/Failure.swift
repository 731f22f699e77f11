internal import FastVLM

/// Why a call failed, or the work behind a handle: what is written to `*error` as JSON.
struct Failure: Error, Sendable, Encodable {
    let code: String
    let kind: String
    let message: String
    var needed: Int?
    var limit: Int?
    var option: String?

    private init(_ code: String, _ message: String, kind: FastVLMError.Kind = .request) {
        self.code = code
        self.kind = kind.rawValue
        self.message = message
    }

    private init(_ error: FastVLMError) {
        self.init(error.code.rawValue, error.description, kind: error.kind)
        (needed, limit, option) = (error.needed, error.limit, error.option)
    }

    init(_ error: any Error) {
        switch error {
        case let error as Failure: self = error
        case let error as FastVLMError: self.init(error)
        case let error as DecodingError: self.init("invalidArgument", error.sentence)
        case is CancellationError: self = .cancelled
        default: self.init("invalidArgument", "\(error)")
        }
    }

    /// The same about an argument.
    func prefixed(_ argument: String) -> Failure { Failure(code, "\(argument): \(message)") }

    /// The caller has made a mistake that can be seen without a model.
    static func invalidArgument(_ message: String) -> Failure { Failure("invalidArgument", message) }

    static func invalidHandle(_ handle: Int64) -> Failure {
        Failure("invalidHandle", "\(handle) is no handle, or it was released")
    }

    static let notLoaded = Failure(
        "notLoaded", "the model is still loading; take its events until \"loaded\" before asking")
    static let outOfMemory = Failure(
        FastVLMError.Code.outOfMemory.rawValue, "there is no memory for an event", kind: .system)
    static let cancelled = Failure("cancelled", "the work was cancelled")

    /// Written without any code that could wait for a thread of the parent.
    static let forkedJSON: StaticString = """
        {"code":"forked","kind":"request","message":"this process was forked after a model had been loaded, whose threads \
        it does not have; start it anew (in Python: multiprocessing's \\"spawn\\") or load models only after forking"}
        """
}

extension DecodingError {
    /// What is wrong with the JSON, and where in it.
    fileprivate var sentence: String {
        switch self {
        case .keyNotFound(let key, let context):
            Self.place(context.codingPath) + "\(key.stringValue) is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            Self.place(context.codingPath) + context.debugDescription
        @unknown default: "\(self)"
        }
    }

    /// Where in the JSON something is, as a beginning of a sentence.
    static func place(_ path: [any CodingKey]) -> String {
        guard !path.isEmpty else { return "" }
        return path.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".") + ": "
    }
}
