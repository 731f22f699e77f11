/// Who speaks.
package enum Role: String, Sendable, Hashable, CaseIterable {
    case system, user, assistant
}

/// A piece of a message, in reading order.
package enum ContentPart: Sendable, Hashable {
    /// Text as the user wrote it. Never interpreted: special tokens and `<image>` in it are plain characters.
    case text(String)
    /// The image with this index in the request.
    case image(Int)
}

/// One turn of a conversation.
package struct Message: Sendable, Hashable {
    package var role: Role
    package var content: [ContentPart]

    package init(_ role: Role, _ content: [ContentPart]) {
        self.role = role
        self.content = content
    }

    package init(_ role: Role, _ text: String) { self.init(role, [.text(text)]) }

    /// A user's turn: its images, then a line break and its text, as in training (`<image>\n{question}`).
    package static func user(_ text: String, images: Range<Int>) -> Message {
        let parts = text.isEmpty ? [] : [ContentPart.text(images.isEmpty ? text : "\n" + text)]
        return Message(.user, images.map(ContentPart.image) + parts)
    }

    /// A user's turn whose text says with `<image>` where each image goes; the text around stays as it is.
    /// - Throws: `GenerationError.placeholderMismatch` unless there is exactly one for each image.
    package static func user(
        placing text: String, images: Range<Int>
    ) throws(GenerationError) -> Message {
        let chunks = text.split(separator: "<image>", omittingEmptySubsequences: false)
        guard chunks.count - 1 == images.count else {
            throw .placeholderMismatch(placeholders: chunks.count - 1, images: images.count)
        }
        var parts: [ContentPart] = []
        for (index, chunk) in chunks.enumerated() {
            if index > 0 { parts.append(.image(images.lowerBound + index - 1)) }
            if !chunk.isEmpty { parts.append(.text(String(chunk))) }
        }
        return Message(.user, parts)
    }
}

/// How a conversation becomes a prompt. The names are those of the reference implementation.
package enum ChatTemplate: String, Sendable, Hashable, CaseIterable {
    /// ChatML, what FastVLM was trained with.
    case qwen2 = "qwen_2"
    /// No roles: an image and its caption, the format of the projector's pretraining.
    case plain
    /// Vicuna 1.1, for Llama decoders.
    case vicuna1 = "vicuna_v1"

    /// - Throws: `GenerationError.unknownTemplate`.
    package init(named name: String) throws(GenerationError) {
        guard let template = ChatTemplate(rawValue: name) else {
            throw .unknownTemplate(got: name, known: ChatTemplate.allCases.map(\.rawValue))
        }
        self = template
    }

    /// What the system says when nobody else decides.
    package var defaultSystemPrompt: String {
        switch self {
        case .qwen2: "You are a helpful assistant."
        case .plain: ""
        case .vicuna1:
            "A chat between a curious user and an artificial intelligence assistant. "
                + "The assistant gives helpful, detailed, and polite answers to the user's questions."
        }
    }

    /// The token that ends an assistant's turn, where the template has one.
    package var endOfTurn: String? {
        switch self {
        case .qwen2: "<|im_end|>"
        case .plain: nil
        case .vicuna1: "</s>"
        }
    }

    /// A piece of a rendered prompt.
    package enum Piece: Sendable, Hashable {
        /// One special token, by its text.
        case special(String)
        /// Characters; runs of them are tokenised together, up to the next special token or image.
        case text(String)
        case image(Int)
    }

    /// The whole prompt, ready for the assistant's answer.
    /// - Parameter messages: optional system turn first, then user and assistant in turn, user last.
    package func render(_ messages: [Message]) throws(GenerationError) -> [Piece] {
        var turns = messages[...]
        var system = defaultSystemPrompt
        if let first = turns.first, first.role == .system {
            system = Self.plainText(first)
            turns = turns.dropFirst()
        }
        guard let last = turns.last, last.role == .user else {
            throw .invalidConversation(reason: "it must end with the user's turn")
        }
        for (index, turn) in turns.enumerated() where turn.role != (index % 2 == 0 ? .user : .assistant) {
            throw .invalidConversation(
                reason: "turn \(index + 1) should be the \(index % 2 == 0 ? "user" : "assistant")'s")
        }
        var pieces = opening(system: system)
        for turn in turns {
            pieces += turn.role == .user ? userTurn(turn) : assistantTurn(Self.plainText(turn))
        }
        return pieces
    }

    /// What follows an assistant's answer that is already in the cache, whether or not the model ended it:
    /// the end of that turn, then the user's next.
    /// - Parameter answered: false when the cache holds no answer yet, so that this is the first turn
    package func render(next message: Message, system: String?, answered: Bool) -> [Piece] {
        answered
            ? endOfAnswer + userTurn(message)
            : opening(system: system ?? defaultSystemPrompt) + userTurn(message)
    }

    // MARK: - The three formats

    private func opening(system: String) -> [Piece] {
        switch self {
        case .qwen2:
            [.special("<|im_start|>"), .text("system\n" + system), .special("<|im_end|>"), .text("\n")]
        case .plain: []
        case .vicuna1: [.text(system + " ")]
        }
    }

    /// The user's turn and the head of the answer.
    private func userTurn(_ message: Message) -> [Piece] {
        let content = Self.pieces(message.content)
        switch self {
        case .qwen2:
            return [.special("<|im_start|>"), .text("user\n")] + content
                + [.special("<|im_end|>"), .text("\n"), .special("<|im_start|>"), .text("assistant\n")]
        case .plain:
            // An image alone is followed by its caption at once.
            let hasText = message.content.contains { if case .text = $0 { true } else { false } }
            return content + (hasText ? [.text("\n")] : [])
        case .vicuna1:
            return [.text("USER: ")] + content + [.text(" ASSISTANT:")]
        }
    }

    private func assistantTurn(_ text: String) -> [Piece] {
        switch self {
        case .qwen2, .plain: [.text(text)] + endOfAnswer
        case .vicuna1: [.text(" " + text)] + endOfAnswer
        }
    }

    private var endOfAnswer: [Piece] {
        switch self {
        case .qwen2: [.special("<|im_end|>"), .text("\n")]
        case .plain: [.text("\n")]
        case .vicuna1: [.special("</s>")]
        }
    }

    private static func pieces(_ content: [ContentPart]) -> [Piece] {
        content.map { part in
            switch part {
            case .image(let index): .image(index)
            case .text(let text): .text(text)
            }
        }
    }

    private static func plainText(_ message: Message) -> String {
        message.content.compactMap { if case .text(let text) = $0 { text } else { nil } }.joined()
    }
}
