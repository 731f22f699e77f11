package import Tokenization

/// A tokenised prompt: runs of token ids with images between them.
package struct Prompt: Sendable, Hashable {
    package enum Element: Sendable, Hashable {
        case tokens([Int])
        /// The image with this index in the request.
        case image(Int)
    }

    package private(set) var elements: [Element] = []

    /// Tokenises a rendered conversation. Each stretch between special tokens and images is tokenised on its
    /// own, so no byte pair ever joins across an image, and characters that a user typed never become a special
    /// token. Only a stretch at the very beginning starts the text, as in transformers, which tokenises the whole
    /// conversation at once.
    /// - Parameters:
    ///   - startsSequence: true at position 0, where some tokenizers want a begin-of-sequence token
    /// - Throws: `GenerationError.missingSpecialToken`.
    package init(
        _ pieces: [ChatTemplate.Piece], tokenizer: Tokenizer, template: ChatTemplate, startsSequence: Bool
    ) throws(GenerationError) {
        if startsSequence, let begin = tokenizer.beginningOfSequence,
            pieces.first != tokenizer.token(of: begin).map(ChatTemplate.Piece.special)
        {
            append([begin])
        }
        var startsText = startsSequence
        var pending = ""
        for piece in pieces {
            if case .text(let text) = piece {
                pending += text
                continue
            }
            flush(&pending, tokenizer, startsText: startsText)
            startsText = false
            switch piece {
            case .text: break
            case .special(let token):
                guard let id = tokenizer.id(of: token) else {
                    throw .missingSpecialToken(template: template.name, token: token)
                }
                append([id])
            case .image(let index):
                elements.append(.image(index))
                startsText = template.format.restartsTextAtImages && tokenizer.isSentencePieceModel
            }
        }
        flush(&pending, tokenizer, startsText: startsText)
    }

    /// A prompt of given ids, for callers that tokenise themselves.
    package init(elements: [Element]) { self.elements = elements }

    private mutating func flush(_ pending: inout String, _ tokenizer: Tokenizer, startsText: Bool) {
        if !pending.isEmpty {
            append(tokenizer.encode(pending, specialTokens: .asText, startsText: startsText))
        }
        pending = ""
    }

    private mutating func append(_ ids: [Int]) {
        guard !ids.isEmpty else { return }
        if case .tokens(let before) = elements.last {
            elements[elements.count - 1] = .tokens(before + ids)
        } else {
            elements.append(.tokens(ids))
        }
    }

    /// The prompt with its images under other indices.
    package func replacingImages(_ index: (Int) -> Int) -> Prompt {
        Prompt(
            elements: elements.map { element in
                if case .image(let old) = element { .image(index(old)) } else { element }
            })
    }

    /// Text tokens, without the images.
    package var tokenIDs: [Int] {
        elements.flatMap { if case .tokens(let ids) = $0 { ids } else { [Int]() } }
    }

    /// Indices of the images, in order of appearance.
    package var imageIndices: [Int] {
        elements.compactMap { if case .image(let index) = $0 { index } else { nil } }
    }

    /// Positions at the beginning that are the same in another prompt.
    /// - Parameter tokens: positions of the image with an index
    package func commonLength(with other: Prompt, tokens: (Int) -> Int) -> Int {
        var length = 0
        for (element, another) in zip(elements, other.elements) {
            switch (element, another) {
            case (.tokens(let ids), .tokens(let others)):
                let common = zip(ids, others).prefix { $0 == $1 }.count
                length += common
                // Neither may go on with an image where the other has text.
                if common < max(ids.count, others.count) { return length }
            case (.image(let index), .image(let another)) where index == another: length += tokens(index)
            default: return length
            }
        }
        return length
    }

    /// Positions that the prompt takes when every image takes `tokensPerImage`.
    package func length(tokensPerImage: Int) -> Int { length { _ in tokensPerImage } }

    /// Positions that the prompt takes.
    /// - Parameter tokens: positions of the image with an index
    package func length(tokens: (Int) -> Int) -> Int {
        elements.reduce(0) { total, element in
            switch element {
            case .tokens(let ids): total + ids.count
            case .image(let index): total + tokens(index)
            }
        }
    }
}
