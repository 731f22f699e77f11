import Foundation
import TestSupport
import Testing

@testable import StructuredOutput
@testable import Tokenization

@Suite("Formats of answers, token by token")
struct GrammarTests {
    @Test("The tokens that may follow are those whose bytes lead on, one by one")
    func masksEqualSlowAcceptance() throws {
        var random = SeededGenerator()
        let trie = Vocabulary.small
        let formats: [AnswerFormat] = [
            .jsonObject, .jsonSchema(#"{"type":"string"}"#), .jsonSchema(#"{"type":"string","maxLength":9}"#),
            .jsonSchema(
                #"{"type":"object","properties":{"a":{"type":"number"},"name":{"type":"string","minLength":3}}}"#
            ),
            .jsonSchema(#"{"type":"string","pattern":"[a-z😀-🙏]{2}$"}"#), .regularExpression(".{0,12}"),
            .regularExpression(#"(\w+ )*[^a"]+\n?"#), .regularExpression("[^é]*x"),
            .choice(["abc", "ab", "日本語", "日本"]),
        ]
        for format in formats {
            let compiled = try CompiledFormat(format, trie)
            for _ in 0..<12 {
                var constraint = AnswerConstraint(compiled, ends: [Vocabulary.end])
                for _ in 0..<10 where !constraint.isComplete {
                    let mask = constraint.allowed()
                    var slow = TokenMask(count: trie.idCount)
                    for id in 0..<trie.idCount {
                        var copy = constraint
                        let bytes = try #require(trie.bytes(of: id))
                        if bytes.allSatisfy({ copy.accept(Int($0), remaining: .max) }) { slow.insert(id) }
                    }
                    #expect(mask == slow, "\(format)")
                    let ids = (0..<trie.idCount).filter(mask.contains)
                    // The rare ones as often as text.
                    let long = ids.filter { $0 >= 256 }
                    let some = long.isEmpty || Bool.random(using: &random) ? ids : long
                    guard let id = some.randomElement(using: &random) else { break }
                    let isTaken = constraint.accept(id, remaining: .max)
                    #expect(isTaken)
                }
            }
        }
    }

    @Test(
        "Random expressions of finite languages: every beginning allows what some match goes on with, and nothing else"
    )
    func expressionsAgainstEnumeration() throws {
        var random = SeededGenerator()
        let tokens = ["a", "b", "c", "ab", "ba", "bb", "abc", "ca", "aab"].map { Array($0.utf8) }
        let trie = TokenTrie(count: tokens.count) { tokens[$0] }
        let words = (0...6).reduce(into: [[""]]) { all, _ in
            all.append((all.last ?? []).flatMap { word in ["a", "b", "c"].map { word + $0 } })
        }.prefix(7).flatMap { $0 }
        for _ in 0..<120 {
            let pattern = Self.expression(2, &random)
            let matcher = try NSRegularExpression(pattern: "^(?:\(pattern))$")
            let language = words.filter {
                matcher.firstMatch(in: $0, range: NSRange($0.startIndex..., in: $0)) != nil
            }
            guard language.contains(where: { !$0.isEmpty }) else { continue }
            let beginnings = Set(
                language.flatMap { word in (0...word.count).map { String(word.prefix($0)) } })
            let format = try CompiledFormat(.regularExpression(pattern), trie)
            let shortest = try #require(language.map(\.count).min())
            #expect(format.shortestAnswer <= shortest)
            for word in beginnings {
                var constraint = AnswerConstraint(format, ends: [Vocabulary.end])
                for byte in word.utf8 {
                    let isTaken = constraint.accept(Int(byte - 0x61), remaining: .max)
                    #expect(isTaken, "\(pattern): \(word)")
                }
                #expect(constraint.isAccepting == language.contains(word), "\(pattern): \(word)")
                let mask = constraint.allowed()
                for (id, token) in tokens.enumerated() {
                    let next = word + String(decoding: token, as: UTF8.self)
                    #expect(mask.contains(id) == beginnings.contains(next), "\(pattern): \(next)")
                }
            }
        }
    }

    /// Of at most six characters.
    private static func expression(_ depth: Int, _ random: inout SeededGenerator) -> String {
        func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
        let atoms = [
            "a", "b", "c", "[ab]", "[^ab]", "(?:a|)", "a?", "b{2}", "(?:ab)?", "[b-c]{0,1}", "\\x61",
            "(c|ab)",
        ]
        if depth == 0 {
            return atoms[number(0...atoms.count - 1)].replacingOccurrences(of: "[^ab]", with: "[c]")
        }
        let parts = (0..<number(1...2)).map { _ in expression(0, &random) }
        let rest = (0..<1).map { _ in expression(depth - 1, &random) }
        return Bool.random(using: &random)
            ? "(?:\(parts.joined()))|\(rest[0])" : "\(parts[0])(?:\(rest[0]))\(["", "?"][number(0...1)])"
    }

    @Test("Expressions mean what they mean elsewhere")
    func expressions() throws {
        let texts = [
            "", "a", "b", "ab", "aa", "aaa", "A1_", "-", "]", "\\", "^", "$", ".", "x\ny", "é", "日本", "😀",
            "\t", " ",
            "{", "}", "a-z", "12", "123", "1234", "a|b", "\u{2028}", "\r", "0x", "/", "ÿ", "\u{7FF}",
            "\u{800}", "\u{FFFF}",
        ]
        let patterns = [
            "a*", "(a*)*", "(a|b)*", "a+?", "a{2,}", "a{0,2}", #"\d{2,3}"#, #"\w+"#, #"\W"#, #"\s"#, #"\S+"#,
            #"\D*"#, ".",
            ".*", "[^a]", "[^a-z]+", #"[\]]"#, #"[\\^$.|]"#, #"\^|\$|\."#, "[a-]", "[-a]+", #"[\d-]+"#,
            #"\u00e9"#, "é|日本",
            #"\x7b|\}"#, "(?:ab|a)b?", "(?<x>a)b", #"a\|b"#, "[À-ÿ]", "[\u{7FF}-\u{FFFF}]", "^a$", "^a|b$",
            "()|a", #"\/"#,
            "[😀-😂]", #"[\s\S]*"#, "(a?b?){0,3}",
        ]
        for pattern in patterns {
            let matcher = try NSRegularExpression(pattern: "^(?:\(pattern))\\z")
            let format = try CompiledFormat(.regularExpression(pattern), Vocabulary.small)
            // In ECMAScript \w is ASCII's alone.
            for text in texts
            where !pattern.lowercased().contains("\\w") || text.utf8.allSatisfy({ $0 < 0x80 }) {
                let range = NSRange(text.startIndex..., in: text)
                let expected =
                    matcher.firstMatch(in: text, options: .withTransparentBounds, range: range) != nil
                // ICU also counts U+0085 and U+000B among line breaks, which are not among the texts.
                #expect(format.takes(text) == expected, "\(pattern) on \(text.debugDescription)")
            }
        }
        let refused = [
            "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", #"(a)\1"#, #"\bx"#, #"\p{L}"#, "a**", "*a", "(a", "a)",
            "[a", "a{2", "a{3,2}",
            "[z-a]", "a{99999}", #"\"#, #"\k<x>"#, "(?i)a", "a(^b)", "a$b", #"\ud800"#, #"\xg1"#, #"\q"#,
            "x{", "(?<n",
        ]
        for pattern in refused {
            #expect(throws: StructuredOutputError.self, "\(pattern)") {
                try CompiledFormat(.regularExpression(pattern), Vocabulary.small)
            }
        }
        // Nothing but the empty text, or nothing at all.
        for pattern in ["", "()*", "[]", "a[]"] {
            #expect(throws: StructuredOutputError.unsatisfiable) {
                try CompiledFormat(.regularExpression(pattern), Vocabulary.small)
            }
        }
    }

    @Test("Hostile expressions take bounded work")
    func hostileExpressions() throws {
        let refused = [
            "((a{1000}){1000}){1000}", "((a{0,1000}){0,1000}){0,1000}", "(a|b)*a(a|b){50}",
            String(repeating: "(", count: 5000) + "a" + String(repeating: ")", count: 5000),
            String(repeating: "a|", count: 50_000), "(.{0,9999}){0,9999}",
        ]
        for pattern in refused {
            #expect(throws: StructuredOutputError.self, "\(pattern.prefix(40))") {
                try CompiledFormat(.regularExpression(pattern), Vocabulary.small)
            }
        }
        for pattern in [
            "((a*)*)*b", "(a?){200}a{200}", "(((){10000}){10000}){10000}x", "(x+x+)+y", "(.*)*(.*)*z",
        ] {
            let format = try CompiledFormat(.regularExpression(pattern), Vocabulary.small)
            var random = SeededGenerator(pattern)
            let walk = try Walk(format, limit: format.shortestAnswer + 20, &random)
            #expect(format.takes(String(decoding: walk.text, as: UTF8.self)))
        }
    }

