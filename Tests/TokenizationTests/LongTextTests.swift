import Foundation
import TestSupport
import Testing

@testable import Tokenization

/// A megabyte of the worst kinds of text. What is quadratic in a text's length takes minutes here, so before the
/// megabyte each test measures how the time grows: 16 times the text must not take 100 times as long.
struct LongTextTests {
    /// 2 to 32 KiB.
    private static func expectNotQuadratic(_ unit: String, _ work: (String) -> Void) throws {
        let times = growth(by: 16, from: 2 << 10) { bytes in
            work(String(repeating: unit, count: bytes / unit.utf8.count))
        }
        try #require(times < 100, "16 times the text takes \(times) times as long")
    }

    static let kinds: [String: String] = [
        "one letter": "a", "spaces": " ", "emoji": "👩‍👩‍👧", "marks of one class": "\u{301}",
        "marks of several classes": "\u{301}\u{316}\u{327}", "decomposed letters": "e\u{301}",
        "line breaks and spaces": " \n", "digits": "7", "punctuation": "=", "random words": "the quick 你好 ",
        "Hangul jamo": "\u{1100}\u{1161}\u{11A8}", "special tokens": "<|im_start|>",
        "almost special": "<|im_star",
        "apostrophes": "'", "spaces then letter": "                                a",
    ]

    @Test("encodes and decodes a megabyte of anything", arguments: kinds.keys.sorted())
    func megabyte(kind: String) throws {
        let tokenizer = try TokenizerFixture.tokenizer("qwen2")
        let unit = try #require(Self.kinds[kind])
        try Self.expectNotQuadratic(unit) {
            let ids = tokenizer.encode($0)
            _ = tokenizer.decode(ids, skipSpecialTokens: false)
        }
        let text = String(repeating: unit, count: (1 << 20) / unit.utf8.count)
        let ids = tokenizer.encode(text)
        let decoded = tokenizer.decode(ids, skipSpecialTokens: false)
        #expect(decoded.utf8.count > 100_000)
        if CanonicalCompositionTests.isUnchanged(text) { #expect(decoded.utf8.elementsEqual(text.utf8)) }
    }

    @Test("streams a megabyte of characters of three tokens each")
    func longStream() throws {
        let tokenizer = try TokenizerFixture.tokenizer("qwen2")
        func streamed(_ text: String) -> Int {
            var stream = StreamingDetokenizer(tokenizer)
            var count = 0
            for byte in text.utf8 {
                count += stream.append(Int(tokenizer.byteSymbols[Int(byte)])).utf8.count
            }
            #expect(stream.finish().isEmpty)
            return count
        }
        try Self.expectNotQuadratic("你") { _ = streamed($0) }
        let text = String(repeating: "你", count: (1 << 20) / 3)
        #expect(streamed(text) == text.utf8.count)
    }

    @Test("encodes a quarter megabyte as one SentencePiece word")
    func sentencePiece() throws {
        let tokenizer = try TokenizerFixture.tokenizer("llama-legacy")
        for unit in ["a", " ", "hello world ", "🐼"] {
            try Self.expectNotQuadratic(unit) { _ = tokenizer.decode(tokenizer.encode($0)) }
            let text = String(repeating: unit, count: (1 << 18) / unit.utf8.count)
            let ids = tokenizer.encode(text)
            #expect(tokenizer.decode(ids).utf8.elementsEqual(text.utf8))
        }
    }

    @Test("long words merge to the same tokens by heap as by scanning")
    func heapEqualsScan() throws {
        let tokenizer = try TokenizerFixture.tokenizer("qwen2")
        var generator = SeededGenerator()
        for _ in 0..<300 {
            let letters = Array("etaoinshrdlu".utf8)
            let word = (0..<Int.random(in: 41...120, using: &generator)).map { _ in
                letters.randomElement(using: &generator) ?? 0
            }
            var scratch = BytePairMerger.Scratch()
            scratch.symbols = word.map { tokenizer.byteSymbols[Int($0)] }
            let symbols = scratch.symbols
            var long: [Int] = []
            tokenizer.merger.mergeLong(&scratch, into: &long)
            scratch.symbols = symbols
            tokenizer.merger.mergeShort(&scratch)
            #expect(long == scratch.symbols.map { Int($0) })
        }
    }
}
