/// What stands around the turns of a conversation.
struct TurnFormat: Sendable, Hashable {
    typealias Piece = ChatTemplate.Piece

    /// Before everything.
    var opening: [Piece] = []
    /// Around the system's turn; nil where there is none.
    var system: Surroundings?
    /// What stands before the system's text has begun the first user's turn.
    var systemOpensUserTurn = false
    var beforeUser: [Piece] = []
    /// After the user's text, up to where the answer begins.
    var afterUser: [Piece]
    /// Between that and the text of an answer that is given.
    var beforeAnswer: [Piece] = []
    var afterAnswer: [Piece]
    /// Whether white space at the ends of every text goes.
    var trims = false
    /// Before a user's text that no image goes before.
    var beforePlainText: [Piece] = []
    /// Whether text behind an image begins a text of its own where the tokenizer is a SentencePiece model: the original's
    /// program tokenises the sides of an image apart, transformers the whole conversation at once. Such tokenizers put a
    /// space before the beginning of a text.
    var restartsTextAtImages = false
    /// What leads into an answer that is given, where it is not what leads into one that is asked for.
    var givenAnswer: GivenAnswer?

    struct GivenAnswer: Sendable, Hashable {
        /// Pieces at the end of `afterUser` that it stands in place of.
        var replacing: Int
        var pieces: [Piece]
    }

    struct Surroundings: Sendable, Hashable {
        var before: [Piece]
        var after: [Piece]
    }

    static let all = [chatML, llama3, llama2, mistral, vicuna, llavaHub, oneVision, plain]

    static let chatML = TurnFormat(
        system: Surroundings(
            before: [.special("<|im_start|>"), .text("system\n")],
            after: [.special("<|im_end|>"), .text("\n")]),
        beforeUser: [.special("<|im_start|>"), .text("user\n")],
        afterUser: [.special("<|im_end|>"), .text("\n"), .special("<|im_start|>"), .text("assistant\n")],
        afterAnswer: [.special("<|im_end|>"), .text("\n")])

    static let plain = TurnFormat(afterUser: [.text("\n")], afterAnswer: [.text("\n")])

    static let vicuna = TurnFormat(
        system: Surroundings(before: [], after: [.text(" ")]), beforeUser: [.text("USER: ")],
        afterUser: [.text(" ASSISTANT:")], beforeAnswer: [.text(" ")], afterAnswer: [.special("</s>")],
        restartsTextAtImages: true)

    static let llavaHub = TurnFormat(
        system: Surroundings(before: [], after: [.text(" ")]), beforeUser: [.text("USER: ")],
        afterUser: [.text(" ASSISTANT:")], beforeAnswer: [.text(" ")], afterAnswer: [.text(" ")])

    static let oneVision = TurnFormat(
        system: Surroundings(
            before: [.special("<|im_start|>"), .text("system \n")], after: [.special("<|im_end|>")]),
        beforeUser: [.special("<|im_start|>"), .text("user ")],
        afterUser: [.special("<|im_end|>"), .special("<|im_start|>"), .text("assistant\n")],
        afterAnswer: [.special("<|im_end|>")], beforePlainText: [.text("\n")],
        givenAnswer: GivenAnswer(replacing: 1, pieces: [.text("assistant \n")]))

    static let llama2 = TurnFormat(
        system: Surroundings(
            before: [.special("<s>"), .text("[INST] <<SYS>>\n")], after: [.text("\n<</SYS>>\n\n")]),
        systemOpensUserTurn: true, beforeUser: [.special("<s>"), .text("[INST] ")],
        afterUser: [.text(" [/INST]")],
        beforeAnswer: [.text(" ")], afterAnswer: [.text(" "), .special("</s>")], trims: true)

    static let mistral = TurnFormat(
        beforeUser: [.text("[INST] ")], afterUser: [.text(" [/INST]")], beforeAnswer: [.text(" ")],
        afterAnswer: [.text(" "), .special("</s>")], restartsTextAtImages: true)

    static let llama3 = TurnFormat(
        opening: [.special("<|begin_of_text|>")],
        system: Surroundings(before: header("system"), after: [.special("<|eot_id|>")]),
        beforeUser: header("user"),
        afterUser: [.special("<|eot_id|>")] + header("assistant"), afterAnswer: [.special("<|eot_id|>")],
        trims: true)

    private static func header(_ role: String) -> [Piece] {
        [.special("<|start_header_id|>"), .text(role), .special("<|end_header_id|>"), .text("\n\n")]
    }
}
