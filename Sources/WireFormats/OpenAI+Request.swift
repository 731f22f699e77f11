package import Foundation
internal import StrictJSON

/// The requests of OpenAI's interface, as its clients and those of llama.cpp's and vLLM's servers write them.
package enum OpenAI {
    /// Most images of a conversation that are read at all; the server's own limit is lower.
    static let mostParts = 4096

    /// Reads the body of `POST /v1/chat/completions`.
    /// - Throws: `RequestError`.
    package static func chatRequest(_ body: Data) throws(RequestError) -> ChatRequest {
        var fields = try RequestFields(json: body)
        return try chatRequest(&fields)
    }

    /// Reads the fields of such a body.
    /// - Parameter files: whether images may be files of this machine
    static func chatRequest(
        _ fields: inout RequestFields, files: Bool = false
    ) throws(RequestError) -> ChatRequest {
        guard let given = try fields.elements("messages"), !given.isEmpty else {
            throw RequestError("messages must be a list of at least one message", parameter: "messages")
        }
        var ignored: [String] = []
        let messages = try messages(given, &ignored, files: files)
        return try chatRequest(messages, &fields, ignored)
    }

    /// - Parameters:
    ///   - fields: with the options
    ///   - ignored: what was ignored of the messages
    static func chatRequest(
        _ messages: [ChatMessage], _ fields: inout RequestFields, _ ignored: [String] = []
    ) throws(RequestError) -> ChatRequest {
        var ignored = ignored
        let (turns, remarks) = try ChatConversation.turns(messages)
        var request = ChatRequest(
            model: try fields.string("model"), messages: turns, parameters: try parameters(&fields),
            streams: try fields.bool("stream") ?? false)
        request.count = try fields.integer("n", in: 1...4) ?? 1
        request.includesUsage = try includesUsage(&fields, &ignored)
        if try fields.bool("logprobs") ?? false {
            request.parameters.logProbabilities = try fields.integer("top_logprobs", in: 0...20) ?? 0
        } else if try fields.integer("top_logprobs", in: 0...20) ?? 0 > 0 {
            throw RequestError("top_logprobs needs logprobs", parameter: "top_logprobs")
        }
        request.parameters.format = try format(&fields, &ignored)
        request.ignored = ignored + fields.ignored
        request.remarks = remarks
        return request
    }

    /// Reads the body of `POST /v1/completions`: the prompt becomes the user's only message.
    /// - Throws: `RequestError`.
    package static func completionRequest(_ body: Data) throws(RequestError) -> ChatRequest {
        var fields = try RequestFields(json: body)
        let model = try fields.string("model")
        let prompts = try fields.strings("prompt", most: 1)
        guard let prompt = prompts.first, !prompt.isEmpty else {
            throw RequestError("prompt must be a text, or a list of one", parameter: "prompt")
        }
        var request = ChatRequest(
            model: model, messages: [ChatMessage(.user, [.text(prompt)])],
            parameters: try parameters(&fields), streams: try fields.bool("stream") ?? false)
        request.count = try fields.integer("n", in: 1...4) ?? 1
        var ignored: [String] = []
        request.includesUsage = try includesUsage(&fields, &ignored)
        request.parameters.logProbabilities = try fields.integer("logprobs", in: 0...5)
        request.parameters.format = try format(&fields, &ignored)
        request.ignored = ignored + fields.ignored
        return request
    }

    /// Whether a stream ends with the usage.
    private static func includesUsage(
        _ fields: inout RequestFields, _ ignored: inout [String]
    ) throws(RequestError) -> Bool {
        guard let object = try fields.object("stream_options") else { return false }
        var options = RequestFields(object, prefix: "stream_options.")
        defer { ignored += options.ignored }
        return try options.bool("include_usage") ?? false
    }

    /// What `POST /v1/embeddings` asks for.
    package struct EmbeddingRequest: Sendable, Equatable {
        package var model: String?
        package var images: [ImageReference]
        /// Whether vectors are base64 of their float32 values, as the official client asks for.
        package var isBase64: Bool
        package var ignored: [String]
    }

    /// Reads the body of `POST /v1/embeddings`: `input` is an image, as an address, as `{"image": …}` or as a part of a
    /// message, or a list of such.
    /// - Throws: `RequestError`.
    package static func embeddingRequest(_ body: Data) throws(RequestError) -> EmbeddingRequest {
        var fields = try RequestFields(json: body)
        let model = try fields.string("model")
        guard let input = fields.value("input") else {
            throw RequestError("input must be an image or a list of images", parameter: "input")
        }
        let encoding = try fields.string("encoding_format") ?? "float"
        guard ["float", "base64"].contains(encoding) else {
            throw fields.fault("encoding_format", "float or base64")
        }
        fields.accept("user")
        let given = input.elements ?? [input]
        guard (1...64).contains(given.count) else { throw fields.fault("input", "one to 64 images") }
        var images: [ImageReference] = []
        for (index, value) in given.enumerated() {
            let name = input.elements == nil ? "input" : "input[\(index)]"
            let url =
                value.string ?? value["image"]?.string ?? value["image_url"]?["url"]?.string
                ?? value["image_url"]?.string
            guard let url else {
                throw RequestError("\(name) must be an image as a data address or base64", parameter: name)
            }
            images.append(try ImageReference(url: url, parameter: name))
        }
        return EmbeddingRequest(
            model: model, images: images, isBase64: encoding == "base64", ignored: fields.ignored)
    }

    // MARK: - Messages

    private static func messages(
        _ given: [JSONValue], _ ignored: inout [String], files: Bool
    ) throws(RequestError) -> [ChatMessage] {
        var messages: [ChatMessage] = []
        for (index, value) in given.enumerated() {
            let name = "messages[\(index)]"
            guard let object = value.object else {
                throw RequestError("\(name) must be an object", parameter: name)
            }
            var fields = RequestFields(object, prefix: name + ".")
            guard let roleName = try fields.string("role") else {
                throw fields.fault("role", "system, user or assistant")
            }
            let role: ChatMessage.Role
            switch roleName {
            case "system", "developer": role = .system
            case "user", "tool", "function": role = .user
            case "assistant": role = .assistant
            default: throw fields.fault("role", "system, developer, user, assistant or tool")
            }
            // What official clients repeat of an answer without saying anything by it.
            fields.accept("refusal", "annotations")
            // As Ollama's clients write them, and whoever writes lines of a batch by hand.
            let images = files ? try BatchLine.images(&fields) : []
            let parts = images.map(ChatMessage.Part.image) + (try content(&fields, &ignored, files: files))
            if parts.isEmpty, role == .user { throw fields.fault("content", "a text or a list of parts") }
            ignored += fields.ignored
            messages.append(ChatMessage(role, parts))
        }
        return messages
    }

    private static func content(
        _ fields: inout RequestFields, _ ignored: inout [String], files: Bool
    ) throws(RequestError) -> [ChatMessage.Part] {
        guard let content = fields.value("content") else { return [] }
        if let text = content.string { return [.text(text)] }
        guard let elements = content.elements, elements.count <= mostParts else {
            throw fields.fault("content", "a string or a list of parts")
        }
        var parts: [ChatMessage.Part] = []
        for (index, element) in elements.enumerated() {
            if let text = element.string {
                parts.append(.text(text))
            } else {
                parts.append(try part(element, fields, index, &ignored, files: files))
            }
        }
        return parts
    }

    private static func part(
        _ element: JSONValue, _ message: RequestFields, _ index: Int, _ ignored: inout [String],
        files: Bool
    ) throws(RequestError) -> ChatMessage.Part {
        let name = "content[\(index)]"
        guard let object = element.object else {
            throw message.fault(name, "an object with a type, or a string")
        }
        let path = message.path(name)
        var fields = RequestFields(object, prefix: path + ".")
        let type = try fields.string("type")
        fields.accept("cache_control")
        defer { ignored += fields.ignored }
        switch type {
        case "text", "input_text", "output_text":
            guard let text = try fields.string("text") else { throw fields.fault("text", "a string") }
            return .text(text)
        case "image_url", "input_image":
            guard let value = fields.value("image_url") else {
                throw fields.fault("image_url", "an object with a url")
            }
            return .image(
                try ImageReference(
                    url: try url(value, fields, &ignored), parameter: fields.path("image_url"), files: files))
        case "image" where files && fields.value("image") != nil:
            let images = try BatchLine.images(&fields)
            guard images.count == 1 else { throw fields.fault("image", "one image") }
            return .image(images[0])
        case "image":
            // As Anthropic's clients write it.
            let source = fields.value("source")
            guard let data = source?["data"]?.string ?? fields.value("image")?.string else {
                throw fields.fault("source.data", "base64")
            }
            return .image(try ImageReference(base64: data, parameter: path + ".source.data"))
        default:
            throw fields.fault("type", "text or image_url")
        }
    }

    /// The address of an `image_url`: it alone, or an object with it.
    private static func url(
        _ value: JSONValue, _ part: RequestFields, _ ignored: inout [String]
    ) throws(RequestError) -> String {
        if let url = value.string { return url }
        guard let object = value.object else { throw part.fault("image_url", "an object with a url") }
        var fields = RequestFields(object, prefix: part.path("image_url."))
        guard let url = try fields.string("url") else { throw fields.fault("url", "a string") }
        // What clients send that leave it to the server, as it is.
        if fields.isText("detail", "auto") { fields.accept("detail") }
        ignored += fields.ignored
        return url
    }

    // MARK: - Options

    private static func parameters(
        _ fields: inout RequestFields
    ) throws(RequestError) -> GenerationParameters {
        var parameters = GenerationParameters()
        let most = try fields.integer("max_completion_tokens", in: 1...Int.max)
        let formerly = try fields.integer("max_tokens", in: 1...Int.max)
        parameters.maximumTokens = most ?? formerly
        parameters.temperature = try fields.number("temperature", in: 0...2)
        parameters.topP = try fields.number("top_p", in: 0...1)
        parameters.topK = try fields.integer("top_k", in: -1...Int.max).map { max($0, 0) }
        parameters.minP = try fields.number("min_p", in: 0...1)
        let penalty = try fields.number("repetition_penalty", in: 0...10)
        let llamaPenalty = try fields.number("repeat_penalty", in: 0...10)
        parameters.repetitionPenalty = penalty ?? llamaPenalty
        parameters.frequencyPenalty = try fields.number("frequency_penalty", in: -2...2)
        parameters.presencePenalty = try fields.number("presence_penalty", in: -2...2)
        parameters.seed = try fields.integer("seed").map { UInt64(bitPattern: Int64($0)) }
        parameters.stop = try fields.strings("stop", most: 16).filter { !$0.isEmpty }
        if let bias = try fields.object("logit_bias") {
            for member in bias.members {
                guard let id = Int(member.key), let value = member.value.double, abs(value) <= 100,
                    bias.members.count <= 1024
                else {
                    throw fields.fault("logit_bias", "at most 1024 numbers from -100 to 100 by token ids")
                }
                parameters.logitBias[id] = Float(value)
            }
        }
        parameters.resolution = try fields.integer("resolution", in: 1...65536)
        if let ids = try fields.elements("stop_token_ids") {
            parameters.stopIDs = ids.compactMap(\.integer)
            guard parameters.stopIDs.count == ids.count, ids.count <= 64 else {
                throw fields.fault("stop_token_ids", "a list of at most 64 integers")
            }
        }
        // They change nothing about an answer.
        fields.accept(
            "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
            "timings_per_token", "return_progress", "cache_prompt")
        return parameters
    }

    private static func format(
        _ fields: inout RequestFields, _ ignored: inout [String]
    ) throws(RequestError) -> GenerationParameters.Format? {
        if let object = try fields.object("response_format") {
            var given = RequestFields(object, prefix: "response_format.")
            defer { ignored += given.ignored }
            switch try given.string("type") {
            case "text": break
            case "json_object": return .jsonObject
            case "json_schema":
                guard let wrapper = try given.object("json_schema") else {
                    throw given.fault("json_schema", "an object with a schema")
                }
                guard let schema = wrapper["schema"], schema.object != nil else {
                    throw given.fault("json_schema.schema", "a JSON schema")
                }
                return .jsonSchema(schema.json)
            default: throw given.fault("type", "text, json_object or json_schema")
            }
        }
        // As vLLM's clients write it.
        if let object = try fields.object("structured_outputs") {
            var given = RequestFields(object, prefix: "structured_outputs.")
            defer { ignored += given.ignored }
            return try format(&given, json: "json", choice: "choice", regex: "regex")
        }
        return try format(&fields, json: "guided_json", choice: "guided_choice", regex: "guided_regex")
    }

    private static func format(
        _ fields: inout RequestFields, json: String, choice: String, regex: String
    ) throws(RequestError) -> GenerationParameters.Format? {
        if let schema = fields.value(json) {
            guard schema.object != nil || schema.string != nil else {
                throw fields.fault(json, "a JSON schema")
            }
            return .jsonSchema(schema.string ?? schema.json)
        }
        if fields.value(choice) != nil {
            let choices = try fields.strings(choice, most: 1000)
            guard !choices.isEmpty, !choices.contains("") else {
                throw fields.fault(choice, "a list of texts")
            }
            return .choice(choices)
        }
        return try fields.string(regex).map { .regularExpression($0) }
    }
}
