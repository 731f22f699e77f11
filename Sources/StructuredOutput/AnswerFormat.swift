/// What an answer must look like. The model still chooses its words; tokens that would leave the format cannot be chosen.
///
/// ```swift
/// options.format = .jsonSchema(#"{"type": "object", "properties": {"count": {"type": "integer"}}}"#)
/// options.format = .choice(["yes", "no"])
/// ```
///
/// Say in the question what is wanted, too: the format alone tells the model nothing. An answer that the limit cuts off
/// is brought to a valid end before it (``FinishReason/length``).
public enum AnswerFormat: Sendable, Hashable {
    /// Any JSON object.
    case jsonObject
    /// JSON that is valid under a JSON schema, given as text. docs/structured-output.md lists the keywords; any other one
    /// is refused by name. Members come in the schema's order.
    case jsonSchema(String)
    /// One of these texts.
    case choice([String])
    /// A text that matches a regular expression as a whole.
    case regularExpression(String)
}

extension AnswerFormat {
    /// Whether it can be used, as far as that does not depend on a model.
    /// - Throws: `StructuredOutputError`.
    package func check() throws(StructuredOutputError) { try CompiledFormat.check(self) }
}

extension AnswerFormat: Codable {
    private enum CodingKeys: String, CodingKey, CaseIterable {
        case jsonObject, jsonSchema, choice, regularExpression
    }

    /// Reads what ``encode(to:)`` writes: an object whose one key says which format it is, such as `{"choice": ["yes",
    /// "no"]}` or `{"jsonObject": true}`.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        func fault(_ text: String) -> DecodingError {
            .dataCorrupted(.init(codingPath: container.codingPath, debugDescription: text))
        }
        guard let key = container.allKeys.first, container.allKeys.count == 1 else {
            throw fault("a format has one of the keys jsonObject, jsonSchema, choice, regularExpression")
        }
        switch key {
        case .jsonObject:
            guard try container.decode(Bool.self, forKey: key) else { throw fault("jsonObject must be true") }
            self = .jsonObject
        case .jsonSchema: self = .jsonSchema(try container.decode(String.self, forKey: key))
        case .choice: self = .choice(try container.decode([String].self, forKey: key))
        case .regularExpression: self = .regularExpression(try container.decode(String.self, forKey: key))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .jsonObject: try container.encode(true, forKey: .jsonObject)
        case .jsonSchema(let schema): try container.encode(schema, forKey: .jsonSchema)
        case .choice(let choices): try container.encode(choices, forKey: .choice)
        case .regularExpression(let pattern): try container.encode(pattern, forKey: .regularExpression)
        }
    }
}
