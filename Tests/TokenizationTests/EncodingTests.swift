import Foundation
import TestSupport
import Testing

@testable import Tokenization

struct EncodingTests {
    @Test("encodes and decodes 5,400 varied strings as Hugging Face tokenizers with the real Qwen2 ids")
    func qwen2() throws {
        let cases: [EncodingCase] = try TokenizerFixture.cases("qwen2/cases.json")
        let tokenizer = try TokenizerFixture.tokenizer("qwen2")
        try check(cases.filter { $0.variant == nil }, tokenizer)
        #expect(cases.count { $0.variant == nil } >= 5_000)
    }

    @Test("splits as the patterns of Llama 3 and GPT-2 do", arguments: ["llama3", "gpt2"])
    func otherPatterns(variant: String) throws {
        let pattern = variant == "llama3" ? SplitPattern.llama3 : .gpt2
        let cases: [EncodingCase] = try TokenizerFixture.cases("qwen2/cases.json")
        let tokenizer = try TokenizerFixture.tokenizer("qwen2", pattern: pattern)
        try check(cases.filter { $0.variant == variant }, tokenizer)
    }

    @Test("text from outside never gives an added token, and else encodes as always")
    func asText() throws {
        let cases: [EncodingCase] = try TokenizerFixture.cases("qwen2/cases.json")
        let tokenizer = try TokenizerFixture.tokenizer("qwen2")
        // The one added token that is not special is text here, but a token for `encode_special_tokens`.
        for testCase in cases where testCase.variant == "asText" {
            let ids = tokenizer.encode(testCase.text, specialTokens: .asText)
            #expect(ids.allSatisfy { $0 < 151_643 }, "\(testCase.text.debugDescription)")
            if !testCase.ids.contains(151_647) { #expect(ids == testCase.ids) }
        }
    }

    @Test("finds added tokens by their flags: strip, single word, normalized, longest first")
    func addedTokens() throws {
        try check(TokenizerFixture.cases("added/cases.json"), TokenizerFixture.tokenizer("added"))
    }

    @Test("loads vocab.json, merges.txt, added_tokens.json and tokenizer_config.json to the same tokenizer")
    func separateFiles() throws {
        let document = try TokenizerFixture.document("qwen2")
        let model = try #require(document["model"] as? [String: Any])
        let merges = try #require(model["merges"] as? [String])
        let tokens = try #require(document["added_tokens"] as? [[String: Any]])
        var ids: [String: Int] = [:]
        var decoder: [String: Any] = [:]
        for token in tokens {
            let id = try #require(token["id"] as? Int)
            ids[try #require(token["content"] as? String)] = id
            decoder["\(id)"] = token.filter { $0.key != "id" }
        }
        let files = [
            "vocab.json": try JSONSerialization.data(withJSONObject: try #require(model["vocab"])),
            "merges.txt": Data(("#version: 0.2\n" + merges.joined(separator: "\n") + "\n").utf8),
            "added_tokens.json": try JSONSerialization.data(withJSONObject: ids),
            "tokenizer_config.json": try JSONSerialization.data(
                withJSONObject: ["added_tokens_decoder": decoder]),
        ]
        let tokenizer = try TokenizerFixture.withFolder(files) { try Tokenizer(directory: $0) }
        let cases: [EncodingCase] = try TokenizerFixture.cases("qwen2/cases.json")
        try check(cases.filter { $0.variant == nil }, tokenizer)
        #expect(!tokenizer.isSpecial(151_647))
        let bare = files.filter { $0.key != "tokenizer_config.json" }
        let unflagged = try TokenizerFixture.withFolder(bare) { try Tokenizer(directory: $0) }
        #expect(unflagged.id(of: "<tool_call>") == 151_647)
        #expect(unflagged.isSpecial(151_647))
    }

    @Test(
        "encodes as SentencePiece-style tokenizers do",
        arguments: ["llama-legacy", "llama-first", "llama-always", "llama-unknown"])
    func sentencePiece(folder: String) throws {
        // Put together as text: Foundation's dictionaries would drop canonically equivalent tokens.
        let legacyText = String(
            decoding: try Fixture.data("tokenizer/llama-legacy/tokenizer.json"), as: UTF8.self)
        let ownText = String(decoding: try Fixture.data("tokenizer/\(folder)/tokenizer.json"), as: UTF8.self)
        let vocabStart = try #require(legacyText.range(of: "\"vocab\":"))
        let placeholder = "\"vocab\":\"as in llama-legacy\",\"merges\":\"as in llama-legacy\"}}"
        let text = ownText.replacingOccurrences(
            of: placeholder, with: String(legacyText[vocabStart.lowerBound...]))
        let tokenizer = try TokenizerFixture.load(Data(text.utf8))
        #expect(tokenizer.beginningOfSequence == 1)
        try check(TokenizerFixture.cases("\(folder)/cases.json"), tokenizer)
    }

    @Test("knows its tokens by id and by content")
    func singleTokens() throws {
        let tokenizer = try TokenizerFixture.tokenizer("qwen2")
        #expect(tokenizer.vocabularyCount == 151_648)
        #expect(tokenizer.beginningOfSequence == nil)
        #expect(tokenizer.id(of: "<|im_end|>") == 151_645)
        #expect(tokenizer.token(of: 151_645) == "<|im_end|>")
        #expect(tokenizer.isSpecial(151_645) && !tokenizer.isSpecial(151_647) && !tokenizer.isSpecial(0))
        #expect(tokenizer.id(of: "Ġthe") == 279 && tokenizer.token(of: 279) == "Ġthe")
        #expect(tokenizer.id(of: "no such token") == nil)
        for id in [-1, Int.min, 151_648, Int.max] { #expect(tokenizer.token(of: id) == nil) }
    }

    @Test("encodes the ChatML prompt to its published ids")
    func goldenPrompt() throws {
        let tokenizer = try TokenizerFixture.tokenizer("qwen2")
        let head = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        #expect(
            tokenizer.encode(head) == [
                151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198, 151644, 872, 198,
            ])
        #expect(tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n") == [151645, 198, 151644, 77091, 198])
    }
}

/// Compares encoding and both ways of decoding, naming at most a few of the cases that differ.
func check(_ cases: [EncodingCase], _ tokenizer: Tokenizer, skipDecoding: Bool = false) throws {
    #expect(!cases.isEmpty)
    var failures: [String] = []
    for testCase in cases {
        let ids = tokenizer.encode(testCase.text)
        if ids != testCase.ids {
            failures.append("encode \(testCase.text.debugDescription): \(ids), expected \(testCase.ids)")
        }
        guard !skipDecoding else { continue }
        let decoded = tokenizer.decode(testCase.ids)
        if scalars(decoded) != scalars(testCase.decoded ?? testCase.text) {
            failures.append("decode \(testCase.ids): \(decoded.debugDescription)")
        }
        let all = tokenizer.decode(testCase.ids, skipSpecialTokens: false)
        if scalars(all) != scalars(testCase.decodedAll ?? testCase.text) {
            failures.append("decode all \(testCase.ids): \(all.debugDescription)")
        }
    }
    #expect(
        failures.isEmpty, "\(failures.count) of \(cases.count): \(failures.prefix(5).joined(separator: "\n"))"
    )
}
