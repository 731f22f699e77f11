/// How a conversation becomes a prompt. The names are those of the reference implementation where it has one.
package struct ChatTemplate: Sendable, Hashable {
    /// What `--template` takes; of templates with a system prompt of their own, that of the format.
    package let name: String
    /// What the system says when nobody else decides; nil where nothing is said.
    package let defaultSystemPrompt: String?
    let format: TurnFormat

    /// ChatML, what FastVLM was trained with.
    package static let qwen2 = ChatTemplate("qwen_2", .chatML, system: "You are a helpful assistant.")
    package static let qwen25 = ChatTemplate(
        "qwen_2_5", .chatML, system: "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")
    package static let smolLM2 = ChatTemplate(
        "smollm_2", .chatML, system: "You are a helpful AI assistant named SmolLM, trained by Hugging Face")
    /// ChatML that says nothing by itself.
    package static let chatML = ChatTemplate("chatml", .chatML, system: nil)
    /// No roles: an image and its caption, the format of the projector's pretraining.
    package static let plain = ChatTemplate("plain", .plain, system: nil)
    /// Vicuna 1.1, for Llama decoders.
    package static let vicuna1 = ChatTemplate(
        "vicuna_v1", .vicuna,
        system: "A chat between a curious user and an artificial intelligence assistant. "
            + "The assistant gives helpful, detailed, and polite answers to the user's questions.")
    /// LLaVA 1.5 as the Hugging Face hub has it: Vicuna without system prompt and end of turn.
    package static let llavaHub = ChatTemplate("llava_1_5", .llavaHub, system: nil)
    /// LLaVA-OneVision as the Hugging Face hub has it: ChatML with a space and a line break in other places.
    package static let oneVision = ChatTemplate("llava_onevision", .oneVision, system: nil)
    package static let llama2 = ChatTemplate("llama_2", .llama2, system: nil)
    /// LLaVA 1.6 with a Mistral decoder.
    package static let mistral = ChatTemplate("mistral_instruct", .mistral, system: nil)
    package static let llama3 = ChatTemplate("llama_3", .llama3, system: nil)

    /// Of several that a conversation fits, the first is the most usual one.
    package static let all = [
        qwen2, qwen25, smolLM2, chatML, plain, vicuna1, llavaHub, oneVision, llama2, mistral, llama3,
    ]

    init(_ name: String, _ format: TurnFormat, system: String?) {
        self.name = name
        self.format = format
        defaultSystemPrompt = system
    }

    /// - Throws: `GenerationError.unknownTemplate`.
    package init(named name: String) throws(GenerationError) {
        guard let template = Self.all.first(where: { $0.name == name }) else {
            throw .unknownTemplate(got: name, known: Self.all.map(\.name))
        }
        self = template
    }

    /// The special tokens that a conversation of several turns needs.
    package var specialTokens: Set<String> {
        let pieces = [
            format.opening, format.system?.before ?? [], format.system?.after ?? [], format.beforeUser,
            format.afterUser, format.beforeAnswer, format.afterAnswer,
        ].joined()
        return Set(pieces.compactMap { if case .special(let token) = $0 { token } else { nil } })
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
        var pieces: [Piece] = []
        for (index, turn) in turns.enumerated() {
            if index == 0 {
                pieces += firstTurn(turn, system: system)
            } else if turn.role == .user {
                pieces += userTurn(turn)
            } else {
                if let given = format.givenAnswer {
                    pieces.removeLast(given.replacing)
                    pieces += given.pieces
                }
                pieces += assistantTurn(Self.plainText(turn))
            }
        }
        return pieces
    }

    /// A conversation that ends with an answer.
    /// - Parameter messages: as of ``render(_:)``, then the assistant's turn
    /// - Returns: the pieces of everything before the answer, and of the whole up to the token that ends the answer, where
    ///   the template has one.
    package func renderAnswered(
        _ messages: [Message]
    ) throws(GenerationError) -> (prompt: [Piece], whole: [Piece]) {
        guard let answer = messages.last, answer.role == .assistant else {
            throw .invalidConversation(reason: "it must end with the assistant's turn")
        }
        let prompt = try render(Array(messages.dropLast()))
        var ending: [Piece] = []
        if case .special? = format.afterAnswer.first { ending = [format.afterAnswer[0]] }
        let text = assistantTurn(Self.plainText(answer)).dropLast(format.afterAnswer.count)
        return (prompt, prompt + text + ending)
    }

    /// What follows an assistant's answer that is already in the cache, whether or not the model ended it:
    /// the end of that turn, then the user's next.
    /// - Parameter answered: false when the cache holds no answer yet, so that this is the first turn
    package func render(next message: Message, system: String?, answered: Bool) -> [Piece] {
        answered
            ? format.afterAnswer + userTurn(message)
            : firstTurn(message, system: system ?? defaultSystemPrompt)
    }

    private func firstTurn(_ message: Message, system: String?) -> [Piece] {
        guard let system, let around = format.system else { return format.opening + userTurn(message) }
        // Where the system's text is part of the user's turn, only the ends of the whole are trimmed.
        let trims = format.trims && !format.systemOpensUserTurn
        let text = trims ? Self.trimmed([.text(system)]) : [.text(system)]
        return format.opening + around.before + text + around.after
            + userTurn(message, isOpen: format.systemOpensUserTurn)
    }

    /// The user's turn and the head of the answer.
    /// - Parameter isOpen: whether what comes before a turn has been rendered
    private func userTurn(_ message: Message, isOpen: Bool = false) -> [Piece] {
        var content: [Piece] = message.content.map { part in
            switch part {
            case .image(let index): .image(index)
            case .text(let text): .text(text)
            }
        }
        if case .text? = content.first { content = format.beforePlainText + content }
        if format.trims { content = Self.trimmed(content, atStart: !isOpen) }
        // Without roles, an image alone is followed by its caption at once.
        let hasText = message.content.contains { if case .text = $0 { true } else { false } }
        let after = format == .plain && !hasText ? [] : format.afterUser
        return (isOpen ? [] : format.beforeUser) + content + after
    }

    private func assistantTurn(_ text: String) -> [Piece] {
        format.beforeAnswer + (format.trims ? Self.trimmed([.text(text)]) : [.text(text)])
            + format.afterAnswer
    }

    /// Without white space at both ends, or at the end alone.
    private static func trimmed(_ pieces: [Piece], atStart: Bool = true) -> [Piece] {
        var pieces = pieces
        if atStart, case .text(let text)? = pieces.first {
            pieces[0] = .text(String(text.unicodeScalars.drop(while: JinjaFunctions.isSpace)))
        }
        if case .text(let text)? = pieces.last {
            var scalars = text.unicodeScalars[...]
            while let last = scalars.last, JinjaFunctions.isSpace(last) { scalars.removeLast() }
            pieces[pieces.count - 1] = .text(String(scalars))
        }
        return pieces
    }

    private static func plainText(_ message: Message) -> String {
        message.content.compactMap { if case .text(let text) = $0 { text } else { nil } }.joined()
    }
}
