import StrictJSON

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Special tokens that files beside the vocabulary name: tokenizer_config.json, added_tokens.json,
/// special_tokens_map.json.
extension TokenizerDefinition {
    /// The attributes that name one special token each.
    static let attributes = [
        "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    ]
    private static let tokenLists = ["additional_special_tokens", "extra_special_tokens"]

    /// Adds what the neighbours of the vocabulary say.
    ///
    /// The order is that of transformers: tokenizer.json gives the ids, `added_tokens_decoder` overrides its
    /// flags, added_tokens.json adds what is still missing, and the named tokens become special where the
    /// vocabulary has them. Two ids for one token are found when the tables are built.
    mutating func addNeighbours(_ files: TokenizerFolder) throws(TokenizationError) {
        var places: [[UInt8]: Int] = [:]
        for (place, token) in addedTokens.enumerated() { places[Array(token.content.utf8)] = place }
        let configuration = try files.fields("tokenizer_config.json")
        if let decoder = try configuration?.object("added_tokens_decoder") {
            for member in decoder.object.members {
                let token = try Self.configured(member.key, member.value, decoder)
                try add(token, from: decoder.file, replacing: true, &places)
            }
        }
        if let added = try files.fields("added_tokens.json") {
            for (content, id) in try Self.tokensWithIDs(added) {
                // The file has no flags; such tokens are control tokens.
                try add(Self.controlToken(content, id, added), from: added.file, replacing: false, &places)
            }
        }
        for fields in [configuration, try files.fields("special_tokens_map.json")].compactMap({ $0 }) {
            for (key, value) in try Self.named(fields) {
                let flags: JSONFields
                let content: String
                if case .string(let text) = value {
                    content = text
                    flags = try JSONFields(
                        .object(JSONObject("special", .bool(true))), file: fields.file, path: key)
                } else {
                    flags = try JSONFields(value, file: fields.file, path: key)
                    content = try flags.requiredString("content")
                }
                let bytes = Array(content.utf8)
                guard !bytes.isEmpty, places[bytes] == nil else { continue }
                // The vocabulary gives the id, once it is a table.
                var token = try Self.addedToken(flags, content, -1)
                token.isSpecial = true
                token.isNormalized = try flags.bool("normalized", default: false)
                namedTokens.append((token, "\(fields.file): \(key)"))
                places[bytes] = -1
            }
        }
    }

    /// One member of `added_tokens_decoder`: an id, as text, with content and flags.
    private static func configured(
        _ key: String, _ value: JSONValue, _ decoder: JSONFields
    ) throws(TokenizationError) -> AddedToken {
        let fields = try JSONFields(value, file: decoder.file, path: decoder.place(key))
        let content = try fields.requiredString("content")
        guard let number = Int(key) else {
            throw decoder.wrong(quoted(key), expected: "a token id as key", got: quoted(key))
        }
        let id = try JSONFields.tokenID(.integer(number), file: decoder.file, token: content)
        return try addedToken(fields, content, id)
    }

    /// - Parameter replacing: whether the flags of a token that is known with the same id are replaced.
    private mutating func add(
        _ token: AddedToken, from file: String, replacing: Bool, _ places: inout [[UInt8]: Int]
    ) throws(TokenizationError) {
        let bytes = Array(token.content.utf8)
        guard let place = places[bytes] else {
            places[bytes] = addedTokens.count
            return addedTokens.append(token)
        }
        guard addedTokens[place].id == token.id else {
            throw .conflict(
                file: file, token: quoted(token.content), ids: [token.id, addedTokens[place].id])
        }
        if replacing { addedTokens[place] = token }
    }

    private static func controlToken(
        _ content: String, _ id: Int, _ file: JSONFields
    ) throws(TokenizationError) -> AddedToken {
        let fields = try JSONFields(
            .object(JSONObject("special", .bool(true))), file: file.file, path: quoted(content))
        return try addedToken(fields, content, id)
    }

    /// The special tokens that a file names, each a text or an object with content and flags.
    private static func named(
        _ fields: JSONFields
    ) throws(TokenizationError) -> [(key: String, value: JSONValue)] {
        var result: [(key: String, value: JSONValue)] = []
        for key in attributes {
            if let value = fields.value(key) { result.append((key, value)) }
        }
        for key in tokenLists {
            switch fields.value(key) {
            case .array(let values)?: for value in values { result.append((key, value)) }
            case .object(let object)?: for member in object.members { result.append((key, member.value)) }
            case nil: continue
            case let other?: throw fields.wrong(key, expected: "an array", got: other.summary)
            }
        }
        for (key, value) in result {
            switch value {
            case .string, .object: continue
            default: throw fields.wrong(key, expected: "a token", got: value.summary)
            }
        }
        return result
    }
}
