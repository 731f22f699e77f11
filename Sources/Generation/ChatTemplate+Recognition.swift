/// Finding the template that a checkpoint's Jinja source stands for, by what it renders.
extension ChatTemplate {
    package enum Recognition: Sendable, Equatable {
        case known(ChatTemplate)
        /// - Parameter reason: completes "it is none that … knows: "
        case unknown(reason: String)
    }

    /// Renders probe conversations of one to three turns, with and without system prompt, and compares them with every
    /// format. A format that fits with another default system prompt takes that one.
    /// - Parameters:
    ///   - source: in Jinja
    ///   - tokens: the texts of `bos_token`, `eos_token` and so on, where the tokenizer has them
    package static func recognize(_ source: String, tokens: [String: String]) -> Recognition {
        do throws(JinjaTemplate.Failure) {
            let template = try JinjaTemplate(source)
            var failure: JinjaTemplate.Failure?
            var rendersOther = false
            for usesParts in [false, true] {
                do throws(JinjaTemplate.Failure) {
                    let probe = try Probe(template, tokens: tokens, usesParts: usesParts)
                    for format in TurnFormat.all {
                        if let found = probe.template(with: format) { return .known(found) }
                    }
                    rendersOther = true
                } catch {
                    failure = failure ?? error
                }
            }
            if let failure, !rendersOther { throw failure }
            return .unknown(reason: "it renders another format")
        } catch {
            return .unknown(reason: error.reason)
        }
    }

    /// The template of a format and a system prompt, by its name where it has one.
    fileprivate static func named(_ format: TurnFormat, trims: Bool, system: String?) -> ChatTemplate {
        let family = all.filter { $0.format == format }
        var changed = format
        changed.trims = trims
        if trims == format.trims, let known = family.first(where: { $0.defaultSystemPrompt == system }) {
            return known
        }
        let name = family.first { $0.defaultSystemPrompt == nil }?.name ?? family.first?.name ?? ""
        return ChatTemplate(name, changed, system: system)
    }
}

/// What a template renders of the probe conversations.
private struct Probe {
    private static let system = "Zeta eta."
    private static let question = "Alpha beta?"
    private static let first = [Message(.user, question)]
    private static let later = [
        Message(.user, question), Message(.assistant, "Gamma delta."), Message(.user, "Epsilon?"),
        Message(.assistant, "Theta."), Message(.user, "Iota kappa?"),
    ]
    private static let spaced = [Message(.user, "  \(question) \n")]

    private let firstText: String
    private let laterText: String
    /// Nil where the template refuses a system turn.
    private let systemText: String?
    private let spacedText: String

    init(
        _ template: JinjaTemplate, tokens: [String: String], usesParts: Bool
    ) throws(JinjaTemplate.Failure) {
        var variables: [String: JinjaValue] = [
            "add_generation_prompt": .bool(true), "tools": .none, "documents": .none,
        ]
        for (name, text) in tokens { variables[name] = .string(text) }
        func rendered(_ messages: [Message]) throws(JinjaTemplate.Failure) -> String {
            variables["messages"] = .list(messages.map { Self.value($0, usesParts: usesParts) })
            return try JinjaRenderer.render(template, variables)
        }
        firstText = try rendered(Self.first)
        laterText = try rendered(Self.later)
        spacedText = try rendered(Self.spaced)
        do {
            systemText = try rendered([Message(.system, Self.system)] + Self.later)
        } catch .raised {
            systemText = nil
        }
    }

    private static func value(_ message: Message, usesParts: Bool) -> JinjaValue {
        var text = ""
        for case .text(let part) in message.content { text += part }
        let content: JinjaValue =
            usesParts
            ? .list([.object([("type", .string("text")), ("text", .string(text))])]) : .string(text)
        return .object([("role", .string(message.role.rawValue)), ("content", content)])
    }

    /// The template of this format that renders the same, or nil.
    func template(with format: TurnFormat) -> ChatTemplate? {
        for system in systems(format) {
            for trims in [format.trims, !format.trims] {
                let template = ChatTemplate.named(format, trims: trims, system: system)
                if agrees(template, Self.later, laterText), agrees(template, Self.first, firstText),
                    agrees(template, Self.spaced, spacedText),
                    systemText.map({ agrees(template, [Message(.system, Self.system)] + Self.later, $0) })
                        ?? true
                {
                    return template
                }
            }
        }
        return nil
    }

    /// The default system prompts that the rendered first turn allows for.
    private func systems(_ format: TurnFormat) -> [String?] {
        let mark = "\u{1}"
        let marked = ChatTemplate("", format, system: mark)
        let parts =
            Self.text(marked, Self.first)?.split(separator: mark, omittingEmptySubsequences: false) ?? []
        guard parts.count == 2, firstText.utf8.count >= parts[0].utf8.count + parts[1].utf8.count,
            firstText.utf8.starts(with: parts[0].utf8),
            firstText.utf8.reversed().starts(with: parts[1].utf8.reversed())
        else { return [nil] }
        let system = firstText.utf8.dropFirst(parts[0].utf8.count).dropLast(parts[1].utf8.count)
        return [nil, String(system)]
    }

    private func agrees(_ template: ChatTemplate, _ messages: [Message], _ text: String) -> Bool {
        guard let rendered = Self.text(template, messages) else { return false }
        if rendered.utf8.elementsEqual(text.utf8) { return true }
        // The tokenizer puts the first token where the template does not.
        let opening = Self.flat(template.format.opening)
        return !opening.isEmpty && rendered.utf8.elementsEqual((opening + text).utf8)
    }

    private static func text(_ template: ChatTemplate, _ messages: [Message]) -> String? {
        (try? template.render(messages)).map(flat)
    }

    private static func flat(_ pieces: [ChatTemplate.Piece]) -> String {
        pieces.map { piece in
            switch piece {
            case .special(let text), .text(let text): text
            case .image: ""
            }
        }.joined()
    }
}
