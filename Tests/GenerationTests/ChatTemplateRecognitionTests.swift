import Foundation
import TestSupport
import Testing
import Tokenization

@testable import Generation

/// Chat templates as Jinja sources, against what the Jinja of transformers renders.
@Suite("Recognition of chat templates")
struct ChatTemplateRecognitionTests {
    struct Entry: Decodable, Sendable {
        struct Render: Decodable, Sendable {
            let turns: [[String]]
            let images: Bool
            let text: String
        }
        let name: String
        let source: String
        let tokens: [String: String]
        let recognised: String?
        let system: String?
        let parts: Bool
        let renders: [Render]
    }

    private struct Document: Decodable { let templates: [Entry] }

    private static func entries() throws -> [Entry] {
        try JSONDecoder().decode(Document.self, from: Fixture.data("tokenizer/templates.json")).templates
    }

    @Test(
        "what they render equals transformers' Jinja, for one to three turns, with and without system and images"
    )
    func renders() throws {
        let entries = try Self.entries()
        #expect(entries.count >= 17)
        for entry in entries where !entry.renders.isEmpty {
            let template = try JinjaTemplate(entry.source)
            for render in entry.renders {
                var variables: [String: JinjaValue] = [
                    "add_generation_prompt": .bool(true), "tools": .none, "bos_token": .string(""),
                    "eos_token": .string(""),
                ]
                for (name, text) in entry.tokens { variables[name] = .string(text) }
                variables["messages"] = .list(
                    render.turns.enumerated().map { place, turn in
                        var parts: [JinjaValue] = [
                            .object([("type", .string("text")), ("text", .string(turn[1]))])
                        ]
                        if render.images, turn[0] == "user", place < 2 {
                            parts.insert(.object([("type", .string("image"))]), at: 0)
                        }
                        return .object([
                            ("role", .string(turn[0])),
                            ("content", entry.parts ? .list(parts) : .string(turn[1])),
                        ])
                    })
                let text = try JinjaRenderer.render(template, variables)
                #expect(text == render.text, "\(entry.name): \(render.turns)")
            }
        }
    }

    @Test("they are recognised by that, with the system prompt of their own, or not at all")
    func recognised() throws {
        for entry in try Self.entries() {
            switch ChatTemplate.recognize(entry.source, tokens: entry.tokens) {
            case .known(let template):
                #expect(template.name == entry.recognised, "\(entry.name)")
                #expect(template.defaultSystemPrompt == entry.system, "\(entry.name)")
            case .unknown(let reason):
                #expect(entry.recognised == nil, "\(entry.name): \(reason)")
                #expect(!reason.isEmpty)
            }
        }
    }

    @Test("the recognised template makes the same conversation, images first as in training")
    func sameConversations() throws {
        for entry in try Self.entries() where entry.recognised != nil {
            guard case .known(let template) = ChatTemplate.recognize(entry.source, tokens: entry.tokens)
            else { continue }
            for render in entry.renders {
                let messages = try render.turns.enumerated().map { place, turn in
                    let role = try #require(MessageRole(rawValue: turn[0]))
                    return render.images && role == .user && place < 2
                        ? Message.user(turn[1], images: 0..<1) : Message(role, turn[1])
                }
                let text = try template.render(messages).map { piece in
                    switch piece {
                    case .special(let text), .text(let text): text
                    case .image: "<image>"
                    }
                }.joined()
                let opening = entry.name.hasSuffix("without bos") ? "<|begin_of_text|>" : ""
                #expect(text == opening + render.text, "\(entry.name): \(render.turns)")
            }
        }
    }

