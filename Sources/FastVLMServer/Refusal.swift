internal import FastVLM
internal import Foundation
internal import MediaFetch
internal import WireFormats

/// Why a request gets no answer, in words that give away nothing of the server.
struct Refusal: Error, Sendable {
    var status: Int
    var message: String
    /// OpenAI's word for the kind of error.
    var type: String
    var code: String?
    var parameter: String?
    var headers: HeaderFields = [:]
    /// What the metrics call it.
    var reason: String
    var closesConnection = false

    init(
        _ status: Int, _ message: String, type: String = "invalid_request_error", code: String? = nil,
        parameter: String? = nil, reason: String
    ) {
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.parameter = parameter
        self.reason = reason
    }

    init(_ error: RequestError) {
        self.init(
            400, error.message, code: "invalid_value", parameter: error.parameter, reason: "invalid_request")
    }

    init(_ error: MediaFetchError) {
        switch error.code {
        case .busy:
            self = .overloaded(
                "The server fetches as many images as it may. Try again later.", position: nil, retryAfter: 2)
        default:
            self.init(
                400, "The address of the image \(error.description).", code: error.code.rawValue,
                reason: "address")
        }
    }

    static func notFound(_ what: String, code: String = "not_found") -> Refusal {
        Refusal(404, what, code: code, reason: "not_found")
    }

    /// For a request whose time is over.
    static var late: Refusal {
        var refusal = Refusal(
            504, "The answer took longer than a request may.", type: "timeout_error", code: "timeout",
            reason: "timeout")
        // Another try would take as long.
        refusal.headers.set("x-should-retry", "false")
        return refusal
    }

    /// For a time in which the server takes no requests.
    static func unavailable(_ message: String, code: String, retryAfter: Int) -> Refusal {
        var refusal = Refusal(503, message, type: "unavailable_error", code: code, reason: code)
        refusal.headers.set("retry-after", "\(retryAfter)")
        return refusal
    }

    static func overloaded(_ message: String, position: Int?, retryAfter: Int) -> Refusal {
        var refusal = Refusal(
            429, message, type: "rate_limit_error", code: "overloaded", reason: "overloaded")
        refusal.headers.set("retry-after", "\(retryAfter)")
        if let position { refusal.headers.set("x-fastvlm-queue-position", "\(position)") }
        return refusal
    }

    /// - Parameter retryAfter: seconds after which a place in the queue may be free
    init(_ error: FastVLMError, retryAfter: Int) {
        switch error.code {
        case .overloaded where error.option == "maximumWaiting":
            let waiting = error.limit ?? 0
            self = .overloaded(
                "The server is busy: \(waiting) requests wait already. Try again later.",
                position: waiting + 1, retryAfter: retryAfter)
        case .overloaded:
            self = .overloaded(
                "The server is busy: the requests that wait hold as much memory as they may. Try again later.",
                position: nil, retryAfter: retryAfter)
        case .contextExceeded:
            self.init(
                400,
                "The conversation takes \(error.needed ?? 0) positions with its images; the model has "
                    + "\(error.limit ?? 0). Shorten it.", code: "context_length_exceeded",
                parameter: "messages", reason: "context_length")
        case .deadlineExceeded:
            self = .late
        case .imageTooLarge:
            self.init(
                400, "An image is larger than the server accepts.", code: "image_too_large", reason: "image")
        case .unsupportedImage:
            self.init(
                400, "An image is of no format that the server accepts: JPEG, PNG, WebP or BMP.",
                code: "unsupported_image", reason: "image")
        case .unreadableImage, .invalidImage:
            self.init(
                400, "An image is damaged or incomplete.", code: "invalid_image", reason: "image")
        case .outOfMemory, .systemLimit:
            self = .unavailable(
                "The server is short of memory. Try again later.", code: "out_of_memory", retryAfter: 5)
        default:
            guard error.kind == .request else {
                self = .internalError
                return
            }
            // It is about the request's own values.
            self.init(
                400, "\(error)", code: "invalid_value",
                parameter: error.option.map { Self.fieldNames[$0] ?? $0 }, reason: "invalid_request")
        }
    }

    /// Fields of requests by the options that they become.
    private static let fieldNames = [
        "maximumTokens": "max_tokens", "topK": "top_k", "topP": "top_p", "minP": "min_p",
        "repetitionPenalty": "repetition_penalty", "frequencyPenalty": "frequency_penalty",
        "presencePenalty": "presence_penalty", "logitBias": "logit_bias",
        "logProbabilities": "top_logprobs", "format": "response_format", "imageSize": "resolution",
        "stopIDs": "stop_token_ids",
    ]

    static let internalError = Refusal(
        500, "The server failed on this request.", type: "server_error", code: "internal_error",
        reason: "internal")
}

extension Refusal {
    /// The refusal in the form that clients of an interface know.
    func response(_ interface: Route.Interface, id: String) -> Response {
        let body =
            try? interface == .ollama
            ? WireText.json(Ollama.Failure("\(message) (request \(id))"))
            : WireText.json(
                OpenAI.Failure(message, type: type, parameter: parameter, code: code, requestID: id))
        var response = Response(status, type: "application/json", body ?? Data())
        for field in headers.fields { response.head.headers.set(field.name, field.value) }
        response.head.closesConnection = closesConnection
        return response
    }
}
