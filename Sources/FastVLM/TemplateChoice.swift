internal import Checkpoints
internal import Generation
internal import Tokenization

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Which conversation template a checkpoint is asked with, and why that is worth a remark.
struct TemplateChoice {
    var template: ChatTemplate
    var remarks: [String] = []

    /// The caller's template, else the checkpoint's chat template, else its `conversation_template`, else the one that
    /// fits the tokenizer.
    /// - Parameter name: what the caller asks for
    /// - Throws: `GenerationError` for a name that does not exist, `FastVLMError` of kind `model`
    static func choose(
        named name: String?, configuration: ModelConfiguration, tokenizer: Tokenizer, directory: URL
    ) throws -> TemplateChoice {
        var choice = try find(
            named: name, configuration: configuration, tokenizer: tokenizer, directory: directory)
        choice.remarks += try choice.template.tokensWithoutRow(configuration, tokenizer)
        return choice
    }

    private static func find(
        named name: String?, configuration: ModelConfiguration, tokenizer: Tokenizer, directory: URL
    ) throws -> TemplateChoice {
        if let name { return TemplateChoice(template: try ChatTemplate(named: name)) }
        let stored = try StoredChatTemplate.find(in: directory)
        let fallback = try fallback(configuration, tokenizer)
        guard let stored else { return try fallback.checked(tokenizer) }
        var choice = fallback
        switch ChatTemplate.recognize(stored.source, tokens: stored.tokens) {
        case .unknown(let reason):
            choice.remarks = [
                "\(stored.file): the chat template is none that fastvlm knows (\(reason)); it uses "
                    + "\(fallback.template.name) instead. Choose another with --template: \(names)"
            ]
        case .known(let template):
            // Apple's script never looks at the chat template, which is left over from the language model.
            if configuration.modelType == "llava_qwen2" {
                choice = TemplateChoice(template: .qwen2)
                if template != .qwen2 {
                    choice.remarks.append(
                        "\(stored.file): the chat template is \(template.name)\(Self.prompt(template)), but models of "
                            + "this kind were trained with qwen_2, which fastvlm uses; --template chooses another"
                    )
                }
            } else {
                choice = TemplateChoice(template: template)
                if let named = configuration.conversationTemplate, named != template.name {
                    choice.remarks.append(
                        "\(stored.file): the chat template is \(template.name), config.json names \(named); "
                            + "fastvlm uses the chat template. --template chooses another")
                }
            }
        }
        return try choice.checked(tokenizer)
    }

    private static var names: String { ChatTemplate.all.map(\.name).joined(separator: ", ") }

    private static func prompt(_ template: ChatTemplate) -> String {
        ChatTemplate.all.contains(template)
            ? "" : template.defaultSystemPrompt.map { " with the system prompt \"\($0.prefix(80))\"" } ?? ""
    }

    /// Without a chat template: what config.json names, else what fits the tokenizer.
    private static func fallback(
        _ configuration: ModelConfiguration, _ tokenizer: Tokenizer
    ) throws -> TemplateChoice {
        if let name = configuration.conversationTemplate {
            do {
                return TemplateChoice(template: try ChatTemplate(named: name))
            } catch {
                throw FastVLMError(.checkpoint, "config.json, conversation_template: \(error)")
            }
        }
        if tokenizer.id(of: "<|im_start|>") != nil { return TemplateChoice(template: .qwen2) }
        let template: ChatTemplate =
            configuration.text.kind == .mistral
            ? .mistral : tokenizer.id(of: "<|start_header_id|>") != nil ? .llama3 : .vicuna1
        return TemplateChoice(
            template: template,
            remarks: [
                "no file of the checkpoint names its conversation template; fastvlm uses \(template.name), which fits "
                    + "the tokenizer and the decoder. Choose another with --template: \(names)"
            ])
    }

    /// A template whose tokens the tokenizer lacks is the checkpoint's fault, found at load.
    private func checked(_ tokenizer: Tokenizer) throws -> TemplateChoice {
        for token in template.specialTokens where tokenizer.id(of: token) == nil {
            throw FastVLMError(
                .checkpoint,
                "the conversation template \(template.name) of the checkpoint needs the token \(token), which its "
                    + "tokenizer does not have; choose another template with --template, or check the tokenizer's files"
            )
        }
        return self
    }
}

extension ChatTemplate {
    /// Added tokens whose ids lie beyond the embedding table, such as the `<pad>` of old Vicunas: harmless, and told, unless
    /// prompts hold them.
    /// - Throws: `FastVLMError` of kind `model` where they do.
    fileprivate func tokensWithoutRow(
        _ configuration: ModelConfiguration, _ tokenizer: Tokenizer
    ) throws -> [String] {
        let rows = configuration.text.vocabularySize
        let found = tokenizer.addedTokens(from: rows)
        guard !found.isEmpty else { return [] }
        let table = "the embedding table has rows 0 to \(rows - 1)"
        if let needed = found.first(where: {
            specialTokens.contains($0.content) || $0.id == tokenizer.beginningOfSequence
        }) {
            throw FastVLMError(
                .checkpoint,
                "\(name) prompts need the token \(needed.content), whose id is \(needed.id), but \(table): the "
                    + "tokenizer is another model's; fetch its files again")
        }
        let names = found.prefix(3).map { "\($0.content) (\($0.id))" }.joined(separator: ", ")
        let more = found.count > 3 ? " and \(found.count - 3) more" : ""
        return ["the tokenizer's \(names)\(more) cannot be used: \(table); no prompt needs them"]
    }
}
