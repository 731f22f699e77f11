import Foundation
import Generation
import TestSupport
import Testing
import Tokenization

@Suite("Prompts equal the reference's ids")
struct PromptTests {
    private struct Golden: Decodable {
        struct Prompt: Decodable {
            let name: String
            let ids: [Int]
        }
        let prompts: [Prompt]
    }

    private static let bear = "Das ist ein Bär 🐻."

    /// The conversations behind the fixture's prompts, by the fixture's names.
    private static func conversations() throws -> [(String, ChatTemplate, [Message])] {
        let first = Message.user("What is this?", images: 0..<1)
        return [
            ("qwen2: no image", .qwen2, [Message(.user, "Who are you?")]),
            (
                "qwen2: own system text", .qwen2,
                [Message(.system, "Answer in one word."), Message(.user, "Who are you?")]
            ),
            ("qwen2: one image", .qwen2, [first]),
            (
                "qwen2: two images, a newline after each", .qwen2,
                [try .user(placing: "<image>\n<image>\nCompare them.", images: 0..<2)]
            ),
            ("qwen2: two images, then a newline", .qwen2, [.user("Compare them.", images: 0..<2)]),
            (
                "qwen2: three images at their places", .qwen2,
                [try .user(placing: "<image>\nThis and <image>, not\n<image>", images: 0..<3)]
            ),
            (
                "qwen2: newline on both sides of an image", .qwen2,
                [try .user(placing: "Look:\n<image>\nWhat is it?", images: 0..<1)]
            ),
            (
                "qwen2: second turn", .qwen2,
                [first, Message(.assistant, bear), Message(.user, "Are you sure?")]
            ),
            (
                "qwen2: second image in the second turn", .qwen2,
                [first, Message(.assistant, bear), .user("And this?", images: 1..<2)]
            ),
            (
                "qwen2: third turn", .qwen2,
                [
                    first, Message(.assistant, bear), Message(.user, "Are you sure?"),
                    Message(.assistant, "Yes."),
                    Message(.user, "  \n\n Why?"),
                ]
            ),
            ("vicuna: one image", .vicuna1, [first]),
        ]
    }

    @Test("Text on each side of an image is tokenised on its own, turn after turn")
    func golden() throws {
        let golden = try JSONDecoder().decode(Golden.self, from: Fixture.data("models/prompts.json"))
        let tokenizer = try Tokenizer(directory: Fixture.url("models/tiny-hf"))
        for (name, template, messages) in try Self.conversations() {
            let expected = try #require(golden.prompts.first { $0.name == name })
            let prompt = try Prompt(
                template.render(messages), tokenizer: tokenizer, template: template, startsSequence: true)
            let ids = prompt.elements.flatMap { element in
                switch element {
                case .tokens(let ids): ids
                case .image: [-200]
                }
            }
            #expect(ids == expected.ids, "\(name)")
        }
    }

    @Test("A template whose tokens the tokenizer lacks is an error that names the token")
    func missingToken() throws {
        let tokenizer = try Tokenizer(directory: Fixture.url("models/tiny-hf"))
        #expect(throws: GenerationError.missingSpecialToken(template: "vicuna_v1", token: "</s>")) {
            try Prompt(
                ChatTemplate.vicuna1.render([
                    Message(.user, "a"), Message(.assistant, "b"), Message(.user, "c"),
                ]),
                tokenizer: tokenizer, template: .vicuna1, startsSequence: true)
        }
    }
}
