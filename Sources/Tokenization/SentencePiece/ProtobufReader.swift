/// Reads the fields of one protobuf message, strictly: whatever is not well-formed to the last byte is an error.
///
/// Nothing is copied; a reader of a nested message reads a part of the same bytes. Groups, which the formats read here
/// never had, are refused.
struct ProtobufReader {
    /// Why bytes are no message.
    struct Failure: Error, Equatable {
        /// In the whole file.
        let offset: Int
        let reason: String
    }

    /// A field: its number and its value as it is stored.
    struct Field {
        enum Value {
            case varint(UInt64)
            case fixed32(UInt32)
            case fixed64(UInt64)
            /// Text, bytes or a nested message.
            case bytes(Range<Int>)
        }

        let number: Int
        let value: Value
        /// Where it begins, for errors.
        let offset: Int
    }

    private let bytes: UnsafeRawBufferPointer
    private var position: Int
    private let end: Int

    /// - Parameter range: of the message within `bytes`; the whole by default
    init(_ bytes: UnsafeRawBufferPointer, range: Range<Int>? = nil) {
        self.bytes = bytes
        position = range?.lowerBound ?? 0
        end = range?.upperBound ?? bytes.count
    }

    /// The next field; nil at the end of the message.
    mutating func next() throws(Failure) -> Field? {
        guard position < end else { return nil }
        let offset = position
        let tag = try varint()
        guard let number = Int(exactly: tag >> 3), (1...(1 << 29) - 1).contains(number) else {
            throw Failure(offset: offset, reason: "\(tag >> 3) is no field number")
        }
        let value: Field.Value
        switch tag & 7 {
        case 0: value = .varint(try varint())
        case 1: value = .fixed64(try fixed(8))
        case 2:
            let length = try varint()
            guard length <= UInt64(end - position) else {
                throw Failure(
                    offset: offset,
                    reason: "field \(number) is \(length) bytes long, \(end - position) are left")
            }
            let start = position
            position += Int(length)
            value = .bytes(start..<position)
        case 5: value = .fixed32(UInt32(truncatingIfNeeded: try fixed(4)))
        default: throw Failure(offset: offset, reason: "field \(number) has the unknown wire type \(tag & 7)")
        }
        return Field(number: number, value: value, offset: offset)
    }

    /// The bytes of a field's range.
    fileprivate func content(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[range])
    }

    private mutating func varint() throws(Failure) -> UInt64 {
        let start = position
        var result: UInt64 = 0
        for shift in stride(from: UInt64(0), through: 63, by: 7) {
            guard position < end else { throw Failure(offset: start, reason: "a number has no end") }
            let byte = UInt64(bytes[position])
            position += 1
            guard shift < 63 || byte <= 1 else { break }
            result |= (byte & 0x7F) << shift
            if byte < 0x80 { return result }
        }
        throw Failure(offset: start, reason: "a number has more than 64 bits")
    }

    private mutating func fixed(_ count: Int) throws(Failure) -> UInt64 {
        guard end - position >= count else {
            throw Failure(offset: position, reason: "a number of \(count) bytes, \(end - position) are left")
        }
        defer { position += count }
        return (0..<count).reduce(0) { $0 | UInt64(bytes[position + $1]) << UInt64(8 * $1) }
    }
}

extension ProtobufReader.Field {
    private func wrong(_ expected: String) -> ProtobufReader.Failure {
        .init(offset: offset, reason: "field \(number) is not \(expected)")
    }

    /// A number, or a kind of an enumeration.
    func integer() throws(ProtobufReader.Failure) -> Int {
        guard case .varint(let bits) = value else { throw wrong("a whole number") }
        // Negative numbers are stored as those of 64 bits.
        return Int(Int64(bitPattern: bits))
    }

    func bool() throws(ProtobufReader.Failure) -> Bool {
        guard case .varint(let bits) = value, bits <= 1 else { throw wrong("true or false") }
        return bits == 1
    }

    func float() throws(ProtobufReader.Failure) -> Float {
        guard case .fixed32(let bits) = value else { throw wrong("a floating-point number") }
        return Float(bitPattern: bits)
    }

    /// Text, what is not UTF-8 in it as U+FFFD.
    /// - Parameter reader: of the message that the field is in
    func text(_ reader: ProtobufReader) throws(ProtobufReader.Failure) -> String {
        String(decoding: reader.content(try range()), as: UTF8.self)
    }

    /// The place of bytes or of a nested message.
    func range() throws(ProtobufReader.Failure) -> Range<Int> {
        guard case .bytes(let range) = value else { throw wrong("a text or a message") }
        return range
    }
}
