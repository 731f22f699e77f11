import Foundation
import Testing

@testable import Tokenization

/// Special tokens and chat templates in the files beside the vocabulary.
struct NeighbourFileTests {
    /// A folder with the small tokenizer.json (`<s>` is 257, `ab` 256, `<z>` 299) and more files.
    private func load(_ files: [String: String]) throws -> Tokenizer {
        let json = HostileFileTests.json(["\"ab\":256": "\"ab\":256,\"<z>\":299"])
        var all = files.mapValues { Data($0.utf8) }
        all["tokenizer.json"] = json
        return try TokenizerFixture.withFolder(all) { try Tokenizer(directory: $0) }
    }

    @Test(
        "special tokens that only one of the other files has are loaded beside tokenizer.json",
        arguments: [
            ("added_tokens.json", #"{"<|im_end|>":300}"#, 300),
            (
                "tokenizer_config.json",
                #"{"added_tokens_decoder":{"301":{"content":"<|im_end|>","special":true}}}"#, 301
            ),
        ])
    func onlyElsewhere(name: String, text: String, id: Int) throws {
        let tokenizer = try load([name: text])
        #expect(tokenizer.id(of: "<|im_end|>") == id && tokenizer.isSpecial(id))
        #expect(tokenizer.encode("ab<|im_end|>") == [256, id])
        #expect(tokenizer.decode([256, id]) == "ab" && tokenizer.vocabularyCount == id + 1)
        #expect(tokenizer.encode("<|im_end|>", specialTokens: .asText).count == 10)
    }

    @Test(
        "a token of the vocabulary that a file names special is special",
        arguments: [
            ("special_tokens_map.json", #"{"eos_token":"<z>"}"#),
            ("special_tokens_map.json", #"{"eos_token":{"content":"<z>","lstrip":false}}"#),
            ("special_tokens_map.json", #"{"additional_special_tokens":["<z>"]}"#),
            ("tokenizer_config.json", #"{"pad_token":"<z>"}"#),
            ("tokenizer_config.json", #"{"extra_special_tokens":{"image_token":"<z>"}}"#),
        ])
    func namedSpecial(name: String, text: String) throws {
        let tokenizer = try load([name: text])
        #expect(tokenizer.isSpecial(299) && tokenizer.decode([97, 299]) == "a")
        // Found before the pieces are cut, and never in text from outside.
        #expect(tokenizer.encode("x<z>") == [120, 299])
        #expect(tokenizer.encode("x<z>", specialTokens: .asText) == [120, 60, 122, 62])
        #expect(tokenizer.remarks.isEmpty)
        #expect(try !load([:]).isSpecial(299))
    }

    @Test("a word that is named for padding stays a word", arguments: ["!", "ab"])
    func namedWord(word: String) throws {
        let tokenizer = try load(["tokenizer_config.json": "{\"pad_token\":\"\(word)\"}"])
        #expect(tokenizer.decode(tokenizer.encode("a \(word)")) == "a \(word)")
        #expect(tokenizer.remarks.first?.contains("treated as text") == true)
    }

    @Test("a named token without an id is left out with a remark that names it")
    func namedWithoutID() throws {
        let tokenizer = try load([
            "special_tokens_map.json": #"{"eos_token":"<none>"}"#,
            "tokenizer_config.json": #"{"eos_token":"<none>"}"#,
        ])
        #expect(tokenizer.id(of: "<none>") == nil)
        #expect(tokenizer.remarks.count == 1 && tokenizer.remarks[0].contains("eos_token is \"<none>\""))
    }

    @Test("flags come from added_tokens_decoder, ids must agree")
    func precedence() throws {
        let plain = #"{"added_tokens_decoder":{"257":{"content":"<s>","special":false,"rstrip":true}}}"#
        let tokenizer = try load(["tokenizer_config.json": plain])
        #expect(!tokenizer.isSpecial(257) && tokenizer.encode("<s>  a") == [257, 97])
        for (name, text) in [
            ("tokenizer_config.json", #"{"added_tokens_decoder":{"258":{"content":"<s>"}}}"#),
            ("tokenizer_config.json", #"{"added_tokens_decoder":{"257":{"content":"<t>"}}}"#),
            ("tokenizer_config.json", #"{"added_tokens_decoder":{"97":{"content":"<t>"}}}"#),
            ("tokenizer_config.json", #"{"added_tokens_decoder":{"300":{"content":"ab"}}}"#),
            ("added_tokens.json", #"{"<s>":300}"#), ("added_tokens.json", #"{"<t>":257}"#),
        ] {
            let error = #expect(throws: TokenizationError.self, "\(text)") { try load([name: text]) }
            guard case .conflict? = error else {
                Issue.record("\(text): \(String(describing: error))")
                continue
            }
        }
        for text in [#"{"added_tokens_decoder":{"300":{"content":""}}}"#, #"{"eos_token":7}"#] {
            #expect(throws: TokenizationError.self, "\(text)") { try load(["tokenizer_config.json": text]) }
        }
        #expect(throws: TokenizationError.self) { try load(["added_tokens.json": #"{"":300}"#]) }
    }

    @Test(
        "vocab.json is cut as the class in tokenizer_config.json does, and another class is refused by name")
    func tokenizerClass() throws {
        let bytes = Dictionary(
            uniqueKeysWithValues: (0..<256).map {
                (String(decoding: ByteAlphabet.encoded[$0], as: UTF8.self), $0)
            })
        func load(_ name: String) throws -> Tokenizer {
            try TokenizerFixture.withFolder([
                "vocab.json": try JSONSerialization.data(
                    withJSONObject: bytes.merging(["12": 256, "aĊ": 257]) { $1 }),
                "merges.txt": Data("#version: 0.2\n1 2\n".utf8),
                "tokenizer_config.json": Data("{\"tokenizer_class\":\"\(name)\"}".utf8),
            ]) { try Tokenizer(directory: $0) }
        }
        #expect(try load("Qwen2TokenizerFast").encode("12") == [49, 50])
        #expect(try load("GPT2Tokenizer").encode("12") == [256])
        #expect(try load("CodeGenTokenizerFast").encode("12") == [256])
        let error = #expect(throws: TokenizationError.self) { try load("BartTokenizer") }
        #expect(error?.description.contains("BartTokenizer") == true)
    }

    @Test("too many members and an unsupported tokenizer do not ask to fetch the file again")
    func advice() throws {
        let deep = String(repeating: "[", count: 40)
        for text in ["{\"model\":\(deep)", "{\"model\":{\"type\":\"WordPiece\"}}"] {
            let error = try HostileFileTests.error(Data(text.utf8))
            #expect(error?.description.contains("again") == false, "\(String(describing: error))")
        }
        #expect(try HostileFileTests.error(Data("{\"model\":".utf8))?.description.contains("again") == true)
    }

    // MARK: - Chat templates

    @Test(
        "the chat template is found where transformers finds it, the first of several places",
        arguments: [
            (["chat_template.jinja": "J", "tokenizer_config.json": #"{"chat_template":"T"}"#], "J"),
            (["chat_template.json": #"{"chat_template":"P"}"#, "chat_template.jinja": "J"], "P"),
            (["tokenizer_config.json": #"{"chat_template":"T"}"#], "T"),
            (
                [
                    "tokenizer_config.json":
                        #"{"chat_template":[{"name":"tool_use","template":"U"},{"name":"default","template":"D"}]}"#
                ], "D"
            ),
            (["tokenizer_config.json": #"{"chat_template":null}"#], nil), ([:], nil),
        ])
    func storedTemplate(files: [String: String], source: String?) throws {
        try TokenizerFixture.withFolder(files.mapValues { Data($0.utf8) }) { folder in
            let stored = try StoredChatTemplate.find(in: folder)
            #expect(stored?.source == source)
            #expect(stored?.file.hasPrefix(folder.path) ?? true)
        }
    }

    @Test("it comes with the special tokens that it may name, and what is no template is an error")
    func storedTokens() throws {
        let files = [
            "tokenizer_config.json": #"{"chat_template":"T","bos_token":{"content":"<s>"},"eos_token":null}"#,
            "special_tokens_map.json": #"{"bos_token":"<b>","eos_token":"</s>"}"#,
        ]
        try TokenizerFixture.withFolder(files.mapValues { Data($0.utf8) }) { folder in
            let tokens = try StoredChatTemplate.find(in: folder)?.tokens
            #expect(tokens == ["bos_token": "<s>", "eos_token": "</s>"])
        }
        for files in [
            ["tokenizer_config.json": Data(#"{"chat_template":5}"#.utf8)],
            ["chat_template.jinja": Data([0xFF])],
        ] {
            try TokenizerFixture.withFolder(files) { folder in
                #expect(throws: TokenizationError.self) { try StoredChatTemplate.find(in: folder) }
            }
        }
    }
}
