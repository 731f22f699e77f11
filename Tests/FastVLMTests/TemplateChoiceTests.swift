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
}
