/// Read-only bytes with every access checked: out of range is nil, never a trap. Valid only as long as the
/// buffer it was made from.
struct ByteView {
    private let bytes: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var count: Int { bytes.count }
    var raw: UnsafeRawBufferPointer { bytes }

    func byte(at offset: Int) -> UInt8? {
        offset >= 0 && offset < bytes.count ? bytes[offset] : nil
    }

    /// The part [offset, offset + length), or nil when it reaches outside.
    func part(at offset: Int, length: Int) -> ByteView? {
        guard offset >= 0, length >= 0, offset <= bytes.count, length <= bytes.count - offset else {
            return nil
        }
        return ByteView(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length]))
    }

    /// From `offset` to the end; empty when that lies outside.
    func dropping(_ offset: Int) -> ByteView {
        part(at: offset, length: bytes.count - offset)
            ?? ByteView(UnsafeRawBufferPointer(start: nil, count: 0))
    }

    func integer<T: FixedWidthInteger>(_: T.Type, at offset: Int, bigEndian: Bool) -> T? {
        guard offset >= 0, offset <= bytes.count - MemoryLayout<T>.size else { return nil }
        let value = bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
        return bigEndian ? T(bigEndian: value) : T(littleEndian: value)
    }

    func starts(with prefix: [UInt8]) -> Bool { bytes.starts(with: prefix) }
    func starts(with prefix: String) -> Bool { bytes.starts(with: prefix.utf8) }
    func equals(_ text: String) -> Bool { bytes.elementsEqual(text.utf8) }
    func isPrefix(of whole: [UInt8]) -> Bool { whole.starts(with: bytes) }

    func hasText(_ text: String, at offset: Int) -> Bool {
        part(at: offset, length: text.utf8.count)?.starts(with: text) ?? false
    }

    /// The first bytes as an error message may show them.
    var excerpt: String {
        bytes.prefix(8).map { byte in
            let digits = String(byte, radix: 16, uppercase: true)
            return digits.count == 1 ? "0" + digits : digits
        }.joined(separator: " ")
    }

    /// The first `limit` bytes as lowercase text, anything undecodable replaced.
    func lowercasedText(limit: Int) -> String {
        String(decoding: bytes.prefix(limit), as: UTF8.self).lowercased()
    }
}
