import Generation
import Testing

@Suite("Conversation templates")
struct ChatTemplateTests {
    /// The rendered prompt as one string, images as ⟨n⟩.
    private func flat(_ pieces: [ChatTemplate.Piece]) -> String {
        pieces.map { piece in
            switch piece {
            case .special(let text), .text(let text): text
            case .image(let index): "⟨\(index)⟩"
            }
        }.joined()
    }

    @Test("qwen_2 puts the image before the question, as in training")
    func qwen2() throws {
        let pieces = try ChatTemplate.qwen2.render([.user("What are these?", images: 0..<1)])
        #expect(
            flat(pieces)
                == "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n⟨0⟩\nWhat are these?"
                + "<|im_end|>\n<|im_start|>assistant\n")
    }

    @Test("vicuna_v1 ends an assistant's turn with </s>")
    func vicuna() throws {
        let pieces = try ChatTemplate.vicuna1.render([
            .user("Hi", images: 0..<1), Message(.assistant, "Hello."), Message(.user, "More"),
        ])
        #expect(
            flat(pieces).hasSuffix(
                "answers to the user's questions. USER: ⟨0⟩\nHi ASSISTANT: Hello.</s>USER: More ASSISTANT:"))
    }

    @Test("plain has no roles; an image alone is followed by its caption at once")
    func plain() throws {
        #expect(try flat(ChatTemplate.plain.render([.user("", images: 0..<1)])) == "⟨0⟩")
        #expect(try flat(ChatTemplate.plain.render([.user("Say", images: 0..<2)])) == "⟨0⟩⟨1⟩\nSay\n")
    }

    @Test("A system turn replaces the default one")
    func systemOverride() throws {
        let pieces = try ChatTemplate.qwen2.render([Message(.system, "Be brief."), Message(.user, "Hi")])
        #expect(flat(pieces).hasPrefix("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi"))
        #expect(
            flat(ChatTemplate.qwen2.render(next: Message(.user, "Hi"), system: "Be brief.", answered: false))
                == flat(pieces))
    }

    // LLaVA-OneVision's template renders an answer of an earlier turn otherwise than one that is asked for.
    @Test(
        "A later turn in the cache continues where rendering the whole conversation would",
        arguments: ChatTemplate.all.filter { $0 != .oneVision })
    func continuation(template: ChatTemplate) throws {
        let first = Message.user("One", images: 0..<1)
        let whole = try template.render([first, Message(.assistant, "Two"), Message(.user, "Three")])
        let opened = template.render(next: first, system: nil, answered: false)
        let continued = template.render(next: Message(.user, "Three"), system: nil, answered: true)
        let hasSpace = [ChatTemplate.vicuna1, .llavaHub, .llama2, .mistral].contains(template)
        let answer = hasSpace ? " Two" : "Two"
        #expect(flat(whole) == flat(opened) + answer + flat(continued))
    }

    @Test("Names are told apart and lead to their template")
    func names() throws {
        #expect(Set(ChatTemplate.all.map(\.name)).count == ChatTemplate.all.count)
        for template in ChatTemplate.all { #expect(try ChatTemplate(named: template.name) == template) }
    }

    @Test("Several images each stand at their own place when the text says so")
    func placing() throws {
        let message = try Message.user(placing: "left <image> right <image>?", images: 0..<2)
        #expect(
            message.content == [.text("left "), .image(0), .text(" right "), .image(1), .text("?")])
        let pieces = try ChatTemplate.plain.render([message])
        #expect(flat(pieces) == "left ⟨0⟩ right ⟨1⟩?\n")
    }

    @Test("<image> in a user's text is text unless asked for")
    func placeholderIsData() throws {
        let pieces = try ChatTemplate.qwen2.render([.user("what does <image> mean?", images: 0..<0)])
        #expect(pieces.contains(.text("what does <image> mean?")))
    }

    @Test("A wrong number of placeholders is refused", arguments: ["no place", "<image><image><image>"])
    func placeholderMismatch(text: String) {
        #expect(throws: GenerationError.self) { try Message.user(placing: text, images: 0..<2) }
    }

    @Test("Conversations that do not alternate are refused")
    func invalidConversations() {
        for messages in [
            [], [Message(.assistant, "Hi")], [Message(.user, "a"), Message(.user, "b")],
            [Message(.user, "a"), Message(.assistant, "b")],
            [Message(.system, "a"), Message(.system, "b"), Message(.user, "c")],
        ] {
            #expect(throws: GenerationError.self) { try ChatTemplate.qwen2.render(messages) }
        }
    }

    @Test("An unknown template is named in the error, with those that exist")
    func unknownTemplate() {
        #expect(
            throws: GenerationError.unknownTemplate(got: "llama_9", known: ChatTemplate.all.map(\.name))
        ) {
            try ChatTemplate(named: "llama_9")
        }
    }
}
