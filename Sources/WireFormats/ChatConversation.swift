/// A turn of a conversation as a request gives it.
package struct ChatMessage: Sendable, Equatable {
    package enum Role: String, Sendable { case system, user, assistant }

    package enum Part: Sendable, Equatable {
        case text(String)
        case image(ImageReference)
    }

    package var role: Role
    package var parts: [Part]

    package init(_ role: Role, _ parts: [Part]) {
        self.role = role
        self.parts = parts
    }

    package var images: [ImageReference] {
        parts.compactMap { if case .image(let image) = $0 { image } else { nil } }
    }

    package var text: String {
        parts.compactMap { if case .text(let text) = $0 { text } else { nil } }.joined(separator: "\n")
    }
}

/// Brings messages into the form that the models know: perhaps a system's turn, then user and assistant in turn, user
/// last; images in users' turns only.
package enum ChatConversation {
    /// - Returns: the turns, and what had to be moved.
    /// - Throws: `RequestError` where nothing is asked.
    package static func turns(
        _ messages: [ChatMessage]
    ) throws(RequestError) -> (turns: [ChatMessage], remarks: [String]) {
        var system: [String] = []
        var remarks: [String] = []
        var turns: [ChatMessage] = []
        /// Images of turns that cannot hold any; they go to the next user's.
        var moved: [ChatMessage.Part] = []
        func move(_ message: ChatMessage) {
            guard !message.images.isEmpty else { return }
            moved += message.images.map(ChatMessage.Part.image)
            remarks.append("images of a \(message.role.rawValue) message go to the next user message")
        }
        for message in messages {
            guard message.role != .system else {
                if !turns.isEmpty { remarks.append("a later system message was put first") }
                let text = message.text
                if !text.isEmpty { system.append(text) }
                move(message)
                continue
            }
            var parts = message.parts
            if message.role == .user {
                parts = moved + parts
                moved = []
            } else if !message.images.isEmpty {
                move(message)
                parts = [.text(message.text)]
            }
            if let last = turns.indices.last, turns[last].role == message.role {
                turns[last].parts += parts
            } else {
                turns.append(ChatMessage(message.role, parts))
            }
        }
        guard let last = turns.last, last.role == .user else {
            throw RequestError("the last message must be the user's", parameter: "messages")
        }
        guard last.parts.contains(where: \.saysSomething) else {
            throw RequestError("the last message holds neither text nor an image", parameter: "messages")
        }
        if !moved.isEmpty { turns[turns.count - 1].parts = moved + last.parts }
        let ordered = turns.map { turn in
            ChatMessage(turn.role, turn.role == .user ? arranged(turn.parts) : [.text(turn.text)])
        }
        let first = system.isEmpty ? [] : [ChatMessage(.system, [.text(system.joined(separator: "\n\n"))])]
        return (first + ordered, remarks)
    }

    /// The parts of a user's turn with what stands between them. Images that are not among the text go before it, a line
    /// break between, as in the models' training; where text and images take turns, the order is part of the question.
    static func arranged(_ parts: [ChatMessage.Part]) -> [ChatMessage.Part] {
        var runs: [ChatMessage.Part] = []
        for part in parts where part.saysSomething {
            if case .text(let text) = part, case .text(let before)? = runs.last {
                runs[runs.count - 1] = .text(before + "\n" + text)
            } else {
                runs.append(part)
            }
        }
        let texts = runs.count { if case .text = $0 { true } else { false } }
        if texts == 1, let place = runs.firstIndex(where: \.isText), place == 0 {
            runs.append(runs.removeFirst())
        }
        var arranged: [ChatMessage.Part] = []
        for part in runs {
            switch (arranged.last, part) {
            case (.image, .text(let text)): arranged.append(.text(text.hasPrefix("\n") ? text : "\n" + text))
            case (.text(let text)?, .image) where !text.hasSuffix("\n"):
                arranged[arranged.count - 1] = .text(text + "\n")
                arranged.append(part)
            default: arranged.append(part)
            }
        }
        return arranged
    }
}

extension ChatMessage.Part {
    fileprivate var isText: Bool { if case .text = self { true } else { false } }

    fileprivate var saysSomething: Bool {
        if case .text(let text) = self { !text.isEmpty } else { true }
    }
}

/// How an answer is to be generated; nil where the request leaves it to the server.
package struct GenerationParameters: Sendable, Equatable {
    /// What an answer has to look like.
    package enum Format: Sendable, Equatable {
        case jsonObject
        /// The schema as JSON text.
        case jsonSchema(String)
        case choice([String])
        case regularExpression(String)
    }

    package var maximumTokens: Int?
    package var temperature: Double?
    package var topK: Int?
    package var topP: Double?
    package var minP: Double?
    package var repetitionPenalty: Double?
    package var frequencyPenalty: Double?
    package var presencePenalty: Double?
    /// Added to the scores of tokens, by their id.
    package var logitBias: [Int: Float] = [:]
    package var seed: UInt64?
    package var stop: [String] = []
    package var stopIDs: [Int] = []
    /// Alternatives to report with each token; nil reports no log-probabilities.
    package var logProbabilities: Int?
    package var format: Format?
    /// Pixels per side that images are brought to.
    package var resolution: Int?

    package init() {}
}

/// A question that some interface asked.
package struct ChatRequest: Sendable, Equatable {
    /// The model's name as the request gives it.
    package var model: String?
    /// As ``ChatConversation`` arranges them.
    package var messages: [ChatMessage]
    package var parameters: GenerationParameters
    /// Answers to generate.
    package var count = 1
    package var streams: Bool
    /// Whether a stream ends with the usage.
    package var includesUsage = false
    /// Fields that are ignored, and what was changed.
    package var ignored: [String] = []
    package var remarks: [String] = []

    package init(
        model: String?, messages: [ChatMessage], parameters: GenerationParameters, streams: Bool
    ) {
        self.model = model
        self.messages = messages
        self.parameters = parameters
        self.streams = streams
    }

    package var images: [ImageReference] { messages.flatMap(\.images) }
}
