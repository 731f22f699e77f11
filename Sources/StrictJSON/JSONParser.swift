/// What a document may hold at most. The limits are checked before memory is taken.
package struct JSONLimits: Sendable {
    /// Containers around a value.
    package var depth: Int
    /// Elements of one array.
    package var elements: Int
    /// Members of one object.
    package var members: Int
    /// Values of the whole text.
    package var values: Int
    /// Whether `NaN`, `Infinity` and `-Infinity` pass, as values of their own.
    package var nonFiniteNumbers: Bool

    package init(
        depth: Int, elements: Int, members: Int, values: Int = .max, nonFiniteNumbers: Bool = false
    ) {
        self.depth = depth
        self.elements = elements
        self.members = members
        self.values = values
        self.nonFiniteNumbers = nonFiniteNumbers
    }
}

/// A strict RFC 8259 reader for files that strangers wrote: no duplicate keys, no invalid UTF-8, bounded
/// nesting and bounded containers, nothing after the document.
///
/// Foundation's readers keep one of several duplicate keys in silence and take canonically equivalent keys
/// for one, so that a vocabulary loses tokens; that is why they are not used.
package struct JSONParser {
    /// The longest number that is read, in bytes: far more than any double needs.
    private static let numberLimit = 400

    private let bytes: UnsafeRawBufferPointer
    private let limits: JSONLimits
    /// At most `bytes.count`: every step over a byte follows a look at it.
    private var position = 0
    private var values = 0

    private init(_ bytes: UnsafeRawBufferPointer, limits: JSONLimits) {
        self.bytes = bytes
        self.limits = limits
    }

    /// Reads one document.
    /// - Parameter bytes: the whole text, UTF-8 without byte order mark.
    package static func parse(
        _ bytes: UnsafeRawBufferPointer, limits: JSONLimits
    ) throws(StrictJSONError) -> JSONValue {
        var parser = JSONParser(bytes, limits: limits)
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.position == bytes.count else { throw parser.fault("something follows the document") }
        return value
    }

    // MARK: Grammar

    private mutating func value(depth: Int) throws(StrictJSONError) -> JSONValue {
        guard depth <= limits.depth else { throw excess("levels of nesting", limits.depth) }
        guard values < limits.values else { throw excess("values", limits.values) }
        values += 1
        skipSpace()
        switch current {
        case UInt8(ascii: "{"): return .object(try object(depth: depth))
        case UInt8(ascii: "["): return .array(try array(depth: depth))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "N") where limits.nonFiniteNumbers: return try literal("NaN", .nonFinite(.nan))
        case UInt8(ascii: "I") where limits.nonFiniteNumbers:
            return try literal("Infinity", .nonFinite(.infinity))
        case UInt8(ascii: "-") where limits.nonFiniteNumbers && byte(after: position) == UInt8(ascii: "I"):
            return try literal("-Infinity", .nonFinite(-.infinity))
        case UInt8(ascii: "N"), UInt8(ascii: "I"):
            throw fault("NaN and Infinity are not JSON")
        case UInt8(ascii: "-"), (UInt8(ascii: "0")...UInt8(ascii: "9"))?: return try number()
        case nil: throw fault("the text ends early")
        default: throw fault("a value was expected")
        }
    }

    private mutating func object(depth: Int) throws(StrictJSONError) -> JSONObject {
        position += 1
        var members: [JSONObject.Member] = []
        skipSpace()
        if take("}") { return JSONObject(members: members) }
        var keys = JSONKeyIndex()
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw fault("a key was expected") }
            guard members.count < limits.members else { throw excess("members", limits.members) }
            let start = position
            let key = try string()
            guard keys.insert(key, after: members) else { throw .duplicateKey(offset: start, key: key) }
            skipSpace()
            guard take(":") else { throw fault("':' was expected") }
            members.append(JSONObject.Member(key: key, value: try value(depth: depth + 1)))
            skipSpace()
            if take(",") { continue }
            guard take("}") else { throw fault("',' or '}' was expected") }
            return JSONObject(members: members)
        }
    }

    private mutating func array(depth: Int) throws(StrictJSONError) -> [JSONValue] {
        position += 1
        var elements: [JSONValue] = []
        skipSpace()
        if take("]") { return elements }
        while true {
            guard elements.count < limits.elements else { throw excess("elements", limits.elements) }
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if take(",") { continue }
            guard take("]") else { throw fault("',' or ']' was expected") }
            return elements
        }
    }

    private mutating func literal(
        _ text: StaticString, _ value: JSONValue
    ) throws(StrictJSONError) -> JSONValue {
        let expected = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        guard bytes[position...].starts(with: expected) else { throw fault("a value was expected") }
        position += expected.count
        return value
    }

    // MARK: Numbers

    private mutating func number() throws(StrictJSONError) -> JSONValue {
        let start = position
        let isNegative = take("-")
        let firstDigit = position
        if !take("0") { try digits() }
        let endOfDigits = position
        if take(".") { try digits() }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits()
        }
        if position == endOfDigits, let value = integer(firstDigit..<endOfDigits, isNegative: isNegative) {
            return .integer(value)
        }
        guard position - start <= Self.numberLimit else {
            throw .overLimit(offset: start, what: "characters in a number", limit: Self.numberLimit)
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        guard let value = Double(text), value.isFinite else {
            throw .malformed(offset: start, reason: "a number out of range")
        }
        return .number(value)
    }

    /// The value of decimal digits; nil when it overflows.
    private func integer(_ range: Range<Int>, isNegative: Bool) -> Int? {
        var value = 0
        for byte in bytes[range] {
            let digit = Int(byte &- UInt8(ascii: "0"))
            let (shifted, overflow) = value.multipliedReportingOverflow(by: 10)
            // Towards the sign, as the lowest integer has no positive twin.
            let (sum, overflowOfSum) =
                isNegative
                ? shifted.subtractingReportingOverflow(digit) : shifted.addingReportingOverflow(digit)
            if overflow || overflowOfSum { return nil }
            value = sum
        }
        return value
    }

    /// One digit or more.
    private mutating func digits() throws(StrictJSONError) {
        let start = position
        while let byte = current, UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte { position += 1 }
        guard position > start else { throw fault("a digit was expected") }
    }

    // MARK: Strings

    private mutating func string() throws(StrictJSONError) -> String {
        position += 1
        let start = position
        skipPlainText()
        if current == UInt8(ascii: "\"") {
            let text = try validated(UnsafeRawBufferPointer(rebasing: bytes[start..<position]), at: start)
            position += 1
            return text
        }
        var content = Array(bytes[start..<position])
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return try validated(content, at: start)
            case UInt8(ascii: "\\"):
                position += 1
                try escape(into: &content)
            case 0..<0x20: throw fault("a control character in a string")
            default:
                let run = position
                skipPlainText()
                content.append(contentsOf: bytes[run..<position])
            }
        }
        throw fault("a string is not closed")
    }

    /// Steps to the next quote, backslash or control character.
    private mutating func skipPlainText() {
        while let byte = current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 {
            position += 1
        }
    }

    /// What stands after a backslash.
    private mutating func escape(into content: inout [UInt8]) throws(StrictJSONError) {
        guard let byte = current else { throw fault("a string is not closed") }
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(byte)
        case UInt8(ascii: "b"): content.append(0x08)
        case UInt8(ascii: "f"): content.append(0x0C)
        case UInt8(ascii: "n"): content.append(0x0A)
        case UInt8(ascii: "r"): content.append(0x0D)
        case UInt8(ascii: "t"): content.append(0x09)
        case UInt8(ascii: "u"):
            position += 1
            content.append(contentsOf: UTF8.encode(try escapedScalar()) ?? UTF8.encodedReplacementCharacter)
            return
        default: throw fault("an unknown escape")
        }
        position += 1
    }

    /// The four digits after `\u`, and the second half of a surrogate pair.
    private mutating func escapedScalar() throws(StrictJSONError) -> Unicode.Scalar {
        var unit = try hexadecimalUnit()
        if 0xD800..<0xDC00 ~= unit {
            guard take("\\"), take("u") else { throw fault("half a surrogate pair") }
            let low = try hexadecimalUnit()
            guard 0xDC00..<0xE000 ~= low else { throw fault("half a surrogate pair") }
            unit = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(unit) else { throw fault("half a surrogate pair") }
        return scalar
    }

    private mutating func hexadecimalUnit() throws(StrictJSONError) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = current, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw fault("four hexadecimal digits were expected")
            }
            unit = unit << 4 | UInt32(digit)
            position += 1
        }
        return unit
    }

    private func validated(_ raw: some Sequence<UInt8>, at start: Int) throws(StrictJSONError) -> String {
        guard let text = String(validating: raw, as: UTF8.self) else { throw .notUTF8(offset: start) }
        return text
    }

    // MARK: Bytes

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func byte(after position: Int) -> UInt8? {
        position + 1 < bytes.count ? bytes[position + 1] : nil
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard current == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            position += 1
        }
    }

    private func fault(_ reason: String) -> StrictJSONError { .malformed(offset: position, reason: reason) }

    private func excess(_ what: String, _ limit: Int) -> StrictJSONError {
        .overLimit(offset: position, what: what, limit: limit)
    }
}
