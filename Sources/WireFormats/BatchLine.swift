package import Foundation
internal import StrictJSON

/// What an item of a batch is called: in its line, and in the line of its answer.
package enum BatchID: Sendable, Hashable, CustomStringConvertible {
    case text(String)
    case number(Int)

    /// Bytes of the longest one.
    package static let longest = 4096

    package var description: String {
        switch self {
        case .text(let text): text
        case .number(let number): "\(number)"
        }
    }

    init(_ value: JSONValue, _ name: String) throws(RequestError) {
        if let number = value.integer {
            self = .number(number)
        } else if let text = value.string, (1...Self.longest).contains(text.utf8.count) {
            self = .text(text)
        } else {
            throw RequestError(
                "\(name) must be a text of 1 to \(Self.longest) bytes, or an integer", parameter: name)
        }
    }
}

/// A line of the input of a batch: one question.
///
/// Two forms are read. Ours has a question and images, or messages, beside the options of OpenAI's interface:
/// `{"id": "a", "image": "a.jpg", "question": "What is this?", "max_tokens": 32}`. OpenAI's has a request as `body`:
/// `{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {…}}`. In both, images may be files.
package struct BatchLine: Sendable {
    package enum Form: Sendable { case plain, openAI }

    /// nil where the line gives none.
    package let id: BatchID?
    package let form: Form
    private let fields: RequestFields

    /// Looks at a line far enough to know which it is; ``request(question:)`` reads the rest.
    /// - Throws: `RequestError` for what is no JSON object, and for an id that is none.
    package init(_ line: Data) throws(RequestError) {
        var fields = try RequestFields(json: line, called: "the line")
        let customID = fields.value("custom_id")
        form = customID != nil || fields.value("body") != nil ? .openAI : .plain
        let name = customID == nil ? "id" : "custom_id"
        if let value = customID ?? fields.value("id") { id = try BatchID(value, name) } else { id = nil }
        self.fields = fields
    }

    /// - Parameter question: where the line asks none
    /// - Throws: `RequestError`.
    package func request(question: String? = nil) throws(RequestError) -> ChatRequest {
        var fields = fields
        let request =
            switch form {
            case .openAI: try Self.openAIRequest(&fields)
            case .plain: try Self.plainRequest(&fields, question: question)
            }
        guard request.count == 1 else { throw RequestError("n must be 1 in a batch", parameter: "n") }
        return request
    }

    private static func openAIRequest(_ fields: inout RequestFields) throws(RequestError) -> ChatRequest {
        if let method = try fields.string("method"), method != "POST" { throw fields.fault("method", "POST") }
        if let url = try fields.string("url"), url != "/v1/chat/completions" {
            throw fields.fault("url", "/v1/chat/completions")
        }
        guard let body = try fields.object("body") else { throw fields.fault("body", "an object") }
        var inner = RequestFields(body, prefix: "body.")
        var request = try OpenAI.chatRequest(&inner, files: true)
        request.ignored += fields.ignored
        return request
    }

    private static func plainRequest(
        _ fields: inout RequestFields, question: String?
    ) throws(RequestError) -> ChatRequest {
        let asked = try fields.string("question")
        let prompt = try fields.string("prompt")
        if asked != nil, prompt != nil { throw RequestError("question and prompt are the same; give one") }
        let system = try fields.string("system")
        let images = try images(&fields)
        var request: ChatRequest
        if fields.value("messages") != nil {
            guard asked == nil, prompt == nil, images.isEmpty else {
                throw RequestError(
                    "messages hold the question and its images; give no others beside them",
                    parameter: "messages")
            }
            request = try OpenAI.chatRequest(&fields, files: true)
        } else {
            guard let text = asked ?? prompt ?? question else {
                throw RequestError("there is no question, and no messages", parameter: "question")
            }
            let parts = images.map(ChatMessage.Part.image) + [.text(text)]
            request = try OpenAI.chatRequest([ChatMessage(.user, parts)], &fields)
        }
        if let system {
            guard request.messages.first?.role != .system else {
                throw RequestError("messages have a system prompt already", parameter: "system")
            }
            request.messages.insert(ChatMessage(.system, [.text(system)]), at: 0)
        }
        return request
    }

    /// Images under `image` and `images`: a path, an address or base64 as a text, or an object that says which it is.
    static func images(_ fields: inout RequestFields) throws(RequestError) -> [ImageReference] {
        var images: [ImageReference] = []
        if let value = fields.value("image") { images.append(try image(value, fields, "image")) }
        guard let elements = try fields.elements("images") else { return images }
        guard elements.count <= OpenAI.mostParts else {
            throw fields.fault("images", "a list of at most \(OpenAI.mostParts)")
        }
        for (index, value) in elements.enumerated() {
            images.append(try image(value, fields, "images[\(index)]"))
        }
        return images
    }

    private static func image(
        _ value: JSONValue, _ fields: RequestFields, _ name: String
    ) throws(RequestError) -> ImageReference {
        let fault = fields.fault(name, "a text, or an object with one of path, url and base64")
        let parameter = fault.parameter ?? name
        if let text = value.string {
            return try ImageReference(url: text, parameter: parameter, files: true)
        }
        guard let members = value.object?.members, members.count == 1, let member = members.first,
            let text = member.value.string
        else { throw fault }
        switch member.key {
        case "path":
            guard !text.isEmpty, !text.utf8.contains(0) else {
                throw RequestError("\(parameter) is no path", parameter: parameter)
            }
            return .file(text)
        case "url": return try ImageReference(url: text, parameter: parameter, files: true)
        case "base64": return try ImageReference(base64: text, parameter: parameter)
        default: throw fault
        }
    }
}