    @Test("prompts of whole conversations have the ids that tokenizers gives the rendered text")
    func conversationIDs() throws {
        let fixture = try TokenizerFamilies.load()
        var count = 0
        for family in fixture.families where !family.conversations.isEmpty {
            let folder = FileManager.default.temporaryDirectory.appending(path: "family-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: folder) }
            try fixture.tokenizerJSON(family).write(to: folder.appending(path: "tokenizer.json"))
            let tokenizer = try Tokenizer(directory: folder)
            let image = try #require(tokenizer.id(of: "<image>"))
            for conversation in family.conversations {
                let template = try ChatTemplate(named: conversation.template)
                var messages = [Message(.system, "Be kind."), .user("What is it?", images: 0..<1)]
                if template == .llavaHub { messages[0] = Message(.system, "Be kind.") }
                if conversation.text.contains("Sure?") {
                    messages += [Message(.assistant, "A cat - one, 12 years."), Message(.user, "Sure?")]
                }
                if conversation.text.contains("No?") {
                    messages += [Message(.assistant, "No."), .user("No?", images: 1..<2)]
                }
                let prompt = try Prompt(
                    template.render(messages), tokenizer: tokenizer, template: template, startsSequence: true)
                let ids = prompt.elements.flatMap { element in
                    switch element {
                    case .tokens(let ids): ids
                    case .image: [image]
                    }
                }
                #expect(ids == conversation.ids, "\(family.name): \(conversation.text)")
                count += 1
            }
        }
        #expect(count == 18)
    }

    @Test("a later turn in the cache has the ids that it has in the whole conversation")
    func continuedIDs() throws {
        let fixture = try TokenizerFamilies.load()
        let family = try #require(fixture.families.first { $0.name == "mistral-v3" })
        let folder = FileManager.default.temporaryDirectory.appending(path: "family-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try fixture.tokenizerJSON(family).write(to: folder.appending(path: "tokenizer.json"))
        let tokenizer = try Tokenizer(directory: folder)
        let template = ChatTemplate.vicuna1
        let first = template.render(next: Message(.user, "Hi"), system: nil, answered: false)
        let second = template.render(next: Message(.user, "So?"), system: nil, answered: true)
        let whole = try template.render([
            Message(.user, "Hi"), Message(.assistant, "Yes"), Message(.user, "So?"),
        ])
        func ids(_ pieces: [ChatTemplate.Piece], starts: Bool) throws -> [Int] {
            try Prompt(pieces, tokenizer: tokenizer, template: template, startsSequence: starts).tokenIDs
        }
        #expect(
            try ids(whole, starts: true).suffix(ids(second, starts: false).count)
                == ids(second, starts: false)[...])
        #expect(try ids(whole, starts: true).starts(with: ids(first, starts: true)))
    }

    @Test(
        "what is outside of the known part of Jinja, or too large, is unknown, with what it was",
        arguments: [
            ("{% macro x() %}{% endmacro %}", "macro"), ("{% include 'x' %}", "include"),
            ("{{ x | tojson }}", "not defined"),
            ("{{ messages | tojson }}", "tojson"), ("{{ messages[0].content.zfill(3) }}", "zfill"),
            ("{{", "tag"),
            ("{% if a %}", "expected"), ("{{ 'a }}", "end"),
            ("{{ \(String(repeating: "(", count: 100))1\(String(repeating: ")", count: 100)) }}", "deep"),
            ("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "steps"),
            (
                "{% set n = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(99) %}{% set n.x = n.x * 16 %}{% endfor %}",
                "much"
            ),
            ("{{ 'x' * 999999999999 }}", "much"), ("{{ range(99999999999) }}", "range"),
            ("{{ 1 // 0 }}", "division"),
            ("{{ raise_exception('never') }}", "never"), ("{{ nothing.at.all }}", "not defined"),
            ("", "another format"),
            ("{{ cycler('a') }}", "cycler"), ("{{ ''.__class__.mro() }}", "not defined"),
            ("{% set a = b = 3 %}", "expected"),
            (String(repeating: "{{ messages[0]['role'] }}", count: 12_000), "KiB"),
            (
                "{% for m in messages %}\(String(repeating: "{{ m['content'] }}", count: 900)){% endfor %}",
                "another format"
            ),
        ])
    func unknown(source: String, reason: String) {
        guard case .unknown(let got) = ChatTemplate.recognize(source, tokens: [:]) else {
            Issue.record("recognised")
            return
        }
        #expect(got.contains(reason), "\(got)")
    }

    @Test("damaged templates never trap")
    func damaged() throws {
        var random = SplitMix64(state: 5)
        let words = Array("{}%#-'\"|.()[]:=+~ \nifeslnrt".unicodeScalars)
        for entry in try Self.entries() {
            for _ in 0..<60 {
                var scalars = Array(entry.source.unicodeScalars)
                for _ in 0...random.below(3) {
                    let place = Int(random.below(UInt64(scalars.count)))
                    switch random.below(3) {
                    case 0: scalars[place] = words[Int(random.below(UInt64(words.count)))]
                    case 1: scalars.remove(at: place)
                    default: scalars.insert(words[Int(random.below(UInt64(words.count)))], at: place)
                    }
                }
                let source = String(String.UnicodeScalarView(scalars))
                if case .known(let template) = ChatTemplate.recognize(source, tokens: entry.tokens) {
                    #expect(!template.name.isEmpty)
                }
            }
        }
    }
}
