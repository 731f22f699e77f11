import Foundation
import TestSupport
import Testing

/// `fastvlm logits`, which comparisons with other programs drive.
@Suite("Scores of given ids on the command line")
struct LogitsTests {
    private struct Expected: Decodable {
        struct Case: Decodable {
            var images: [Int]
            var ids: [Int]
            var greedy: [Int]
        }
        var vocabularyRows: Int
        /// transformers was allowed tokens below it only.
        var greedyLimit: Int
        var cases: [Case]
    }

    private static func run(_ lines: [String]) throws -> Outcome {
        try Program.run(
            ["logits", "--model", Fixture.url("models/tiny-llama").path, "--precision", "float32"],
            input: Data((lines.joined(separator: "\n") + "\n").utf8))
    }

    /// Scores of `ids`, row by row.
    private static func scores(_ ids: [Int], vocabulary: Int) throws -> [[Float]] {
        let outcome = try run(["{\"ids\": \(ids)}"])
        try #require(outcome.status == 0, "\(outcome.errors)")
        let start = try #require(outcome.output.firstIndex(of: UInt8(ascii: "\n"))) + 1
        let ready = try JSONSerialization.jsonObject(with: outcome.output[..<start]) as? [String: Any]
        #expect(ready?["vocabulary"] as? Int == vocabulary)
        let body = Array(outcome.output[start...])
        try #require(body.count == ids.count * vocabulary * 4)
        let values = body.withUnsafeBytes { bytes in
            (0..<ids.count * vocabulary).map {
                Float(
                    bitPattern: UInt32(
                        littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
            }
        }
        return (0..<ids.count).map { Array(values[$0 * vocabulary..<($0 + 1) * vocabulary]) }
    }

    private static func likeliest(_ scores: ArraySlice<Float>) -> Int {
        scores.indices.reduce(0) { scores[$1] > scores[$0] ? $1 : $0 }
    }

    @Test("After every id the likeliest next one is transformers'; an answer is what the scores say")
    func agreement() throws {
        let expected = try JSONDecoder().decode(
            Expected.self, from: Data(contentsOf: Fixture.url("models/tiny-llama.expected.json")))
        let text = try #require(expected.cases.first { $0.images.isEmpty })
        // More ids than go through the decoder at once, so that the scores come in parts.
        let filler = Array(repeating: text.ids, count: 6).flatMap { $0 }
        let vocabulary = expected.vocabularyRows
        let forced = try Self.scores(text.ids + text.greedy, vocabulary: vocabulary)
        for (index, id) in text.greedy.enumerated() {
            let row = forced[text.ids.count + index - 1]
            #expect(Self.likeliest(row[..<expected.greedyLimit]) == id, "token \(index)")
        }
        let long = filler + text.ids
        let reply = try Self.run(["{\"ids\": \(long), \"tokens\": 9}"])
        let answer = try #require(reply.object(1)["ids"] as? [Int])
        #expect(answer.count == 9)
        let rows = try Self.scores(long + answer, vocabulary: vocabulary)
        for (index, id) in answer.enumerated() {
            #expect(Self.likeliest(rows[long.count + index - 1][...]) == id, "token \(index)")
        }
    }

    @Test(
        "What no sequence can be ends in 64 and a sentence",
        arguments: [
            ("[1]", "no object with \"ids\""), ("{\"ids\": []}", "at least one"),
            ("{\"ids\": [320]}", "0 to 319"), ("{\"ids\": [-1]}", "0 to 319"),
            ("{\"ids\": [1], \"tokens\": 0}", "tokens must be"),
            ("{\"ids\": [1], \"tokens\": 99999}", "positions"),
        ])
    func errors(line: String, sentence: String) throws {
        let outcome = try Self.run([line])
        #expect(outcome.status == 64)
        #expect(outcome.errors.contains(sentence), "\(outcome.errors)")
    }
}
