import Foundation
import TestSupport
import Testing

@testable import Tokenization

/// Small tokenizers with the structure of published families, against `tokenizers`.
struct FamilyTests {
    static let names = [
        "qwen2", "llama3", "cl100k", "gpt2", "gpt2-prefix", "phi2", "smollm2", "digit-runs", "tekken",
        "o200k", "bare",
        "llama2", "mistral-v3", "phi3",
    ]

    @Test("encodes as Hugging Face tokenizers", arguments: names)
    func encodes(name: String) throws {
        let fixture = try TokenizerFamilies.load()
        let family = try #require(fixture.families.first { $0.name == name })
        let tokenizer = try TokenizerFixture.load(fixture.tokenizerJSON(family))
        #expect(fixture.strings.count == family.ids.count && family.ids.count >= 150)
        for (text, ids) in zip(fixture.strings, family.ids) {
            #expect(tokenizer.encode(text) == ids, "\(text.debugDescription)")
        }
    }

    @Test("the fixture holds every family")
    func complete() throws {
        #expect(try TokenizerFamilies.load().families.map(\.name) == Self.names)
    }

    @Test("a vocabulary that lacks bytes drops them, with a remark that counts those of UTF-8")
    func missingBytes() throws {
        let fixture = try TokenizerFamilies.load()
        for family in fixture.families {
            let remarks = try TokenizerFixture.load(fixture.tokenizerJSON(family)).remarks
            guard family.name == "smollm2" else {
                #expect(remarks.isEmpty, "\(family.name)")
                continue
            }
            // Eight are missing, but C0 and FF occur in no text.
            #expect(remarks.count == 1 && remarks[0].contains("lacks 6 of the bytes"), "\(remarks)")
            #expect(remarks[0].contains("left out"))
        }
    }

    @Test("with an unknown token, missing bytes become it, fused or not")
    func missingBytesBecomeUnknown() throws {
        let bytes = (0..<256).filter { $0 != 0x7A && $0 != 0x79 }.map {
            "\"\(ByteAlphabet.encoded[$0] == [0x22] || ByteAlphabet.encoded[$0] == [0x5C] ? "\\" : "")"
                + String(decoding: ByteAlphabet.encoded[$0], as: UTF8.self) + "\":\($0)"
        }
        for fuses in [true, false] {
            let json = """
                {"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"decoder":{"type":"ByteLevel"},
                "model":{"type":"BPE","unk_token":"<unk>","fuse_unk":\(fuses),
                "vocab":{\(bytes.joined(separator: ",")),"<unk>":300},"merges":[]}}
                """
            let tokenizer = try TokenizerFixture.load(Data(json.utf8))
            #expect(
                tokenizer.encode("azzyb z")
                    == (fuses ? [97, 300, 98, 32, 300] : [97, 300, 300, 300, 98, 32, 300]))
            #expect(tokenizer.remarks.first?.contains("become \"<unk>\"") == true)
        }
    }

    @Test(
        "pre-tokenizers, normalizers and decoders of other families are refused by name, with what to do",
        arguments: [
            ("pre_tokenizer", #"{"type":"Whitespace"}"#, "Whitespace"),
            ("pre_tokenizer", #"{"type":"BertPreTokenizer"}"#, "BertPreTokenizer"),
            (
                "pre_tokenizer",
                #"{"type":"Sequence","pretokenizers":[{"type":"Punctuation"},{"type":"ByteLevel"}]}"#,
                "Punctuation"
            ),
            (
                "pre_tokenizer",
                #"{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]}"#, "ByteLevel"
            ),
            (
                "pre_tokenizer",
                #"{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"x"},"behavior":"MergedWithNext","invert":false},{"type":"ByteLevel"}]}"#,
                "MergedWithNext"
            ),
            ("normalizer", #"{"type":"NFKC"}"#, "NFKC"),
            ("normalizer", #"{"type":"Lowercase"}"#, "Lowercase"),
            ("normalizer", #"{"type":"Strip"}"#, "Strip"),
            ("normalizer", #"{"type":"Precompiled"}"#, "Precompiled"),
            ("decoder", #"{"type":"WordPiece"}"#, "WordPiece"),
        ])
    func refused(key: String, value: String, name: String) throws {
        let parts = [
            "normalizer": "null", "pre_tokenizer": #"{"type":"ByteLevel"}"#,
            "decoder": #"{"type":"ByteLevel"}"#,
        ]
        .merging([key: value]) { $1 }.map { "\"\($0)\":\($1)" }.joined(separator: ",")
        let error = #expect(throws: TokenizationError.self) {
            try TokenizerFixture.load(Data("{\(parts),\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}".utf8))
        }
        let text = try #require(error?.description)
        #expect(
            text.contains("\"\(name)\"") && text.contains("supports") && text.contains("Use a checkpoint"),
            "\(text)")
    }

    @Test("text that does not start its conversation gets no prefix under prepend_scheme first")
    func startsText() throws {
        let fixture = try TokenizerFamilies.load()
        for (name, prefixed) in [("mistral-v3", false), ("llama2", true)] {
            let family = try #require(fixture.families.first { $0.name == name })
            let tokenizer = try TokenizerFixture.load(fixture.tokenizerJSON(family))
            // Behind an end of turn, as tokenizers sees it in the whole text.
            let whole = tokenizer.encode("</s>USER: a")
            #expect([2] + tokenizer.encode("USER: a", startsText: false) == whole)
            #expect(([2] + tokenizer.encode("USER: a", startsText: true) == whole) == prefixed, "\(name)")
        }
    }
}
