package import Foundation
package import StrictJSON

/// What is wrong with a request, for whoever sent it.
package struct RequestError: Error, Sendable, Equatable {
    /// A sentence without anything of the server's own.
    package let message: String
    /// The field that is wrong, as `messages[0].content`.
    package let parameter: String?

    package init(_ message: String, parameter: String? = nil) {
        self.message = message
        self.parameter = parameter
    }
}

/// The members of a JSON object of a request. Each is read by its name; those that nobody read are ignored, and named in
/// ``ignored``. `null` is the same as absent.
package struct RequestFields: Sendable {
    private let object: JSONObject
    private var names: Set<String> = []
    /// What stands before the names in messages, as `messages[0].`.
    private let prefix: String

    package init(_ object: JSONObject, prefix: String = "") {
        self.object = object
        self.prefix = prefix
    }

    /// - Parameter what: the text is called so in errors
    /// - Throws: `RequestError` for what is no JSON object.
    package init(json body: Data, called what: String = "the body") throws(RequestError) {
        let value: JSONValue
        do {
            // Python writes NaN as a bare word; the field that holds it is then refused by its name.
            value = try body.withUnsafeBytes { bytes in
                try JSONParser.parse(
                    bytes,
                    limits: JSONLimits(
                        depth: 64, elements: 65536, members: 4096, values: 1 << 18, nonFiniteNumbers: true))
            }
        } catch {
            throw RequestError("\(what) is not valid JSON: \(error)")
        }
        guard let object = value.object else { throw RequestError("\(what) is not a JSON object") }
        self.init(object)
    }

    /// Fields that are not read, without their values.
    package var ignored: [String] {
        object.members.filter { !names.contains($0.key) && !$0.value.isNull }.map { path($0.key) }
    }

    /// Marks fields as known that do not change an answer.
    package mutating func accept(_ names: String...) { self.names.formUnion(names) }

    /// A field as messages name it.
    package func path(_ name: String) -> String { prefix + name }

    package func fault(_ name: String, _ expected: String) -> RequestError {
        RequestError("\(path(name)) must be \(expected)", parameter: path(name))
    }

    /// Whether a field has a value, which is not counted as reading it.
    package func isText(_ name: String, _ text: String) -> Bool { object[name]?.string == text }

    /// Any value; nil for one that is absent or null.
    package mutating func value(_ name: String) -> JSONValue? {
        names.insert(name)
        guard let value = object[name], !value.isNull else { return nil }
        return value
    }

    package mutating func string(_ name: String) throws(RequestError) -> String? {
        guard let value = value(name) else { return nil }
        guard let text = value.string else { throw fault(name, "a string") }
        return text
    }

    package mutating func bool(_ name: String) throws(RequestError) -> Bool? {
        guard let value = value(name) else { return nil }
        guard let flag = value.bool else { throw fault(name, "true or false") }
        return flag
    }

    package mutating func integer(
        _ name: String, in range: ClosedRange<Int> = Int.min...Int.max
    ) throws(RequestError) -> Int? {
        guard let value = value(name) else { return nil }
        guard let number = value.integer, range.contains(number) else {
            throw fault(name, range == Int.min...Int.max ? "an integer" : "an integer \(Self.text(range))")
        }
        return number
    }

    package mutating func number(
        _ name: String, in range: ClosedRange<Double>
    ) throws(RequestError) -> Double? {
        guard let value = value(name) else { return nil }
        guard let number = value.double, range.contains(number) else {
            throw fault(name, "a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    private static func text(_ range: ClosedRange<Int>) -> String {
        range.upperBound == Int.max
            ? "of at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
    }

    package mutating func object(_ name: String) throws(RequestError) -> JSONObject? {
        guard let value = value(name) else { return nil }
        guard let object = value.object else { throw fault(name, "an object") }
        return object
    }

    package mutating func elements(_ name: String) throws(RequestError) -> [JSONValue]? {
        guard let value = value(name) else { return nil }
        guard let elements = value.elements else { throw fault(name, "a list") }
        return elements
    }

    /// A list of strings, or one string; none where it is absent.
    package mutating func strings(_ name: String, most: Int) throws(RequestError) -> [String] {
        guard let value = value(name) else { return [] }
        if let text = value.string { return [text] }
        let texts = value.elements?.compactMap(\.string)
        guard let texts, texts.count == value.elements?.count, texts.count <= most else {
            throw fault(name, "a string, or a list of at most \(most) strings")
        }
        return texts
    }
}

extension JSONValue {
    /// The value as JSON text.
    package var json: String {
        var text = ""
        write(to: &text)
        return text
    }

    private func write(to text: inout String) {
        switch self {
        case .null, .nonFinite: text += "null"
        case .bool(let value): text += "\(value)"
        case .integer(let value): text += "\(value)"
        case .number(let value): text += "\(value)"
        case .string(let value): Self.write(value, to: &text)
        case .array(let elements):
            text += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { text += "," }
                element.write(to: &text)
            }
            text += "]"
        case .object(let object):
            text += "{"
            for (index, member) in object.members.enumerated() {
                if index > 0 { text += "," }
                Self.write(member.key, to: &text)
                text += ":"
                member.value.write(to: &text)
            }
            text += "}"
        }
    }

    private static func write(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\u{0}"..."\u{1F}":
                text += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
