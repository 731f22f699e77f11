/// A strict RFC 8259 reader for files that strangers wrote: no duplicate keys, no invalid UTF-8, bounded
/// nesting and bounded containers, nothing after the document.
///
/// Foundation's reader keeps one of several duplicate keys in silence, which is why it is not used here.
package struct JSONParser {
    /// What a document may hold at most. The limits stand before any memory is taken.
    package struct Limits: Sendable {
        package var depth: Int
        package var elements: Int
        package var members: Int

        /// config.json and its relatives.
        package static let configuration = Limits(depth: 32, elements: 1 << 20, members: 1 << 20)
        /// A safetensors header: tensors → tensor → shape.
        package static let header = Limits(depth: 4, elements: 16, members: 200_000)
    }

    private let bytes: UnsafeRawBufferPointer
    private let file: String
    private let limits: Limits
    private var position = 0

    private init(_ bytes: UnsafeRawBufferPointer, file: String, limits: Limits) {
        self.bytes = bytes
        self.file = file
        self.limits = limits
    }

    /// Reads one document.
    /// - Parameters:
    ///   - bytes: the whole text, UTF-8.
    ///   - file: named in errors.
    /// - Throws: `CheckpointError.invalidJSON` with the offset of the first fault.
    package static func parse(
        _ bytes: UnsafeRawBufferPointer, file: String, limits: Limits = .configuration
    ) throws(CheckpointError) -> JSONValue {
        var parser = JSONParser(bytes, file: file, limits: limits)
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.position == bytes.count else { throw parser.fault("something follows the document") }
        return value
    }

    // MARK: Grammar

    private mutating func value(depth: Int) throws(CheckpointError) -> JSONValue {
        guard depth <= limits.depth else { throw fault("nested deeper than \(limits.depth)") }
        skipSpace()
        switch peek() {
        case UInt8(ascii: "{"): return .object(try object(depth: depth))
        case UInt8(ascii: "["): return .array(try array(depth: depth))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "-"), (UInt8(ascii: "0")...UInt8(ascii: "9"))?: return try number()
        case nil: throw fault("the text ends early")
        default: throw fault("a value was expected")
        }
    }

    private mutating func object(depth: Int) throws(CheckpointError) -> [String: JSONValue] {
        position += 1
        var members: [String: JSONValue] = [:]
        skipSpace()
        if take("}") { return members }
        while true {
            skipSpace()
            guard peek() == UInt8(ascii: "\"") else { throw fault("a key was expected") }
            let start = position
            let key = try string()
            skipSpace()
            guard take(":") else { throw fault("':' was expected") }
            guard members.count < limits.members else { throw fault("more than \(limits.members) members") }
            guard members.updateValue(try value(depth: depth + 1), forKey: key) == nil else {
                position = start
                throw fault("the key \"\(key.prefix(80))\" stands twice")
            }
            skipSpace()
            if take(",") { continue }
            guard take("}") else { throw fault("',' or '}' was expected") }
            return members
        }
    }

    private mutating func array(depth: Int) throws(CheckpointError) -> [JSONValue] {
        position += 1
        var elements: [JSONValue] = []
        skipSpace()
        if take("]") { return elements }
        while true {
            guard elements.count < limits.elements else {
                throw fault("more than \(limits.elements) elements")
            }
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if take(",") { continue }
            guard take("]") else { throw fault("',' or ']' was expected") }
            return elements
        }
    }

    private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(CheckpointError)
        -> JSONValue
    {
        let expected = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        guard bytes[position...].starts(with: expected) else { throw fault("a value was expected") }
        position += expected.count
        return value
    }

    private mutating func number() throws(CheckpointError) -> JSONValue {
        let start = position
        _ = take("-")
        if !take("0") {
            guard skipDigits() > 0 else { throw fault("a digit was expected") }
        }
        var isInteger = true
        if take(".") {
            isInteger = false
            guard skipDigits() > 0 else { throw fault("a digit was expected") }
        }
        if take("e") || take("E") {
            isInteger = false
            if !take("+") { _ = take("-") }
            guard skipDigits() > 0 else { throw fault("a digit was expected") }
        }
        guard position - start <= 400 else { throw fault("a number of more than 400 characters") }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw fault("a number out of range") }
        return .number(value)
    }

    // MARK: Strings

    private mutating func string() throws(CheckpointError) -> String {
        position += 1
        let start = position
        var hasEscape = false
        while let byte = peek() {
            switch byte {
            case UInt8(ascii: "\""):
                let raw = UnsafeRawBufferPointer(rebasing: bytes[start..<position])
                let text: String
                if hasEscape {
                    position = start
                    text = try escapedString()
                } else {
                    text = try validated(raw, at: start)
                }
                position += 1
                return text
            case UInt8(ascii: "\\"):
                hasEscape = true
                position += 2
            case 0..<0x20: throw fault("a control character in a string")
            default: position += 1
            }
        }
        throw fault("a string is not closed")
    }

    /// The text from `position` to the closing quote, which is known to exist; leaves `position` on the
    /// quote.
    private mutating func escapedString() throws(CheckpointError) -> String {
        let start = position
        var text: [UInt8] = []
        while let byte = peek(), byte != UInt8(ascii: "\"") {
            position += 1
            guard byte == UInt8(ascii: "\\") else {
                text.append(byte)
                continue
            }
            let escape = peek()
            position += 1
            switch escape {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(escape ?? 0)
            case UInt8(ascii: "b"): text.append(8)
            case UInt8(ascii: "f"): text.append(12)
            case UInt8(ascii: "n"): text.append(10)
            case UInt8(ascii: "r"): text.append(13)
            case UInt8(ascii: "t"): text.append(9)
            case UInt8(ascii: "u"): text.append(contentsOf: Array(String(try unicodeEscape()).utf8))
            default: throw fault("an unknown escape")
            }
        }
        return try validated(text, at: start)
    }

    private mutating func unicodeEscape() throws(CheckpointError) -> Character {
        var unit = try hexadecimalUnit()
        if 0xD800..<0xDC00 ~= unit {
            guard take("\\"), take("u") else { throw fault("half a surrogate pair") }
            let low = try hexadecimalUnit()
            guard 0xDC00..<0xE000 ~= low else { throw fault("half a surrogate pair") }
            unit = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(unit) else { throw fault("half a surrogate pair") }
        return Character(scalar)
    }

    private mutating func hexadecimalUnit() throws(CheckpointError) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek(), let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw fault("four hexadecimal digits were expected")
            }
            unit = unit << 4 | UInt32(digit)
            position += 1
        }
        return unit
    }

    /// Decoding repairs invalid UTF-8, so the text differs from its bytes exactly when they were invalid.
    private func validated(_ raw: some Collection<UInt8>, at start: Int) throws(CheckpointError) -> String {
        let text = String(decoding: raw, as: UTF8.self)
        guard text.utf8.elementsEqual(raw) else {
            throw .invalidJSON(file: file, offset: start, reason: "a string is not UTF-8")
        }
        return text
    }

    // MARK: Bytes

    private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard peek() == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func skipDigits() -> Int {
        let start = position
        while let byte = peek(), UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte { position += 1 }
        return position - start
    }

    private mutating func skipSpace() {
        while let byte = peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            position += 1
        }
    }

    private func fault(_ reason: String) -> CheckpointError {
        .invalidJSON(file: file, offset: position, reason: reason)
    }
}
