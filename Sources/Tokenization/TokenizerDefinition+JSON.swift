import StrictJSON

/// Reading of Hugging Face's tokenizer.json.
extension TokenizerDefinition {
    /// - Parameters:
    ///   - document: the parsed file.
    ///   - file: its path, for errors.
    init(tokenizerJSON document: JSONValue, file: String) throws(TokenizationError) {
        let root = try JSONFields(document, file: file, path: "")
        guard let model = try root.object("model") else {
            throw root.wrong("model", expected: "an object", got: "nothing")
        }
        let type = try model.string("type") ?? "BPE"
        guard type == "BPE" else { throw model.unsupported("type", got: quoted(type), supported: "BPE") }
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            let affix = try model.string(key) ?? ""
            guard affix.isEmpty else { throw model.unsupported(key, got: quoted(affix), supported: "null") }
        }
        if let dropout = model.value("dropout"), dropout.double != 0 {
            throw model.unsupported("dropout", got: dropout.summary, supported: "null")
        }
        vocabularyFile = file
        mergesFile = file
        vocabulary = try Self.vocabulary(model)
        merges = try Self.merges(model)
        unknownToken = try model.string("unk_token")
        fusesUnknown = try model.bool("fuse_unk", default: false)
        fallsBackToBytes = try model.bool("byte_fallback", default: false)
        ignoresMerges = try model.bool("ignore_merges", default: false)
        addedTokens = try Self.addedTokens(root)
        normalizers = try Self.normalizers(try root.object("normalizer"))
        preTokenizer = try Self.preTokenizer(try root.object("pre_tokenizer"))
        decoder = try Self.decoder(root)
        beginningOfSequence = try Self.beginningOfSequence(try root.object("post_processor"))
    }

    private static func vocabulary(_ model: JSONFields) throws(TokenizationError) -> [(
        token: String, id: Int
    )] {
        guard let fields = try model.object("vocab") else {
            throw model.wrong("vocab", expected: "an object", got: "nothing")
        }
        return try tokensWithIDs(fields)
    }

    /// An object from token to id.
    static func tokensWithIDs(_ fields: JSONFields) throws(TokenizationError) -> [(token: String, id: Int)] {
        var result: [(token: String, id: Int)] = []
        result.reserveCapacity(fields.object.members.count)
        for member in fields.object.members {
            let id = try JSONFields.tokenID(member.value, file: fields.file, token: member.key)
            result.append((member.key, id))
        }
        return result
    }

    /// Both published forms: "a b" and ["a", "b"].
    private static func merges(_ model: JSONFields) throws(TokenizationError) -> [(
        left: String, right: String
    )] {
        guard let values = try model.array("merges") else {
            throw model.wrong("merges", expected: "an array", got: "nothing")
        }
        try checkMergeCount(values.count, file: model.file)
        var result: [(left: String, right: String)] = []
        result.reserveCapacity(values.count)
        for (index, value) in values.enumerated() {
            switch value {
            case .string(let text):
                result.append(try merge(Substring(text), index: index, file: model.file))
            case .array(let parts):
                guard parts.count == 2, case .string(let left) = parts[0], case .string(let right) = parts[1],
                    !left.isEmpty, !right.isEmpty
                else { throw .malformedMerge(file: model.file, merge: index, got: value.summary) }
                result.append((left, right))
            default: throw .malformedMerge(file: model.file, merge: index, got: value.summary)
            }
        }
        return result
    }

    static func checkMergeCount(_ count: Int, file: String) throws(TokenizationError) {
        guard count <= TokenizerLimits.merges else {
            throw .overLimit(
                file: file, what: "the number of merges", limit: TokenizerLimits.merges, got: "\(count)")
        }
    }

    /// A merge written "a b".
    static func merge(
        _ text: Substring, index: Int, file: String
    ) throws(TokenizationError) -> (left: String, right: String) {
        let bytes = text.utf8
        guard let space = bytes.firstIndex(of: 0x20), space != bytes.startIndex,
            bytes.index(after: space) != bytes.endIndex,
            !bytes[bytes.index(after: space)...].contains(0x20)
        else { throw .malformedMerge(file: file, merge: index, got: quoted(String(text))) }
        return (String(text[..<space]), String(text[bytes.index(after: space)...]))
    }

    private static func addedTokens(_ root: JSONFields) throws(TokenizationError) -> [AddedToken] {
        var tokens: [AddedToken] = []
        for fields in try root.objects("added_tokens") ?? [] {
            let content = try fields.requiredString("content")
            guard let id = fields.value("id") else {
                throw fields.wrong("id", expected: "an integer", got: "nothing")
            }
            tokens.append(
                try addedToken(fields, content, try JSONFields.tokenID(id, file: root.file, token: content)))
        }
        return tokens
    }

    /// The flags of an added token, as tokenizer.json and tokenizer_config.json both write them.
    static func addedToken(
        _ fields: JSONFields, _ content: String, _ id: Int
    ) throws(TokenizationError) -> AddedToken {
        guard content.utf8.count <= TokenizerLimits.addedTokenBytes else {
            throw .overLimit(
                file: fields.file, what: "the length of \(fields.place("content")) in bytes",
                limit: TokenizerLimits.addedTokenBytes, got: "\(content.utf8.count)")
        }
        guard !content.isEmpty else {
            throw fields.wrong(
                "content", expected: "a token that is not empty", got: "\"\" with the id \(id)")
        }
        let isSpecial = try fields.bool("special", default: false)
        return AddedToken(
            content: content, id: id, isSpecial: isSpecial,
            stripsLeft: try fields.bool("lstrip", default: false),
            stripsRight: try fields.bool("rstrip", default: false),
            isSingleWord: try fields.bool("single_word", default: false),
            isNormalized: try fields.bool("normalized", default: !isSpecial))
    }

    // MARK: - Pipeline

    /// The steps of a `Sequence`, or the object itself.
    private static func steps(
        _ fields: JSONFields?, _ key: String
    ) throws(TokenizationError) -> [(type: String, fields: JSONFields)] {
        guard let fields else { return [] }
        let type = try fields.requiredString("type")
        guard type == "Sequence" else { return [(type, fields)] }
        var result: [(type: String, fields: JSONFields)] = []
        for step in try fields.objects(key) ?? [] { result.append((try step.requiredString("type"), step)) }
        return result
    }

    private static func normalizers(_ fields: JSONFields?) throws(TokenizationError) -> [Normalizer] {
        var result: [Normalizer] = []
        for (type, step) in try steps(fields, "normalizers") {
            switch type {
            case "NFC": result.append(.nfc)
            case "Prepend":
                let prefix = try step.requiredString("prepend")
                guard prefix.utf8.count <= TokenizerLimits.prefixBytes else {
                    throw .overLimit(
                        file: step.file, what: "the length of \(step.place("prepend")) in bytes",
                        limit: TokenizerLimits.prefixBytes, got: "\(prefix.utf8.count)")
                }
                result.append(.prepend(prefix))
            case "Replace":
                let pattern = try literalPattern(step)
                result.append(.replace(pattern, with: try step.requiredString("content")))
                try checkGrowth(result, step)
            default:
                throw step.unsupported(
                    "type", got: quoted(type), supported: "null, NFC, Prepend, Replace, Sequence of these")
            }
        }
        return result
    }

    /// A text of bounded length must stay one: what a person types fills the context only by their own doing.
    private static func checkGrowth(
        _ normalizers: [Normalizer], _ step: JSONFields
    ) throws(TokenizationError) {
        var growth = 1
        for case .replace(let pattern, let content) in normalizers {
            growth *= max((content.utf8.count + pattern.utf8.count - 1) / pattern.utf8.count, 1)
            guard growth <= TokenizerLimits.normalizerGrowth else {
                throw .overLimit(
                    file: step.file,
                    what: "how many times longer \(step.path) makes a text",
                    limit: TokenizerLimits.normalizerGrowth, got: "\(growth)")
            }
        }
    }

    /// `{"pattern": {"String": …}}`, not empty.
    private static func literalPattern(_ step: JSONFields) throws(TokenizationError) -> String {
        guard let text = try step.object("pattern")?.string("String"), !text.isEmpty else {
            throw step.unsupported("pattern", got: "no plain string", supported: "a non-empty String")
        }
        return text
    }

    private static func preTokenizer(_ fields: JSONFields?) throws(TokenizationError) -> PreTokenizer {
        let steps = try steps(fields, "pretokenizers")
        guard let last = steps.last else { return .wholeText }
        if steps.count == 1, last.type == "Metaspace" { return try metaspace(last.fields) }
        var stages: [SplitStage] = []
        for (type, step) in steps.dropLast() {
            switch type {
            case "Split": stages.append(.pattern(try splitPattern(step)))
            case "Digits":
                stages.append(.digits(individually: try step.bool("individual_digits", default: false)))
            default: throw unsupportedPreTokenizer(step, type)
            }
        }
        guard last.type == "ByteLevel" else { throw unsupportedPreTokenizer(last.fields, last.type) }
        if try last.fields.bool("add_prefix_space", default: true) { stages.append(.prefixSpace) }
        if try last.fields.bool("use_regex", default: true) { stages.append(.pattern(.gpt2)) }
        return .byteLevel(stages)
    }

    private static func unsupportedPreTokenizer(_ step: JSONFields, _ type: String) -> TokenizationError {
        step.unsupported(
            "type", got: quoted(type),
            supported: "null, Metaspace, ByteLevel, and Sequence of any Split and Digits with ByteLevel last")
    }

    private static func splitPattern(_ step: JSONFields) throws(TokenizationError) -> SplitPattern {
        // The patterns match every scalar, so keeping the matches alone, or what is between them as well, is
        // the same.
        let behavior = try step.requiredString("behavior")
        let inverts = try step.bool("invert", default: false)
        guard behavior == "Isolated" || (behavior == "Removed" && inverts) else {
            throw step.unsupported(
                "behavior", got: quoted(behavior), supported: "Isolated, and Removed with invert")
        }
        let regex = try step.object("pattern")?.string("Regex") ?? ""
        guard let pattern = SplitPattern(regex: regex) else {
            throw step.unsupported(
                "pattern.Regex", got: quoted(regex),
                supported: "the split patterns of Qwen2, Llama 3, GPT-2, Tekken and o200k")
        }
        return pattern
    }

    private static func metaspace(_ step: JSONFields) throws(TokenizationError) -> PreTokenizer {
        let replacement = try step.string("replacement") ?? "▁"
        guard replacement.unicodeScalars.count == 1 else {
            throw step.unsupported("replacement", got: quoted(replacement), supported: "one scalar")
        }
        let fallback = try step.bool("add_prefix_space", default: true) ? "always" : "never"
        let name = try step.string("prepend_scheme") ?? fallback
        guard let prefix = MetaspacePrefix(rawValue: name) else {
            throw step.unsupported("prepend_scheme", got: quoted(name), supported: "always, first, never")
        }
        return .metaspace(
            replacement: replacement, prefix: prefix, splits: try step.bool("split", default: true))
    }

    private static func decoder(_ root: JSONFields) throws(TokenizationError) -> Decoder {
        let steps = try steps(try root.object("decoder"), "decoders")
        let types = steps.map(\.type)
        if types == ["ByteLevel"] { return .byteLevel }
        let supported = "ByteLevel, Sequence of Replace, ByteFallback, Fuse and perhaps Strip"
        guard
            types == ["Replace", "ByteFallback", "Fuse"]
                || types == ["Replace", "ByteFallback", "Fuse", "Strip"]
        else {
            throw root.unsupported(
                "decoder", got: quoted(types.joined(separator: " + ")), supported: supported)
        }
        let replacement = try literalPattern(steps[0].fields)
        let content = try steps[0].fields.requiredString("content")
        guard content == " " else {
            throw steps[0].fields.unsupported("content", got: quoted(content), supported: "one space")
        }
        guard steps.count == 4 else { return .sentencePiece(replacement: replacement, stripped: 0) }
        let strip = steps[3].fields
        let stripped = try strip.integer("start") ?? 0
        guard try strip.requiredString("content") == " ", try strip.integer("stop") ?? 0 == 0, stripped >= 0
        else {
            throw strip.unsupported(
                "start, stop", got: "another setting", supported: "spaces at the start only")
        }
        return .sentencePiece(replacement: replacement, stripped: stripped)
    }

    /// The one special token that the template puts before the text.
    private static func beginningOfSequence(_ fields: JSONFields?) throws(TokenizationError) -> String? {
        var result: String?
        for (type, step) in try steps(fields, "processors") {
            switch type {
            case "ByteLevel": continue
            case "TemplateProcessing":
                var names: [String] = []
                for part in try step.objects("single") ?? [] {
                    if let special = try part.object("SpecialToken") {
                        names.append(try special.requiredString("id"))
                    } else {
                        names.append("")
                    }
                }
                guard let text = names.firstIndex(of: ""), text == names.count - 1, text <= 1, result == nil
                else {
                    throw step.unsupported(
                        "single", got: "\(names.count) parts", supported: "the text after at most one token")
                }
                if text == 1 { result = names[0] }
            default:
                throw step.unsupported(
                    "type", got: quoted(type),
                    supported: "null, ByteLevel, TemplateProcessing, Sequence of these")
            }
        }
        return result
    }
}
