/// A JSON document as a tree.
///
/// Foundation's decoders key objects by `String`, whose equality is canonical equivalence: in a SentencePiece
/// vocabulary "é" written as one scalar and as two are different tokens, and one of them would silently
/// vanish. This tree keeps every member in file order with its scalars as written. It also reads the 7 MB of
/// a Qwen2 tokenizer.json in a tenth of the time.
enum JSONValue {
    case null
    case bool(Bool)
    /// A number that is an integer in the range of `Int`.
    case integer(Int)
    /// Any other number; no tokenizer file needs its value.
    case otherNumber
    case string(String)
    case array([JSONValue])
    case object([(key: String, value: JSONValue)])

    /// The type, in words, for error messages.
    var kind: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .integer(let value): "the number \(value)"
        case .otherNumber: "a number that is not an integer of 64 bits"
        case .string(let value): "the string \(quoted(value))"
        case .array(let values): "an array of \(values.count)"
        case .object(let members): "an object of \(members.count)"
        }
    }
}

/// Recursive-descent reader of UTF-8 JSON (RFC 8259), strict, with bounded depth.
struct JSONReader {
    private let bytes: [UInt8]
    private let file: String
    private var position = 0

    /// - Parameters:
    ///   - bytes: the document, valid UTF-8.
    ///   - file: name for errors.
    static func parse(_ bytes: [UInt8], file: String) throws(TokenizationError) -> JSONValue {
        var reader = JSONReader(bytes: bytes, file: file)
        let value = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.position == bytes.count else { throw reader.error("text after the end of the document") }
        return value
    }

    private init(bytes: [UInt8], file: String) {
        self.bytes = bytes
        self.file = file
    }

    private func error(_ reason: String) -> TokenizationError {
        .notJSON(file: file, byte: position, reason: reason)
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            position += 1
        }
    }

    private mutating func value(depth: Int) throws(TokenizationError) -> JSONValue {
        guard depth <= TokenizerLimits.jsonDepth else { throw error("nested too deeply") }
        skipSpace()
        switch current {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case nil: throw error("unexpected end")
        default: return try number()
        }
    }

    private mutating func literal(_ text: String, _ value: JSONValue) throws(TokenizationError) -> JSONValue {
        for byte in text.utf8 {
            guard current == byte else { throw error("expected \(text)") }
            position += 1
        }
        return value
    }

    private mutating func object(depth: Int) throws(TokenizationError) -> JSONValue {
        position += 1
        var members: [(key: String, value: JSONValue)] = []
        skipSpace()
        if current == UInt8(ascii: "}") {
            position += 1
            return .object(members)
        }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw error("expected a key") }
            let key = try string()
            skipSpace()
            guard current == UInt8(ascii: ":") else { throw error("expected ':'") }
            position += 1
            members.append((key, try value(depth: depth + 1)))
            skipSpace()
            switch current {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "}"):
                position += 1
                return .object(members)
            default: throw error("expected ',' or '}'")
            }
        }
    }

    private mutating func array(depth: Int) throws(TokenizationError) -> JSONValue {
        position += 1
        var values: [JSONValue] = []
        skipSpace()
        if current == UInt8(ascii: "]") {
            position += 1
            return .array(values)
        }
        while true {
            values.append(try value(depth: depth + 1))
            skipSpace()
            switch current {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "]"):
                position += 1
                return .array(values)
            default: throw error("expected ',' or ']'")
            }
        }
    }

    private mutating func number() throws(TokenizationError) -> JSONValue {
        let start = position
        if current == UInt8(ascii: "-") { position += 1 }
        let firstDigit = position
        skipDigits()
        guard position > firstDigit else { throw error("expected a value") }
        guard position == firstDigit + 1 || bytes[firstDigit] != UInt8(ascii: "0") else {
            throw error("a number starts with 0")
        }
        var isInteger = true
        if current == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            let fraction = position
            skipDigits()
            guard position > fraction else { throw error("expected a digit") }
        }
        if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
            isInteger = false
            position += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
            let exponent = position
            skipDigits()
            guard position > exponent else { throw error("expected a digit") }
        }
        guard isInteger else { return .otherNumber }
        var value = 0
        for byte in bytes[firstDigit..<position] {
            let (shifted, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflowOfSum) = shifted.addingReportingOverflow(Int(byte &- UInt8(ascii: "0")))
            if overflow || overflowOfSum { return .otherNumber }
            value = sum
        }
        return .integer(bytes[start] == UInt8(ascii: "-") ? -value : value)
    }

    private mutating func skipDigits() {
        while let byte = current, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
    }

    private mutating func string() throws(TokenizationError) -> String {
        position += 1
        let start = position
        while let byte = current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 {
            position += 1
        }
        if current == UInt8(ascii: "\"") {
            let text = String(decoding: bytes[start..<position], as: UTF8.self)
            position += 1
            return text
        }
        var content = Array(bytes[start..<position])
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return String(decoding: content, as: UTF8.self)
            case UInt8(ascii: "\\"):
                position += 1
                try escape(into: &content)
            case 0..<0x20: throw error("control character in a string")
            default:
                content.append(byte)
                position += 1
            }
        }
        throw error("unexpected end of a string")
    }

    private mutating func escape(into content: inout [UInt8]) throws(TokenizationError) {
        guard let byte = current else { throw error("unexpected end of a string") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(byte)
        case UInt8(ascii: "b"): content.append(0x08)
        case UInt8(ascii: "f"): content.append(0x0C)
        case UInt8(ascii: "n"): content.append(0x0A)
        case UInt8(ascii: "r"): content.append(0x0D)
        case UInt8(ascii: "t"): content.append(0x09)
        case UInt8(ascii: "u"):
            var value = try hexadecimal()
            if (0xD800..<0xDC00).contains(value), current == UInt8(ascii: "\\") {
                position += 1
                guard current == UInt8(ascii: "u") else { throw error("half a surrogate pair") }
                position += 1
                let low = try hexadecimal()
                guard (0xDC00..<0xE000).contains(low) else { throw error("half a surrogate pair") }
                value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(value) else { throw error("half a surrogate pair") }
            content.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
        default: throw error("unknown escape")
        }
    }

    private mutating func hexadecimal() throws(TokenizationError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = current, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80
            else {
                throw error("expected four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }
}
