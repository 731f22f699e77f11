/// A JSON document as a tree. Integers that fit stay exact, strings and keys keep their scalars as written.
package enum JSONValue: Sendable {
    case null
    case bool(Bool)
    /// A number written without fraction and exponent, in the range of `Int`.
    case integer(Int)
    /// Any other number; finite.
    case number(Double)
    /// `NaN`, `Infinity` or `-Infinity`, which are no JSON but which Python writes. Only where the reader lets them pass
    /// (``JSONLimits/nonFiniteNumbers``); no number to any of the accessors here.
    case nonFinite(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)

    /// The member of an object; nil when absent or not an object.
    package subscript(key: String) -> JSONValue? { object?[key] }

    /// The elements of an array; nil for anything else.
    package var elements: [JSONValue]? {
        guard case .array(let elements) = self else { return nil }
        return elements
    }

    /// The object; nil for anything else.
    package var object: JSONObject? {
        guard case .object(let object) = self else { return nil }
        return object
    }

    /// The text of a string; nil for anything else.
    package var string: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    /// The value of an integer, also when written as 3.0; nil for anything else.
    package var integer: Int? {
        switch self {
        case .integer(let value): value
        case .number(let value): Int(exactly: value)
        default: nil
        }
    }

    /// The value of any number; nil for anything else.
    package var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    /// The value of true or false; nil for anything else.
    package var bool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    package var isNull: Bool {
        guard case .null = self else { return false }
        return true
    }

    private var isContainer: Bool {
        switch self {
        case .array, .object: true
        default: false
        }
    }

    /// A form for error messages that is short whatever the value.
    package var summary: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .integer(let value): "\(value)"
        case .number(let value): "\(value)"
        case .nonFinite(let value): value.isNaN ? "NaN" : value > 0 ? "Infinity" : "-Infinity"
        case .string(let text):
            "\"\(String(String.UnicodeScalarView(text.unicodeScalars.prefix(80))))"
                + (text.unicodeScalars.dropFirst(80).isEmpty ? "\"" : "…\"")
        case .array(let elements):
            elements.count <= 8 && !elements.contains(where: \.isContainer)
                ? "[\(elements.map(\.summary).joined(separator: ", "))]" : "a list of \(elements.count)"
        case .object(let object): "an object of \(object.members.count)"
        }
    }
}

extension JSONValue: Equatable {
    /// Equal kinds and values; strings by their UTF-8, members in their order. `1` and `1.0` differ.
    package static func == (left: JSONValue, right: JSONValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let left), .bool(let right)): left == right
        case (.integer(let left), .integer(let right)): left == right
        case (.number(let left), .number(let right)): left == right
        case (.nonFinite(let left), .nonFinite(let right)): left == right || (left.isNaN && right.isNaN)
        case (.string(let left), .string(let right)): left.hasSameUTF8(as: right)
        case (.array(let left), .array(let right)): left == right
        case (.object(let left), .object(let right)): left == right
        default: false
        }
    }
}
