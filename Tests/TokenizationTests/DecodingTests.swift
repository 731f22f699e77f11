import Foundation
import TestSupport
import Testing

@testable import Tokenization

struct DecodingTests {
    @Test(
        "decodes any ids as tokenizers: broken bytes, unknown ids, special tokens",
        arguments: ["qwen2", "llama-legacy"])
    func anyIDs(folder: String) throws {
        let cases: [DecodingCase] = try TokenizerFixture.cases("\(folder)/decode.json")
        let tokenizer = try TokenizerFixture.tokenizer(folder)
        for testCase in cases {
            #expect(scalars(tokenizer.decode(testCase.ids)) == scalars(testCase.decoded), "\(testCase.ids)")
            let all = tokenizer.decode(testCase.ids, skipSpecialTokens: false)
            #expect(scalars(all) == scalars(testCase.decodedAll), "\(testCase.ids)")
        }
    }

    @Test(
        "the bytes of an encoded text's tokens are the text, characters in parts included",
        arguments: ["qwen2", "llama-legacy"])
    func bytesOfTokens(folder: String) throws {
        let tokenizer = try TokenizerFixture.tokenizer(folder)
        let text = "A 🦊 über 漢字 \u{7FFFF}."
        let ids = tokenizer.encode(text, specialTokens: .asText)
        let bytes = ids.compactMap(tokenizer.bytes(of:))
        // What SentencePiece puts before a text is no part of it.
        let joined = String(decoding: bytes.joined(), as: UTF8.self).drop { $0 == " " }
        #expect(joined == text[...], "\(joined)")
        #expect(bytes.contains { String(validating: $0, as: UTF8.self) == nil })
        #expect(tokenizer.bytes(of: -1) == nil && tokenizer.bytes(of: 1 << 40) == nil)
    }

    @Test("ids without a token give nothing and never trap")
    func idsWithoutToken() throws {
        let tokenizer = try TokenizerFixture.tokenizer("qwen2")
        #expect(tokenizer.decode([-1, .min, .max, 151_900, 1 << 40]) == "")
        #expect(tokenizer.decode([]) == "")
        #expect(tokenizer.decode([151_644, 151_645]) == "")
    }

    @Test("streams any bytes: pieces joined equal the whole, and none is broken before its time")
    func streamsRandomBytes() throws {
        let tokenizer = try TokenizerFixture.tokenizer("qwen2")
        var generator = SeededGenerator()
        // Leads, continuations, and the bytes around the edges of what UTF-8 allows.
        let edges: [UInt8] =
            [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1]
            + [0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF]
        for round in 0..<1_000 {
            let bytes = (0..<Int.random(in: 0...24, using: &generator)).map { _ in
                round % 2 == 0
                    ? UInt8.random(in: 0...255, using: &generator)
                    : edges.randomElement(using: &generator) ?? 0
            }
            let ids = bytes.map { Int(tokenizer.byteSymbols[Int($0)]) }
            try checkStream(ids, bytes, tokenizer)
        }
    }

    /// A piece may hold U+FFFD only for bytes that nothing can complete: whatever comes after it, the text of all
    /// bytes must begin with what was handed out.
    private func checkStream(_ ids: [Int], _ bytes: [UInt8], _ tokenizer: Tokenizer) throws {
        let continuations: [[UInt8]] = [
            [], [0x80], [0x80, 0x80], [0xBF, 0xBF, 0xBF], [0x90, 0x80, 0x80], [0x41],
        ]
        var stream = StreamingDetokenizer(tokenizer)
        var text: [UInt8] = []
        var isStable = true
        for (index, id) in ids.enumerated() {
            text += Array(stream.append(id).utf8)
            for next in continuations {
                let whole = String(decoding: bytes[...index] + next, as: UTF8.self)
                isStable = isStable && whole.utf8.starts(with: text)
            }
        }
        #expect(isStable, "\(bytes)")
        text += Array(stream.finish().utf8)
        #expect(text == Array(String(decoding: bytes, as: UTF8.self).utf8), "\(bytes)")
        #expect(text == Array(tokenizer.decode(ids).utf8), "\(bytes)")
    }

    @Test("streams any ids to the decoded text", arguments: ["qwen2", "llama-legacy"])
    func streamsRandomIDs(folder: String) throws {
        let tokenizer = try TokenizerFixture.tokenizer(folder)
        let known = (0..<tokenizer.vocabularyCount).filter { tokenizer.token(of: $0) != nil }
        var generator = SeededGenerator()
        for round in 0..<1_000 {
            let skips = round % 2 == 0
            let ids = (0..<Int.random(in: 0...20, using: &generator)).map { _ in
                switch Int.random(in: 0...9, using: &generator) {
                case 0: Int.random(in: -5...200_000, using: &generator)
                case 1: tokenizer.vocabularyCount - Int.random(in: 1...5, using: &generator)
                case 2, 3: Int.random(in: 0...260, using: &generator)
                default: known.randomElement(using: &generator) ?? 0
                }
            }
            var stream = StreamingDetokenizer(tokenizer, skipSpecialTokens: skips)
            var pieces = ids.map { stream.append($0) }
            pieces.append(stream.finish())
            let joined = pieces.flatMap { Array($0.utf8) }
            #expect(joined == Array(tokenizer.decode(ids, skipSpecialTokens: skips).utf8), "\(ids)")
            #expect(stream.finish() == "")
        }
    }

    @Test("holds an emoji back until its last byte, then hands it out whole")
    func emoji() throws {
        let tokenizer = try TokenizerFixture.tokenizer("qwen2")
        var stream = StreamingDetokenizer(tokenizer)
        let pieces = "a🐼b".utf8.map { stream.append(Int(tokenizer.byteSymbols[Int($0)])) }
        #expect(pieces == ["a", "", "", "", "🐼", "b"])
        #expect(stream.finish() == "")
    }
}
