internal import FastVLM
internal import FoundationEssentials

/// What fastvlm_submit is asked for.
struct Request: Decodable {
    enum Kind: String, Decodable, CaseIterable {
        case answer, score, encode, count, forget
    }

    private enum CodingKeys: String, CodingKey, CaseIterable {
        case task, prompt, messages, text, images, options
    }

    let task: Kind
    private let prompt: String?
    private let messages: [Turn]?
    private let text: String?
    private let images: [Picture]?
    let options: GenerationOptions

    init(from decoder: any Decoder) throws {
        try refuseUnknownKeys(decoder, CodingKeys.self)
        let container = try decoder.container(keyedBy: CodingKeys.self)
        task = try container.decodeIfPresent(Kind.self, forKey: .task) ?? .answer
        prompt = try container.decodeIfPresent(String.self, forKey: .prompt)
        messages = try container.decodeIfPresent([Turn].self, forKey: .messages)
        text = try container.decodeIfPresent(String.self, forKey: .text)
        images = try container.decodeIfPresent([Picture].self, forKey: .images)
        options =
            try container.decodeIfPresent(GenerationOptions.self, forKey: .options) ?? GenerationOptions()
        let taken: Set<CodingKeys> =
            switch task {
            case .answer, .count: [.task, .prompt, .messages, .images, .options]
            case .score: [.task, .messages, .text, .options]
            case .encode: [.task, .images]
            case .forget: [.task]
            }
        if let key = container.allKeys.first(where: { !taken.contains($0) }) {
            throw Failure.invalidArgument("the task \(task.rawValue) has no \(key.rawValue)")
        }
    }

    /// The conversation.
    /// - Parameter given: the images that came with the request
    func conversation(_ given: [ImageSource]) throws -> [Message] {
        switch (prompt, messages) {
        case (let prompt?, nil):
            let images = try pictures(given)
            return [
                options.placesImages
                    ? try Message(placing: images, in: prompt) : .user(prompt, images: images)
            ]
        case (nil, let messages?):
            guard images == nil else {
                throw Failure.invalidArgument("images belong into the messages where there are messages")
            }
            return try messages.map { try $0.message(given) }
        default:
            throw Failure.invalidArgument(
                task == .score
                    ? "there must be either text or messages" : "there must be either prompt or messages")
        }
    }

    /// The text to score without a conversation.
    /// - Throws: `Failure` where there are messages as well.
    func plainText() throws(Failure) -> String? {
        guard let text else { return nil }
        guard messages == nil else { throw .invalidArgument("there must be either text or messages") }
        return text
    }

    /// The images beside a prompt.
    func pictures(_ given: [ImageSource]) throws(Failure) -> [ImageSource] {
        guard let images else { return given }
        var sources: [ImageSource] = []
        for image in images { sources.append(try image.source(given)) }
        return sources
    }
}

/// A message of a request.
private struct Turn: Decodable {
    private enum CodingKeys: String, CodingKey, CaseIterable { case role, content }

    private enum Part {
        case text(String)
        case image(Picture)
    }

    private let role: Message.Role
    private let parts: [Part]

    init(from decoder: any Decoder) throws {
        try refuseUnknownKeys(decoder, CodingKeys.self)
        let container = try decoder.container(keyedBy: CodingKeys.self)
        role = try container.decode(Message.Role.self, forKey: .role)
        if let text = try? container.decode(String.self, forKey: .content) {
            parts = [.text(text)]
        } else {
            parts = try container.decode([Picture].self, forKey: .content).map { picture in
                picture.text.map(Part.text) ?? .image(picture)
            }
        }
    }

    func message(_ given: [ImageSource]) throws(Failure) -> Message {
        var content: [Message.Part] = []
        for part in parts {
            switch part {
            case .text(let text): content.append(.text(text))
            case .image(let picture): content.append(.image(try picture.source(given)))
            }
        }
        return Message(role, content)
    }
}

/// An image of a request by its place among those given or by its file; or, in a message, a text.
private struct Picture: Decodable {
    private enum CodingKeys: String, CodingKey, CaseIterable { case text, image, file, key }

    let text: String?
    private let image: Int?
    private let file: String?
    private let key: String?

    init(from decoder: any Decoder) throws {
        try refuseUnknownKeys(decoder, CodingKeys.self)
        let container = try decoder.container(keyedBy: CodingKeys.self)
        text = try container.decodeIfPresent(String.self, forKey: .text)
        image = try container.decodeIfPresent(Int.self, forKey: .image)
        file = try container.decodeIfPresent(String.self, forKey: .file)
        key = try container.decodeIfPresent(String.self, forKey: .key)
        let kinds = [text != nil, image != nil, file != nil].count { $0 }
        guard kinds == 1, key == nil || text == nil else {
            throw DecodingError.dataCorrupted(
                DecodingError.Context(
                    codingPath: decoder.codingPath,
                    debugDescription: "a part has one of text, image and file, and an image perhaps a key"))
        }
    }

    func source(_ given: [ImageSource]) throws(Failure) -> ImageSource {
        let source: ImageSource
        if let file {
            source = .file(URL(filePath: file))
        } else if let image, given.indices.contains(image) {
            source = given[image]
        } else if let image {
            throw .invalidArgument("there is no image \(image): \(given.count) were given")
        } else {
            throw .invalidArgument("a text stands where an image belongs")
        }
        return key.map(source.keyed) ?? source
    }
}

/// Who writes `temprature` would otherwise get other answers without a word.
/// - Throws: `Failure` that names the unknown keys and those that there are.
func refuseUnknownKeys<Key: CodingKey & CaseIterable>(_ decoder: any Decoder, _: Key.Type) throws {
    let unknown = try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue)
        .filter { Key(stringValue: $0) == nil }.sorted()
    guard unknown.isEmpty else {
        throw Failure.invalidArgument(
            DecodingError.place(decoder.codingPath)
                + "unknown: \(unknown.joined(separator: ", ")); the keys are "
                + Key.allCases.map(\.stringValue).joined(separator: ", "))
    }
}

private struct AnyKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}
