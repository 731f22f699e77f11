package import Foundation
internal import StrictJSON

/// The requests of Ollama's interface.
package enum Ollama {
    /// What `POST /api/chat` and `POST /api/generate` ask for.
    package struct Request: Sendable, Equatable {
        package var chat: ChatRequest
        /// Without a question: the client wants the model loaded, or unloaded.
        package var isEmpty: Bool
        /// How long the model is to stay loaded, in seconds; below 0 for ever; nil leaves it to the server.
        package var keepAlive: Double?
    }

    /// Reads the body of `POST /api/chat`.
    /// - Throws: `RequestError`.
    package static func chatRequest(_ body: Data) throws(RequestError) -> Request {
        var fields = try RequestFields(json: body)
        let model = try modelName(&fields)
        let given = try fields.elements("messages") ?? []
        var ignored: [String] = []
        var messages: [ChatMessage] = []
        for (index, value) in given.enumerated() {
            let name = "messages[\(index)]"
            guard let object = value.object else {
                throw RequestError("\(name) must be an object", parameter: name)
            }
            var message = RequestFields(object, prefix: name + ".")
            messages.append(try self.message(&message))
            ignored += message.ignored
        }
        return try request(model, messages, &fields, ignored)
    }

    /// Reads the body of `POST /api/generate`.
    /// - Throws: `RequestError`.
    package static func generateRequest(_ body: Data) throws(RequestError) -> Request {
        var fields = try RequestFields(json: body)
        let model = try modelName(&fields)
        let prompt = try fields.string("prompt") ?? ""
        let images = try images(&fields)
        var messages: [ChatMessage] = []
        if let system = try fields.string("system"), !system.isEmpty {
            messages.append(ChatMessage(.system, [.text(system)]))
        }
        if !prompt.isEmpty || !images.isEmpty {
            messages.append(ChatMessage(.user, images.map(ChatMessage.Part.image) + [.text(prompt)]))
        } else {
            messages = []
        }
        return try request(model, messages, &fields, [])
    }

    private static func modelName(_ fields: inout RequestFields) throws(RequestError) -> String? {
        let model = try fields.string("model")
        let name = try fields.string("name")
        return model ?? name
    }

    private static func message(_ fields: inout RequestFields) throws(RequestError) -> ChatMessage {
        guard let roleName = try fields.string("role") else {
            throw fields.fault("role", "system, user or assistant")
        }
        let role: ChatMessage.Role
        switch roleName {
        case "system": role = .system
        case "user", "tool": role = .user
        case "assistant": role = .assistant
        default: throw fields.fault("role", "system, user, assistant or tool")
        }
        let images = try images(&fields)
        let text = try fields.string("content") ?? ""
        return ChatMessage(role, images.map(ChatMessage.Part.image) + (text.isEmpty ? [] : [.text(text)]))
    }

    private static func images(_ fields: inout RequestFields) throws(RequestError) -> [ImageReference] {
        guard let given = try fields.elements("images") else { return [] }
        var images: [ImageReference] = []
        for (index, value) in given.enumerated() {
            guard let text = value.string else { throw fields.fault("images", "a list of base64 texts") }
            images.append(try ImageReference(base64: text, parameter: fields.path("images[\(index)]")))
        }
        return images
    }

    private static func request(
        _ model: String?, _ messages: [ChatMessage], _ fields: inout RequestFields, _ ignored: [String]
    ) throws(RequestError) -> Request {
        var ignored = ignored
        var parameters = GenerationParameters()
        if let object = try fields.object("options") {
            var options = RequestFields(object, prefix: "options.")
            parameters = try self.parameters(&options)
            ignored += options.ignored
        }
        if let format = fields.value("format") {
            if let name = format.string {
                guard ["", "json"].contains(name) else { throw fields.fault("format", "json or a schema") }
                parameters.format = name == "json" ? .jsonObject : nil
            } else if format.object != nil {
                parameters.format = .jsonSchema(format.json)
            } else {
                throw fields.fault("format", "json or a schema")
            }
        }
        let keepAlive = try keepAlive(&fields)
        let streams = try fields.bool("stream") ?? true
        let isEmpty = messages.isEmpty
        let (turns, remarks) = isEmpty ? ([], []) : try ChatConversation.turns(messages)
        var chat = ChatRequest(model: model, messages: turns, parameters: parameters, streams: streams)
        chat.ignored = ignored + fields.ignored
        chat.remarks = remarks
        return Request(chat: chat, isEmpty: isEmpty, keepAlive: keepAlive)
    }

    private static func parameters(
        _ options: inout RequestFields
    ) throws(RequestError) -> GenerationParameters {
        var parameters = GenerationParameters()
        // Below 0 Ollama means as many as there is room for, which is what no number means here.
        let most = try options.integer("num_predict", in: -2...Int.max)
        parameters.maximumTokens = most.flatMap { $0 > 0 ? $0 : nil }
        parameters.temperature = try options.number("temperature", in: 0...2)
        parameters.topK = try options.integer("top_k", in: -1...Int.max).map { max($0, 0) }
        parameters.topP = try options.number("top_p", in: 0...1)
        parameters.minP = try options.number("min_p", in: 0...1)
        parameters.repetitionPenalty = try options.number("repeat_penalty", in: 0...10)
        parameters.frequencyPenalty = try options.number("frequency_penalty", in: -2...2)
        parameters.presencePenalty = try options.number("presence_penalty", in: -2...2)
        parameters.seed = try options.integer("seed").map { UInt64(bitPattern: Int64($0)) }
        parameters.resolution = try options.integer("resolution", in: 1...65536)
        parameters.stop = try options.strings("stop", most: 16).filter { !$0.isEmpty }
        return parameters
    }

    /// Seconds, as a number or as Go writes durations: 5m, 1h30m, -1.
    private static func keepAlive(_ fields: inout RequestFields) throws(RequestError) -> Double? {
        guard let value = fields.value("keep_alive") else { return nil }
        if let seconds = value.double { return seconds }
        guard let text = value.string, let seconds = duration(text) else {
            throw fields.fault("keep_alive", "a number of seconds or a text such as 5m")
        }
        return seconds
    }

    package static func duration(_ text: String) -> Double? {
        if let seconds = Double(text), seconds.isFinite { return seconds }
        var rest = text[...]
        let isNegative = rest.first == "-"
        if isNegative { rest.removeFirst() }
        var total = 0.0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest[digits.endIndex...]
            let unit = rest.prefix { $0.isASCII && $0.isLetter }
            rest = rest[unit.endIndex...]
            let factors = ["ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600]
            guard let number = Double(digits), let factor = factors[String(unit)] else { return nil }
            total += number * factor
        }
        return isNegative ? -total : total
    }

    /// The model that `POST /api/show` asks about.
    package static func shownModel(_ body: Data) throws(RequestError) -> String? {
        var fields = try RequestFields(json: body)
        return try modelName(&fields)
    }
}
