package import Foundation

/// Tests/Fixtures/tokenizer/families.json, made by Tools/reference/tokenizer_families.py.
package struct TokenizerFamilies: Decodable, Sendable {
    package struct Conversation: Decodable, Sendable {
        package let template: String
        package let text: String
        package let ids: [Int]
    }

    package struct Family: Decodable, Sendable {
        package let name: String
        /// Which of `models`.
        package let model: String
        package let ignoresMerges: Bool
        /// tokenizer.json without its model.
        package let document: String
        /// Of each of the strings.
        package let ids: [[Int]]
        package let conversations: [Conversation]
    }

    /// Texts in JSON by name.
    package let models: [String: String]
    package let strings: [String]
    package let families: [Family]

    package static func load() throws -> TokenizerFamilies {
        try JSONDecoder().decode(TokenizerFamilies.self, from: Fixture.data("tokenizer/families.json"))
    }

    /// The whole tokenizer.json of a family.
    package func tokenizerJSON(_ family: Family) -> Data {
        let model = (models[family.model] ?? "").replacingOccurrences(
            of: "\"ignore_merges\":false", with: "\"ignore_merges\":\(family.ignoresMerges)")
        return Data((family.document.dropLast() + ",\"model\":" + model + "}").utf8)
    }
}
