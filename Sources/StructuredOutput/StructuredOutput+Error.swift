/// Why answers cannot be held to a format.
package enum StructuredOutputError: Error, Sendable, Equatable {
    /// A schema is no JSON; the reader's words.
    case malformedSchema(reason: String)
    /// A keyword, value or combination in a schema that is wrong or not supported.
    case schema(place: String, reason: String)
    /// A regular expression that is wrong or not supported; the place counts characters from 0.
    case expression(place: Int, reason: String)
    /// A list of choices that is wrong.
    case choices(reason: String)
    /// The format takes more than it may.
    case tooLarge(what: String, limit: Int)
    /// No text is of this format.
    case unsatisfiable
    /// The vocabulary has no token for a byte that every answer of this format needs here.
    case noToken
}

extension StructuredOutputError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .malformedSchema(let reason): "the JSON schema cannot be read: \(reason)"
        case .schema(let place, let reason): "the JSON schema cannot be used: \(reason), at \(place)"
        case .expression(let place, let reason):
            "the regular expression cannot be used: \(reason), at character \(place + 1)"
        case .choices(let reason): "the choices cannot be used: \(reason)"
        case .tooLarge(let what, let limit):
            "the answer's format is too large: more than \(limit) \(what); make it simpler, or repetitions shorter"
        case .unsatisfiable:
            "no finite answer is of this format; check what it requires, and that every $ref that leads back to itself "
                + "can be left out somewhere"
        case .noToken: "the model's vocabulary cannot write an answer of this format"
        }
    }
}
