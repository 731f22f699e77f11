import Checkpoints
import Foundation
import Generation
import TestSupport
import Testing
import Tokenization

@testable import FastVLM

/// Which conversation template a checkpoint gets, and when that is told.
@Suite("Choice of the conversation template")
struct TemplateChoiceTests {
    private static let removed = "removed"
    private static let other = "{% for m in messages %}{{ '<turn>' + m['role'] + m['content'] }}{% endfor %}"

    /// A copy of a fixture's folder with some files replaced or removed.
    private func choose(
        _ folder: String, _ files: [String: String], named name: String? = nil,
        change: (inout ModelConfiguration) -> Void = { _ in }
    ) throws -> TemplateChoice {
        let copy = FileManager.default.temporaryDirectory.appending(path: "template-\(UUID().uuidString)")
        try FileManager.default.copyItem(at: Fixture.url("models/\(folder)"), to: copy)
        defer { try? FileManager.default.removeItem(at: copy) }
        for (name, text) in files {
            let file = copy.appending(path: name)
            try? FileManager.default.removeItem(at: file)
            if text != Self.removed { try Data(text.utf8).write(to: file) }
        }
        var configuration = try Checkpoint(directory: copy).configuration
        change(&configuration)
        return try TemplateChoice.choose(
            named: name, configuration: configuration, tokenizer: try Tokenizer(directory: copy),
            directory: copy)
    }

    @Test("a chat template that is known is used without a word, with the system prompt that it has")
    func known() throws {
        let choice = try choose("tiny-hf", [:])
        #expect(choice.template == .qwen2 && choice.remarks.isEmpty)
        let source = try String(decoding: Fixture.data("models/tiny-hf/chat_template.jinja"), as: UTF8.self)
        let silent = source.replacingOccurrences(of: "loop.first and", with: "false and")
        #expect(try choose("tiny-hf", ["chat_template.jinja": silent]).template == .chatML)
        let pirate = source.replacingOccurrences(of: "You are a helpful assistant.", with: "Arr.")
        #expect(try choose("tiny-hf", ["chat_template.jinja": pirate]).template.defaultSystemPrompt == "Arr.")
    }

    @Test("one that is not known is told, with the names to choose from; --template silences it")
    func unknown() throws {
        let choice = try choose("tiny-hf", ["chat_template.jinja": Self.other])
        #expect(choice.template == .qwen2 && choice.remarks.count == 1)
        let remark = try #require(choice.remarks.first)
        #expect(remark.contains("chat_template.jinja") && remark.contains("--template"))
        for name in LoadOptions.templates { #expect(remark.contains(name)) }
        let named = try choose("tiny-hf", ["chat_template.jinja": Self.other], named: "plain")
        #expect(named.template == .plain && named.remarks.isEmpty)
    }

    @Test("without a chat template config.json decides, then the tokenizer; a contradiction is told")
    func fallbacks() throws {
        let nothing = ["chat_template.jinja": Self.removed]
        #expect(try choose("tiny-hf", nothing).template == .qwen2)
        let named = try choose("tiny-hf", nothing) { $0.conversationTemplate = "plain" }
        #expect(named.template == .plain && named.remarks.isEmpty)
        let both = try choose("tiny-hf", [:]) { $0.conversationTemplate = "plain" }
        #expect(both.template == .qwen2 && both.remarks.first?.contains("names plain") == true)
    }

    @Test("Apple's layout keeps the template it was trained with, and tells when the files have another")
    func apple() throws {
        let source = try String(decoding: Fixture.data("models/tiny-hf/chat_template.jinja"), as: UTF8.self)
        #expect(try choose("tiny-apple", ["chat_template.jinja": source]).remarks.isEmpty)
        let other = source.replacingOccurrences(
            of: "You are a helpful", with: "You are Qwen, created by Alibaba Cloud. You are a helpful")
        let choice = try choose("tiny-apple", ["chat_template.jinja": other])
        #expect(choice.template == .qwen2 && choice.remarks.first?.contains("qwen_2_5") == true)
    }

    @Test("a template whose tokens the tokenizer lacks is the checkpoint's fault")
    func missingTokens() throws {
        let error = #expect(throws: FastVLMError.self) {
            try choose("tiny-hf", ["chat_template.jinja": Self.removed]) {
                $0.conversationTemplate = "llama_3"
            }
        }
        #expect(error?.kind == .model && error?.description.contains("needs the token") == true)
    }

    @Test("an added token without a row is told; one that prompts need is the checkpoint's fault")
    func tokensWithoutRow() throws {
        // <image> is 289, <|im_end|> is 288.
        #expect(try choose("tiny-hf", [:]) { $0.text.vocabularySize = 290 }.remarks.isEmpty)
        let remarks = try choose("tiny-hf", [:]) { $0.text.vocabularySize = 289 }.remarks
        #expect(remarks.count == 1 && remarks.first?.contains("<image> (289)") == true, "\(remarks)")
        #expect(remarks.first?.contains("rows 0 to 288") == true)
        for name in [nil, "qwen_2"] {
            let error = #expect(throws: FastVLMError.self) {
                try choose("tiny-hf", [:], named: name) { $0.text.vocabularySize = 288 }
            }
            #expect(error?.kind == .model && error?.description.contains("<|im_end|>") == true)
        }
        // A template without such tokens needs none of them.
        let plain = try choose("tiny-hf", [:], named: "plain") { $0.text.vocabularySize = 288 }
        #expect(plain.remarks.count == 1)
    }

    /// Loads a fixture to whose tokenizer a token was added.
    private func load(
        _ folder: String, _ change: (inout [String: Any], _ rows: Int) throws -> Void
    ) async throws -> VisionLanguageModel {
        let copy = FileManager.default.temporaryDirectory.appending(path: "tokens-\(UUID().uuidString)")
        try FileManager.default.copyItem(at: Fixture.url("models/\(folder)"), to: copy)
        defer { try? FileManager.default.removeItem(at: copy) }
        let file = copy.appending(path: "tokenizer.json")
        let content = try JSONSerialization.jsonObject(with: Data(contentsOf: file))
        var tokenizer = try #require(content as? [String: Any])
        try change(&tokenizer, Checkpoint(directory: copy).configuration.text.vocabularySize)
        try JSONSerialization.data(withJSONObject: tokenizer).write(to: file)
        return try await VisionLanguageModel(contentsOf: .directory(copy))
    }

    @Test("a padding token behind the rows, as old Vicunas have it, is a remark; it is text in a prompt")
    func paddingBehindRows() async throws {
        for folder in ["tiny-llama", "tiny-hf"] {
            let model = try await load(folder) { tokenizer, rows in
                var added = tokenizer["added_tokens"] as? [[String: Any]] ?? []
                var token = try #require(added.first)
                token["id"] = rows
                token["content"] = "<pad>"
                added.append(token)
                tokenizer["added_tokens"] = added
            }
            #expect(model.information.remarks.contains { $0.contains("<pad>") })
            var options = GenerationOptions()
            options.maximumTokens = 1
            _ = try await model.answer("<pad>", options: options)
        }
    }

    @Test("an ordinary token behind the rows is an error")
    func wordBehindRows() async throws {
        let error = await #expect(throws: FastVLMError.self) {
            _ = try await load("tiny-hf") { tokenizer, rows in
                var model = try #require(tokenizer["model"] as? [String: Any])
                var vocabulary = try #require(model["vocab"] as? [String: Any])
                vocabulary["zzzz"] = rows
                model["vocab"] = vocabulary
                tokenizer["model"] = model
            }
        }
        #expect(error?.kind == .model && error?.description.contains("embedding table") == true)
    }
}
