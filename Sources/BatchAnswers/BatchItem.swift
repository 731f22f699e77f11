package import WireFormats

/// Why an item has no answer.
package struct BatchFailure: Error, Sendable, Equatable {
    /// For programs, as `invalid_image`.
    package let code: String
    package let message: String
    /// The field that is wrong, where it is one.
    package let parameter: String?
    /// What a server would have answered.
    package let status: Int

    package init(_ code: String, _ message: String, parameter: String? = nil, status: Int = 400) {
        self.code = code
        self.message = message
        self.parameter = parameter
        self.status = status
    }

    init(_ error: RequestError) {
        self.init("invalid_request", error.message, parameter: error.parameter)
    }
}

/// One question of a batch.
package struct BatchItem: Sendable {
    /// The number of its line, or of its image in the folder, from 1.
    package let line: Int
    /// nil where the answer's line can give none: a line that cannot be read, or whose id was given before.
    package let id: BatchID?
    package let form: BatchLine.Form
    /// What it takes in memory.
    package let bytes: Int
    /// How much of the input there is up to its end, in bytes or images.
    package let end: Int
    package let request: Result<ChatRequest, BatchFailure>

    init(
        line: Int, id: BatchID?, form: BatchLine.Form = .plain, bytes: Int = 0, end: Int,
        request: Result<ChatRequest, BatchFailure>
    ) {
        self.line = line
        self.id = id
        self.form = form
        self.bytes = bytes
        self.end = end
        self.request = request
    }
}