    @Test("Choices are taken whole, also where one begins with another")
    func choices() throws {
        var random = SeededGenerator()
        let choices = ["yes", "yes!", "no", "né", "日本", "a\"b\\"]
        let format = try CompiledFormat(.choice(choices), Vocabulary.small)
        var seen = Set<String>()
        for _ in 0..<200 {
            let walk = try Walk(format, limit: 12, &random)
            seen.insert(String(decoding: walk.text, as: UTF8.self))
        }
        #expect(seen == Set(choices))
        for wrong in [
            [], ["a", ""], Array(repeating: "a", count: 5000), [String(repeating: "a", count: 70_000)],
        ] {
            #expect(throws: StructuredOutputError.self) {
                try CompiledFormat(.choice(wrong), Vocabulary.small)
            }
        }
    }

    @Test(
        "A vocabulary without a byte that every answer needs is an error, one that other tokens make up for is none"
    )
    func missingBytes() throws {
        func trie(_ tokens: [String]) -> TokenTrie {
            let bytes = tokens.map { Array($0.utf8) }
            return TokenTrie(count: bytes.count) { bytes[$0] }
        }
        #expect(throws: StructuredOutputError.noToken) {
            try CompiledFormat(.choice(["ab"]), trie(["a", "c", "abc"]))
        }
        let format = try CompiledFormat(.choice(["ab", "cb"]), trie(["a", "c", "ab"]))
        #expect(format.shortestAnswer == 1)
        // "c" leads on, but no token writes what must follow: it is not taken.
        var constraint = AnswerConstraint(format, ends: [])
        #expect(taken([1, 2], by: &constraint) == [false, true] && constraint.isComplete)
        // A token that ends answers writes no text.
        var other = AnswerConstraint(
            try CompiledFormat(.choice(["ab"]), trie(["a", "b", "ab"])), ends: [2])
        #expect(other.tokensToEnd == 2 && allowed(&other) == [0] && taken([2], by: &other) == [false])
    }

    /// Whether each token was taken, with room for some more.
    private func taken(_ ids: [Int], by constraint: inout AnswerConstraint) -> [Bool] {
        ids.map { constraint.accept($0, remaining: 9) }
    }

    private func allowed(_ constraint: inout AnswerConstraint) -> [Int] {
        let mask = constraint.allowed()
        return (0..<300).filter(mask.contains)
    }

    @Test("Spaces that decoding takes away at the beginning are not part of the answer")
    func strippedSpaces() throws {
        let tokens = ["a", " a", " ", "b", " b", "  a"].map { Array($0.utf8) }
        let trie = TokenTrie(count: tokens.count, strippedSpaces: 1) { tokens[$0] }
        var constraint = AnswerConstraint(try CompiledFormat(.choice(["a b"]), trie), ends: [])
        #expect(allowed(&constraint) == [0, 1] && taken([1], by: &constraint) == [true])
        // Only once.
        #expect(allowed(&constraint) == [2, 4] && taken([4], by: &constraint) == [true])
        #expect(constraint.isComplete)
        var spaced = AnswerConstraint(try CompiledFormat(.choice([" a"]), trie), ends: [])
        #expect(allowed(&spaced) == [5] && spaced.tokensToEnd == 1)
        #expect(taken([5], by: &spaced) == [true] && spaced.isComplete)
    }

    @Test("States are forgotten without a trace once there are many")
    func forgetting() throws {
        let grammar = try CompiledFormat(.jsonObject, Vocabulary.small).grammar
        var table = ConfigurationTable(grammar)
        var state = table.start
        let text = Array(#"{"a":[[{"b":[1,{"#.utf8)
        for byte in text { state = table.step(state, byte) }
        let cost = table.cost(state)
        for turn in 0..<3 {
            let moved = table.forget(but: state)
            #expect(
                table.cost(moved) == cost && table.shortestCompletion(of: moved) == Array("}]}]]}".utf8),
                "\(turn)")
            state = table.step(table.step(moved, 0x22), 0x22)
            #expect(state != ConfigurationTable.dead)
            state = moved
        }
    }

    @Test(
        "Formats can be stored and sent",
        arguments: [
            AnswerFormat.jsonObject, .jsonSchema(#"{"type":"null"}"#), .choice(["a", "b"]),
            .regularExpression("a+"),
        ])
    func coding(format: AnswerFormat) throws {
        let data = try JSONEncoder().encode([format])
        #expect(try JSONDecoder().decode([AnswerFormat].self, from: data) == [format])
        for wrong in [
            #"{}"#, #"{"jsonObject":false}"#, #"{"choice":["a"],"jsonObject":true}"#, #"{"grammar":"x"}"#,
        ] {
            #expect(throws: DecodingError.self) {
                try JSONDecoder().decode(AnswerFormat.self, from: Data(wrong.utf8))
            }
        }
    }
}
