package import Foundation
internal import WireFormats

/// The line of an item's answer, or of the error that it has instead.
package struct BatchRecord: Sendable {
    /// With the line's end.
    package let line: Data
    package let hasFailed: Bool
    package var completionTokens = 0
    /// Fields of the item that were not read.
    package var ignored: [String] = []

    /// What an answer comes to.
    struct Content: Sendable {
        var text: String
        var finishReason: String
        var usage: OpenAI.Usage
        var timings: ItemTimings?
        var stages: StageTimings?
        var logprobs: [OpenAI.TokenLogProbability]?
        var remarks: [String]
        var model: String
        /// Seconds since 1970.
        var created: Int
    }

    init(_ item: BatchItem, _ content: Content) throws {
        switch item.form {
        case .plain: line = try Self.line(item, PlainAnswer(content))
        case .openAI: line = try Self.line(item, OpenAIAnswer(item, content))
        }
        hasFailed = false
        completionTokens = content.usage.completionTokens
    }

    init(_ item: BatchItem, _ failure: BatchFailure) throws {
        switch item.form {
        case .plain:
            line = try Self.line(
                item, PlainFailure(error: .init(code: failure.code, message: failure.message)))
        case .openAI: line = try Self.line(item, OpenAIAnswer(item, failure))
        }
        hasFailed = true
    }

    /// All lines begin alike, by which half a line is known.
    private static func line(_ item: BatchItem, _ payload: some Encodable) throws -> Data {
        let id: Data
        switch (item.form, item.id) {
        case (.openAI, _): id = try WireText.json(requestID(item))
        case (.plain, .text(let text)?): id = try WireText.json(text)
        case (.plain, .number(let number)?): id = Data("\(number)".utf8)
        case (.plain, nil): id = Data("null".utf8)
        }
        var line = Data(FinishedItems.beginning)
        line.append(id)
        line.append(contentsOf: #","line":\#(item.line),"#.utf8)
        line.append(try WireText.json(payload).dropFirst())
        line.append(UInt8(ascii: "\n"))
        return line
    }

    fileprivate static func requestID(_ item: BatchItem) -> String { "batch_req_\(item.line)" }
}

/// Seconds of each stage, to a microsecond.
struct ItemTimings: Encodable, Sendable {
    var decodeImage: Double
    var preprocess: Double
    var encode: Double
    var project: Double
    var prefill: Double
    var timeToFirstToken: Double
    var total: Double
    var tokensPerSecond: Double
}

private struct PlainAnswer: Encodable {
    var text: String
    var finishReason: String
    var usage: OpenAI.Usage
    var timings: ItemTimings?
    var logprobs: OpenAI.LogProbabilities?
    var remarks: [String]?

    init(_ content: BatchRecord.Content) {
        text = content.text
        finishReason = content.finishReason
        usage = content.usage
        timings = content.timings
        logprobs = content.logprobs.map { OpenAI.LogProbabilities(content: $0) }
        remarks = content.remarks.isEmpty ? nil : content.remarks
    }
}

private struct ErrorBody: Encodable {
    var code: String
    var message: String
}

private struct PlainFailure: Encodable {
    var error: ErrorBody
}

/// As in the output files of OpenAI's batches. An error is both where its clients look and where vLLM's do.
private struct OpenAIAnswer: Encodable {
    private struct Response: Encodable {
        enum Body {
            case completion(OpenAI.Completion)
            case failure(OpenAI.Failure)
        }

        var statusCode: Int
        var requestId: String
        var body: Body

        private enum CodingKeys: String, CodingKey { case statusCode, requestId, body }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(statusCode, forKey: .statusCode)
            try container.encode(requestId, forKey: .requestId)
            switch body {
            case .completion(let completion): try container.encode(completion, forKey: .body)
            case .failure(let failure): try container.encode(failure, forKey: .body)
            }
        }
    }

    private var customId: String?
    private var response: Response
    private var error: ErrorBody?

    private enum CodingKeys: String, CodingKey { case customId, response, error }

    init(_ item: BatchItem, _ content: BatchRecord.Content) {
        let id = BatchRecord.requestID(item)
        var choice = OpenAI.Choice(index: 0)
        choice.message = OpenAI.Message(role: "assistant", content: content.text)
        choice.finishReason = content.finishReason
        choice.logprobs = content.logprobs.map { OpenAI.LogProbabilities(content: $0) }
        let completion = OpenAI.Completion(
            id: "chatcmpl-\(item.line)", object: "chat.completion", created: content.created,
            model: content.model, choices: [choice], usage: content.usage, timings: content.stages)
        customId = item.id?.description
        response = Response(statusCode: 200, requestId: id, body: .completion(completion))
    }

    init(_ item: BatchItem, _ failure: BatchFailure) {
        let id = BatchRecord.requestID(item)
        customId = item.id?.description
        response = Response(
            statusCode: failure.status, requestId: id,
            body: .failure(
                OpenAI.Failure(
                    failure.message,
                    type: failure.status < 500 ? "invalid_request_error" : "server_error",
                    parameter: failure.parameter, code: failure.code, requestID: id)))
        error = ErrorBody(code: failure.code, message: failure.message)
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(customId, forKey: .customId)
        try container.encode(response, forKey: .response)
        // null where there is none, as clients expect.
        try container.encode(error, forKey: .error)
    }
}
