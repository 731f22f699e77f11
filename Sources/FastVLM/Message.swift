public import Generation

/// A turn of a conversation.
///
/// ```swift
/// let answer = try await model.answer(messages: [
///     .system("You answer in one word."),
///     .user("What is this?", images: [.file(photo)]),
///     .assistant("A banana."),
///     .user("Which colour?"),
/// ])
/// ```
public struct Message: Sendable, Hashable {
    /// Who speaks: `system` (at most once, first), `user`, `assistant`.
    ///
    /// ```swift
    /// let role: Message.Role = .user
    /// ```
    public typealias Role = MessageRole

    /// A part of a turn, in reading order.
    ///
    /// ```swift
    /// let parts: [Message.Part] = [.text("Left: "), .image(.file(one)), .text("\nRight: "), .image(.file(other))]
    /// ```
    public enum Part: Sendable, Hashable {
        /// Text as it is; special tokens and `<image>` in it are plain characters.
        case text(String)
        /// An image; only in a user's turn.
        case image(ImageSource)
    }

    public var role: Role
    public var parts: [Part]

    /// A turn of parts as they are: nothing is put between them. The published models were trained with a line break
    /// between images and the text that follows, which ``user(_:images:)`` adds.
    ///
    /// ```swift
    /// let turn = Message(.user, [.image(.file(photo)), .text("\nWhat is this?")])
    /// ```
    public init(_ role: Role, _ parts: [Part]) {
        self.role = role
        self.parts = parts
    }

    /// The system prompt, in place of the template's.
    ///
    /// ```swift
    /// let turn = Message.system("You answer in one word.")
    /// ```
    public static func system(_ text: String) -> Message { Message(.system, [.text(text)]) }

    /// A question, its images first, as in training.
    ///
    /// ```swift
    /// let turn = Message.user("What changed?", images: [.file(before), .file(after)])
    /// ```
    public static func user(_ text: String, images: [ImageSource] = []) -> Message {
        let rest: [Part] = text.isEmpty ? [] : [.text(images.isEmpty ? text : "\n" + text)]
        return Message(.user, images.map(Part.image) + rest)
    }

    /// What was answered.
    ///
    /// ```swift
    /// let turn = Message.assistant("A banana.")
    /// ```
    public static func assistant(_ text: String) -> Message { Message(.assistant, [.text(text)]) }

    /// A question whose text says with `<image>` where each image goes; the text around stays as it is.
    ///
    /// ```swift
    /// let turn = try Message(placing: [.file(one), .file(other)], in: "Left: <image>\nRight: <image>\nWhat changed?")
    /// ```
    /// - Throws: `FastVLMError` with the code `placeholderMismatch` unless there is exactly one for each image.
    public init(placing images: [ImageSource], in text: String) throws {
        do {
            try self.init(parts: images, placedIn: text)
        } catch {
            throw FastVLMError.translating(error)
        }
    }

    /// The images in it, in order.
    ///
    /// ```swift
    /// let count = messages.reduce(0) { $0 + $1.images.count }
    /// ```
    public var images: [ImageSource] {
        parts.compactMap { if case .image(let image) = $0 { image } else { nil } }
    }

    /// Its text, without the images.
    ///
    /// ```swift
    /// let asked = messages.last?.text
    /// ```
    public var text: String {
        parts.map { if case .text(let text) = $0 { text } else { "" } }.joined()
    }
}

extension Message {
    var textBytes: Int {
        parts.reduce(0) { if case .text(let text) = $1 { $0 + text.utf8.count } else { $0 } }
    }

    /// A question whose text says with `<image>` where each image goes; the text around stays as it is.
    /// - Throws: `GenerationError.placeholderMismatch` unless there is exactly one for each image.
    init(parts images: [ImageSource], placedIn text: String) throws(GenerationError) {
        let turn = try Generation.Message.user(placing: text, images: images.indices)
        self.init(
            .user,
            turn.content.map { part in
                switch part {
                case .text(let text): .text(text)
                case .image(let index): .image(images[index])
                }
            })
    }

    /// What a template renders, its images numbered through all turns.
    /// - Parameter system: what the system says where the messages do not say it
    /// - Throws: `GenerationError` for images in others' turns than the user's, and for an empty question.
    static func turns(
        _ messages: [Message], system: String?
    ) throws(GenerationError) -> [Generation.Message] {
        var turns: [Generation.Message] = []
        if let system, messages.first?.role != .system { turns.append(.init(.system, system)) }
        var images = 0
        for message in messages {
            var content: [ContentPart] = []
            for part in message.parts {
                switch part {
                case .text(let text): if !text.isEmpty { content.append(.text(text)) }
                case .image:
                    guard message.role == .user else {
                        throw .invalidConversation(
                            reason: "only a user's turn can hold images, not the \(message.role.rawValue)'s")
                    }
                    content.append(.image(images))
                    images += 1
                }
            }
            turns.append(.init(message.role, content))
        }
        if let last = turns.last, last.role == .user, last.content.isEmpty { throw .emptyPrompt }
        return turns
    }
}
