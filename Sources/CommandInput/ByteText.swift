/// Text that may hold bytes which are no UTF-8, as names of files may.
///
/// Swift's strings cannot hold such bytes and would put one sign in place of them all, under which no file is found.
/// Here each becomes a private character of its own, U+10FE80 to U+10FEFF, and can become a byte again.
public enum ByteText {
    private static let base: UInt32 = 0x10FE00

    /// The text of bytes, with a private character for each that is no UTF-8.
    public static func text(_ bytes: some Collection<UInt8>) -> String {
        let bytes = Array(bytes)
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        var text = String.UnicodeScalarView()
        var position = 0
        while position < bytes.count {
            let scalar = (1...4).lazy.compactMap { (count) -> Unicode.Scalar? in
                guard position + count <= bytes.count else { return nil }
                let part = String(validating: bytes[position..<position + count], as: UTF8.self)
                return part?.unicodeScalars.first
            }.first
            if let scalar {
                text.append(scalar)
                position += UTF8.width(scalar)
            } else {
                if let escape = Unicode.Scalar(base + UInt32(bytes[position])) { text.append(escape) }
                position += 1
            }
        }
        return String(text)
    }

    /// The bytes that a text stands for.
    public static func bytes(_ text: String) -> [UInt8] {
        guard hasForeignBytes(text) else { return Array(text.utf8) }
        return text.unicodeScalars.flatMap { scalar in
            byte(scalar).map { [$0] } ?? Array(String(scalar).utf8)
        }
    }

    /// Whether the text stands for bytes that are no UTF-8.
    public static func hasForeignBytes(_ text: String) -> Bool {
        text.unicodeScalars.contains { byte($0) != nil }
    }

    /// The text as people may see it, with the usual sign for bytes that are no text.
    public static func shown(_ text: String) -> String {
        hasForeignBytes(text) ? String(decoding: bytes(text), as: UTF8.self) : text
    }

    private static func byte(_ scalar: Unicode.Scalar) -> UInt8? {
        (base + 0x80...base + 0xFF).contains(scalar.value) ? UInt8(scalar.value - base) : nil
    }
}
