/// Why a text is not taken as JSON, with the offset of the first fault in bytes from the start of the text.
///
/// The text has no name here: who reads a file adds its name.
package enum StrictJSONError: Error, Sendable, Equatable {
    /// The grammar of RFC 8259 is broken.
    case malformed(offset: Int, reason: String)
    /// A string whose bytes are not UTF-8.
    case notUTF8(offset: Int)
    /// A key that its object already has. The offset is that of the second one.
    case duplicateKey(offset: Int, key: String)
    /// Deeper or longer than `JSONLimits` allow.
    case overLimit(offset: Int, what: String, limit: Int)

    /// Bytes from the start of the text; at most its length.
    package var offset: Int {
        switch self {
        case .malformed(let offset, _), .notUTF8(let offset), .duplicateKey(let offset, _),
            .overLimit(let offset, _, _):
            offset
        }
    }

    /// What is wrong, without the place.
    package var reason: String {
        switch self {
        case .malformed(_, let reason): reason
        case .notUTF8: "a string is not UTF-8"
        case .duplicateKey(_, let key): "the key \(JSONValue.string(key).summary) is there twice"
        case .overLimit(_, let what, let limit): "more than \(limit) \(what)"
        }
    }

    /// What helps. A text that breaks off or is garbled was damaged on its way; one that repeats a key or is too large
    /// came that way, and fetching it again would not mend it.
    package var advice: String {
        switch self {
        case .malformed, .notUTF8: "fetch the file again"
        case .duplicateKey: "remove one of the two"
        case .overLimit: "check that this is a file of a model that this library supports"
        }
    }
}

extension StrictJSONError: CustomStringConvertible {
    package var description: String {
        "not valid JSON at byte \(offset): \(reason); \(advice)"
    }
}
