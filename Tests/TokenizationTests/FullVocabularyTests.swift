import Foundation
import Testing

@testable import Tokenization

/// Runs only where Tools/reference/tokenizer_fixtures.py has put the real vocabulary (it is too large to commit).
struct FullVocabularyTests {
    @Test(
        "the real vocabulary gives the same ids as tokenizers on 55,400 strings",
        .enabled(if: TokenizerFixture.downloads("qwen2") != nil),
        arguments: ["qwen2", "qwen2-pairs", "qwen2-files"])
    func everyCase(folder: String) throws {
        let clock = ContinuousClock()
        let started = clock.now
        let directory = try #require(TokenizerFixture.downloads(folder))
        let tokenizer = try Tokenizer(directory: directory)
        print("\(folder): loaded in \(clock.now - started)")
        let data = try Data(contentsOf: try #require(TokenizerFixture.downloads("qwen2/cases.json")))
        var cases = try JSONDecoder().decode([EncodingCase].self, from: data)
        if folder == "qwen2-files" { cases.removeAll { $0.text.contains("<tool_call>") } }
        try check(cases, tokenizer, skipDecoding: true)
        for testCase in cases { #expect(tokenizer.decode(testCase.ids).utf8.allSatisfy { $0 != 0xFF }) }
    }
}
