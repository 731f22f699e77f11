import Foundation
import StructuredOutput
import Tokenization

/// Times what holding an answer to a format adds to each of its tokens: finding those that may come, masking the scores
/// of all others, and taking the chosen one.
struct FormatBench {
    let trie: TokenTrie
    let repeats: Int

    static let ways: [(name: String, format: AnswerFormat)] = [
        ("JSON object", .jsonObject),
        (
            "JSON schema",
            .jsonSchema(
                #"""
                {"type": "object", "properties": {
                    "title": {"type": "string"}, "count": {"type": "integer", "minimum": 0, "maximum": 100},
                    "confidence": {"type": "number", "minimum": 0, "maximum": 1},
                    "kind": {"enum": ["animal", "plant", "thing"]},
                    "caption": {"type": "string", "maxLength": 120},
                    "colours": {"type": "array", "items": {"type": "string"}, "maxItems": 4}},
                 "required": ["title", "count", "confidence", "kind", "caption", "colours"],
                 "additionalProperties": false}
                """#)
        ),
        ("choice of 2", .choice(["yes", "no"])), ("regex .{0,500}", .regularExpression(".{0,500}")),
        ("regex [a-z ]{1,300}", .regularExpression("[a-z ]{1,300}")),
    ]

    /// Seconds of each token.
    func seconds(_ format: AnswerFormat) throws -> [Double] {
        let compiled = try CompiledFormat(format, trie)
        var state: UInt64 = 1
        var constraint = AnswerConstraint(compiled, ends: [])
        let clock = ContinuousClock()
        var left = Self.longestAnswer
        return try (0..<repeats).map { _ in
            if constraint.isComplete || left == 0 {
                constraint = AnswerConstraint(compiled, ends: [])
                left = Self.longestAnswer
            }
            left -= 1
            var scores = (0..<trie.idCount).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Float(state >> 40) * 0x3p-24
            }
            let start = clock.now
            try scores.withUnsafeMutableBufferPointer { try constraint.restrict($0) }
            let masked = clock.now
            let best = scores.indices.max { scores[$0] < scores[$1] } ?? 0
            let chosen = clock.now
            _ = constraint.accept(best, remaining: left)
            return ((masked - start) + (clock.now - chosen)) / .seconds(1)
        }
    }

    private static let longestAnswer = 64

    /// Tokens of a byte-level vocabulary's lengths, for models without one: bytes, then words of letters, most behind a
    /// space, and a tenth in other scripts.
    static func madeUpVocabulary(_ count: Int) -> TokenTrie {
        var state: UInt64 = 7
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(truncatingIfNeeded: (state >> 33) % UInt64(bound))
        }
        return TokenTrie(count: count) { id in
            if id < 256 { return [UInt8(truncatingIfNeeded: id)] }
            let isForeign = random(10) == 0
            var text = random(10) < 6 ? " " : ""
            for _ in 0..<2 + random(3) + random(4) + random(4) {
                let scalar = isForeign ? 0x4E00 + random(3000) : 0x61 + random(26)
                text.unicodeScalars.append(Unicode.Scalar(UInt32(scalar)) ?? " ")
            }
            return Array(text.utf8)
        }
    }
}
