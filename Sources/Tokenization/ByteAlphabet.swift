/// GPT-2's printable stand-ins for bytes: byte-level vocabularies write each byte as one scalar below U+0144.
enum ByteAlphabet {
    /// Stand-in of each byte. Printable Latin-1 stands for itself, the rest follows from U+0100 on.
    static let scalars: [UInt32] = {
        var next: UInt32 = 0x100
        return (UInt32(0)..<256).map { byte in
            if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE { return byte }
            defer { next += 1 }
            return next
        }
    }()

    /// Byte of each scalar below U+0144, or -1.
    private static let bytes: [Int16] = {
        var bytes = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar)] = Int16(byte) }
        return bytes
    }()

    /// The UTF-8 of each byte's stand-in.
    static let encoded: [[UInt8]] = scalars.map { scalar in
        scalar < 0x80
            ? [UInt8(scalar)] : [UInt8(0xC0 | scalar >> 6), UInt8(0x80 | scalar & 0x3F)]
    }

    /// Appends the bytes that a token stands for; a token with any scalar outside the alphabet stands for
    /// itself.
    ///
    /// - Parameter token: valid UTF-8.
    static func decode(_ token: ArraySlice<UInt8>, into result: inout [UInt8]) {
        let mark = result.count
        var index = token.startIndex
        while index < token.endIndex {
            var scalar = Int(token[index])
            index += 1
            // All stand-ins take one or two bytes.
            if scalar >= 0xC0, scalar < 0xE0, index < token.endIndex {
                scalar = (scalar & 0x1F) << 6 | Int(token[index] & 0x3F)
                index += 1
            } else if scalar >= 0x80 {
                scalar = bytes.count
            }
            guard scalar < bytes.count, bytes[scalar] >= 0 else {
                result.removeLast(result.count - mark)
                result.append(contentsOf: token)
                return
            }
            result.append(UInt8(truncatingIfNeeded: bytes[scalar]))
        }
    }
}
