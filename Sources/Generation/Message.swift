/// Who speaks in a turn of a conversation.
///
/// ```swift
/// let roles = messages.map(\.role)
/// ```
public enum MessageRole: String, Sendable, Hashable, CaseIterable, Codable {
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
    package var role: MessageRole
    package var content: [ContentPart]

    package init(_ role: MessageRole, _ content: [ContentPart]) {
        self.role = role
        self.content = content
    }

    package init(_ role: MessageRole, _ text: String) { self.init(role, [.text(text)]) }

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
