import Foundation
import StrictJSON
import TestSupport
import Testing

@testable import StructuredOutput
@testable import Tokenization

enum Vocabulary {
    /// Every byte, and tokens that cross the borders of JSON's parts and of characters.
    static let small: TokenTrie = {
        let texts = [
            "{\"", "\":", "\": \"", "\":\"", "\",\"", "\", \"", "\"}", "\"]", "}}", "]}", "[\"", "true",
            "false",
            "null", "tru", ",\"", ", ", ": ", "12", "00", "-1", "1.", ".5", "e+", "ab", "abc", "abcdefgh",
            " a",
            "a\"", "\\n", "\\u", "\\\"", "\\u00", "d83d", "\\ude", "é", "日本", "日本語の", "😀", "\u{2028}x", "0,",
            "1}",
            "name", "{\"a\":", "2024-", "\n", "\t", "  ",
        ]
        let partial: [[UInt8]] = [
            [0xE6, 0x97], [0xA5, 0x22], [0xA9, 0x61], [0xF0, 0x9F], [0x98, 0x80, 0x22, 0x7D],
            [0xC3, 0xA9, 0xC3],
        ]
        let tokens = (UInt8.min...UInt8.max).map { [$0] } + texts.map { Array($0.utf8) } + partial
        return TokenTrie(count: tokens.count) { tokens[$0] }
    }()

    /// An id that no text has.
    static let end = 5000
}

extension AnswerConstraint {
    /// Takes a text byte by byte.
    /// - Returns: whether it may be the whole answer; nil where it is no beginning of one.
    static func takes(_ text: [UInt8], _ format: CompiledFormat) -> Bool? {
        var constraint = AnswerConstraint(format, ends: [Vocabulary.end])
        for byte in text where !constraint.accept(Int(byte), remaining: .max) { return nil }
        return constraint.isAccepting
    }
}

extension CompiledFormat {
    func takes(_ text: String) -> Bool { AnswerConstraint.takes(Array(text.utf8), self) == true }
}

/// An answer of random tokens.
struct Walk {
    var text: [UInt8] = []
    var tokens = 0
    var wasCut = false

    /// - Parameter limit: most tokens
    init(_ format: CompiledFormat, limit: Int, _ random: inout SeededGenerator) throws {
        var constraint = AnswerConstraint(format, ends: [Vocabulary.end])
        while tokens < limit, !constraint.isComplete {
            var mask = constraint.allowed()
            if constraint.isAccepting {
                #expect(mask.contains(Vocabulary.end) == (Vocabulary.end < format.trie.idCount))
                if Int.random(in: 0..<3, using: &random) == 0 { return }
            }
            var taken: Int?
            while taken == nil, !mask.isEmpty {
                let ids = (0..<format.trie.idCount).filter(mask.contains)
                let id = ids[Int.random(in: 0..<ids.count, using: &random)]
                if constraint.accept(id, remaining: limit - tokens - 1) {
                    taken = id
                } else {
                    mask.remove(id)
                }
                if Int.random(in: 0..<8, using: &random) == 0 { break }
            }
            if taken == nil {
                try constraint.close()
                wasCut = true
                taken = constraint.nextToClose()
            }
            guard let taken else { return }
            text += try #require(format.trie.bytes(of: taken))
            tokens += 1
            while wasCut, let id = constraint.nextToClose() {
                text += try #require(format.trie.bytes(of: id))
                tokens += 1
            }
        }
        #expect(tokens <= limit)
        // Nothing but the end is left, or the limit is reached where the answer may end.
        #expect(constraint.isComplete || constraint.isAccepting)
    }
}

/// A second opinion on schemas: validates values, and knows nothing of automata.
struct Validator {
    let root: JSONValue

    static func parse(_ text: String) throws -> JSONValue {
        var text = text
        return try text.withUTF8 {
            try JSONParser.parse(
                UnsafeRawBufferPointer($0),
                limits: JSONLimits(depth: 2000, elements: 1 << 20, members: 1 << 20))
        }
    }

    func isValid(_ value: JSONValue, _ schema: JSONValue) -> Bool {
        if let all = schema.bool { return all }
        if let reference = schema["$ref"]?.string {
            let path = reference.dropFirst(2).split(separator: "/")
            let target = path.reduce(Optional(root)) { place, name in
                Int(name).flatMap { index in place?.elements.map { $0[index] } } ?? place?[String(name)]
            }
            return target.map { isValid(value, $0) } ?? false
        }
        if let members = schema["anyOf"]?.elements, !members.contains(where: { isValid(value, $0) }) {
            return false
        }
        if let values = schema["enum"]?.elements, !values.contains(value) { return false }
        if let constant = schema["const"], constant != value { return false }
        if let type = schema["type"] {
            let names = (type.elements ?? [type]).compactMap(\.string)
            guard names.contains(where: { isOf($0, value) }) else { return false }
        }
        switch value {
        case .object(let object): return isValid(object, schema)
        case .array(let elements):
            return elements.count >= schema["minItems"]?.integer ?? 0
                && elements.count <= schema["maxItems"]?.integer ?? .max
                && elements.allSatisfy { isValid($0, schema["items"] ?? .bool(true)) }
        case .string(let text): return isValid(text, schema)
        case .integer, .number:
            guard let number = value.double else { return false }
            return number >= schema["minimum"]?.double ?? -.infinity
                && number <= schema["maximum"]?.double ?? .infinity
                && schema["exclusiveMinimum"]?.double.map { number > $0 } ?? true
                && schema["exclusiveMaximum"]?.double.map { number < $0 } ?? true
        case .null, .bool, .nonFinite: return true
        }
    }

    private func isOf(_ type: String, _ value: JSONValue) -> Bool {
        switch type {
        case "object": value.object != nil
        case "array": value.elements != nil
        case "string": value.string != nil
        case "boolean": value.bool != nil
        case "null": value.isNull
        case "integer": value.integer != nil
        default: value.double != nil
        }
    }

    private func isValid(_ object: JSONObject, _ schema: JSONValue) -> Bool {
        let properties = schema["properties"]
        for name in (schema["required"]?.elements ?? []).compactMap(\.string) where object[name] == nil {
            return false
        }
        return object.members.allSatisfy { member in
            if let schema = properties?[member.key] { return isValid(member.value, schema) }
            return isValid(member.value, schema["additionalProperties"] ?? .bool(true))
        }
    }

    private func isValid(_ text: String, _ schema: JSONValue) -> Bool {
        let count = text.unicodeScalars.count
        guard count >= schema["minLength"]?.integer ?? 0, count <= schema["maxLength"]?.integer ?? .max else {
            return false
        }
        guard let pattern = schema["pattern"]?.string else { return true }
        return text.range(of: pattern, options: .regularExpression) != nil
    }
}
