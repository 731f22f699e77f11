import CheckpointFiles
import StrictJSON
import SystemFiles

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// The chat template that a checkpoint folder brings along, in Jinja.
package struct StoredChatTemplate: Sendable, Equatable {
    /// The file that it stands in.
    package let file: String
    package let source: String
    /// Texts of the special tokens that it may name: `bos_token`, `eos_token`, ….
    package let tokens: [String: String]

    /// Looks into chat_template.json, chat_template.jinja and tokenizer_config.json, in transformers' order.
    /// - Throws: `TokenizationError` for a file that is not what its name says
    /// - Returns: nil where no file has one
    package static func find(in directory: URL) throws(TokenizationError) -> StoredChatTemplate? {
        let folder = TokenizerFolder(url: directory)
        let configuration = try folder.fields("tokenizer_config.json")
        let tokens = try specialTokens([try folder.fields("special_tokens_map.json"), configuration])
        if let processor = try folder.fields("chat_template.json"),
            let source = try defaultTemplate(processor, "chat_template")
        {
            return StoredChatTemplate(file: processor.file, source: source, tokens: tokens)
        }
        if try folder.holds("chat_template.jinja") {
            let url = directory.appending(path: "chat_template.jinja")
            let data = try TokenizerDefinition.contents(url, expected: .text)
            guard let source = String(validating: data, as: UTF8.self) else {
                throw .unreadable(file: url.path, reason: "it is not UTF-8 text")
            }
            return StoredChatTemplate(file: url.path, source: source, tokens: tokens)
        }
        guard let configuration, let source = try defaultTemplate(configuration, "chat_template") else {
            return nil
        }
        return StoredChatTemplate(file: configuration.file, source: source, tokens: tokens)
    }

    /// A text, or the template named `default` of a list or object of named ones.
    private static func defaultTemplate(
        _ fields: JSONFields, _ key: String
    ) throws(TokenizationError) -> String? {
        switch fields.value(key) {
        case nil: return nil
        case .string(let source)?: return source
        case .object?: return try fields.object(key)?.string("default")
        case .array?:
            for template in try fields.objects(key) ?? [] {
                if try template.requiredString("name") == "default" {
                    return try template.requiredString("template")
                }
            }
            return nil
        case let other?: throw fields.wrong(key, expected: "a text, or named texts", got: other.summary)
        }
    }

    /// - Parameter files: the later wins
    private static func specialTokens(_ files: [JSONFields?]) throws(TokenizationError) -> [String: String] {
        var result: [String: String] = [:]
        for fields in files.compactMap({ $0 }) {
            for key in TokenizerDefinition.attributes {
                switch fields.value(key) {
                case .string(let text)?: result[key] = text
                case .object?: result[key] = try fields.object(key)?.requiredString("content")
                default: continue
                }
            }
        }
        return result
    }
}
