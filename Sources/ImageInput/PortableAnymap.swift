/// The netpbm formats P1 to P6 as Pillow reads them.
///
/// Samples are scaled to 0...255 by rounding half to even. Grey with more than 8 bits is scaled to
/// 0...65535 and then clipped to 255, because that is what Pillow's `convert("RGB")` does to it.
enum PortableAnymap {
    struct Header {
        let isPlain: Bool
        let isBitmap: Bool
        let channels: Int
        let width: Int
        let height: Int
        let maximum: Int
        /// Where the samples begin.
        let start: Int

        init(_ bytes: ByteView) throws(ImageInputError) {
            let kind = Int(bytes.byte(at: 1) ?? 0) - 0x30
            isPlain = kind <= 3
            isBitmap = kind == 1 || kind == 4
            channels = kind == 3 || kind == 6 ? 3 : 1
            var reader = TokenReader(bytes: bytes, offset: 2)
            width = try reader.number("width")
            height = try reader.number("height")
            maximum = isBitmap ? 1 : try reader.number("maximum value")
            start = reader.offset
            guard (1...65_535).contains(maximum) else {
                throw .corrupt(
                    format: .portableAnymap, offset: start,
                    detail: "the maximum value is \(maximum), it must be 1...65535")
            }
        }

        var isWide: Bool { maximum > 255 }
        var samples: Int { width * height * channels }
    }

    static func decode(_ bytes: ByteView, limits: ImageLimits) throws(ImageInputError) -> RGBImage {
        let header = try Header(bytes)
        try limits.check(width: header.width, height: header.height, format: .portableAnymap)
        let body = bytes.dropping(header.start)
        try checkLength(of: body, header, fileBytes: bytes.count)
        let table = scale(header)
        var failure: ImageInputError?
        let pixels = [UInt8](unsafeUninitializedCapacity: header.width * header.height * 3) { buffer, count in
            do throws(ImageInputError) {
                if header.isPlain {
                    try readPlain(bytes, header, table, into: buffer)
                } else if header.isBitmap {
                    readBits(body, header, into: buffer)
                } else {
                    readBinary(body, header, table, into: buffer)
                }
                count = buffer.count
            } catch {
                failure = error
                count = 0
            }
        }
        if let failure { throw failure }
        return RGBImage(checkedWidth: header.width, height: header.height, pixels: pixels)
    }

    /// Space, tab, line feed, vertical tab, form feed, carriage return.
    static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    /// Refuses a short file before the picture is allocated.
    private static func checkLength(
        of body: ByteView, _ header: Header, fileBytes: Int
    ) throws(ImageInputError) {
        let needed: Int
        if header.isPlain {
            // One digit a sample; all but bitmaps need a space between two.
            needed = header.isBitmap ? header.samples : header.samples * 2 - 1
        } else if header.isBitmap {
            needed = (header.width + 7) / 8 * header.height
        } else {
            needed = header.samples * (header.isWide ? 2 : 1)
        }
        guard body.count >= needed else {
            throw .truncated(
                format: .portableAnymap, offset: fileBytes, fileBytes: fileBytes,
                detail: "\(needed) bytes of samples expected after byte \(header.start), found \(body.count)")
        }
    }

    /// Sample value to 8 bits, for 0...maximum.
    private static func scale(_ header: Header) -> [UInt8] {
        let top: Double = header.isWide && header.channels == 1 ? 65_535 : 255
        return (0...header.maximum).map { value in
            let scaled = (Double(value) / Double(header.maximum) * top).rounded(.toNearestOrEven)
            return UInt8(min(scaled, 255))
        }
    }

    private static func readBinary(
        _ body: ByteView, _ header: Header, _ table: [UInt8], into buffer: UnsafeMutableBufferPointer<UInt8>
    ) {
        let raw = body.raw
        let repeats = 3 / header.channels
        var at = 0
        for sample in 0..<header.samples {
            let value =
                header.isWide ? Int(raw[2 * sample]) << 8 | Int(raw[2 * sample + 1]) : Int(raw[sample])
            // Values above the maximum count as the maximum.
            let byte = table[min(value, header.maximum)]
            for _ in 0..<repeats {
                buffer[at] = byte
                at += 1
            }
        }
    }

    /// One bit a pixel, 1 is black, rows begin on a byte.
    private static func readBits(
        _ body: ByteView, _ header: Header, into buffer: UnsafeMutableBufferPointer<UInt8>
    ) {
        let rowBytes = (header.width + 7) / 8
        for y in 0..<header.height {
            for x in 0..<header.width {
                let bit = body.raw[y * rowBytes + x / 8] >> UInt8(7 - x % 8) & 1
                let at = (y * header.width + x) * 3
                for channel in 0..<3 { buffer[at + channel] = bit == 1 ? 0 : 255 }
            }
        }
    }

    private static func readPlain(
        _ bytes: ByteView, _ header: Header, _ table: [UInt8], into buffer: UnsafeMutableBufferPointer<UInt8>
    ) throws(ImageInputError) {
        var reader = TokenReader(bytes: bytes, offset: header.start)
        let repeats = 3 / header.channels
        var at = 0
        for sample in 0..<header.samples {
            let value = header.isBitmap ? try reader.bit() : try reader.number("sample \(sample)")
            guard value <= header.maximum else {
                throw .corrupt(
                    format: .portableAnymap, offset: reader.offset,
                    detail: "sample \(sample) is \(value), above the maximum \(header.maximum)")
            }
            let byte = header.isBitmap ? (value == 1 ? 0 : 255) : table[value]
            for _ in 0..<repeats {
                buffer[at] = byte
                at += 1
            }
        }
    }
}

/// Decimal numbers between white space and `#` comments.
private struct TokenReader {
    let bytes: ByteView
    var offset: Int

    /// The next number; consumes the single white space that ends it.
    mutating func number(_ name: @autoclosure () -> String) throws(ImageInputError) -> Int {
        var value = 0
        var digits = 0
        while let byte = next() {
            if PortableAnymap.isSpace(byte) {
                if digits == 0 { continue }
                return value
            }
            guard (0x30...0x39).contains(byte), digits < 10 else {
                throw .corrupt(
                    format: .portableAnymap, offset: offset - 1,
                    detail: digits < 10 ? "\(name()) is not a number" : "\(name()) has more than 10 digits")
            }
            value = value * 10 + Int(byte - 0x30)
            digits += 1
        }
        guard digits > 0 else { throw truncated(name()) }
        return value
    }

    /// One pixel of a plain bitmap: a single digit, white space optional.
    mutating func bit() throws(ImageInputError) -> Int {
        while let byte = next() {
            if PortableAnymap.isSpace(byte) { continue }
            guard byte == 0x30 || byte == 0x31 else {
                throw .corrupt(
                    format: .portableAnymap, offset: offset - 1, detail: "a bitmap holds only 0 and 1")
            }
            return Int(byte - 0x30)
        }
        throw truncated("a pixel")
    }

    /// The next byte that is not part of a comment.
    private mutating func next() -> UInt8? {
        while let byte = bytes.byte(at: offset) {
            offset += 1
            if byte != UInt8(ascii: "#") { return byte }
            while let skipped = bytes.byte(at: offset) {
                offset += 1
                if skipped == 0x0A || skipped == 0x0D { break }
            }
        }
        return nil
    }

    private func truncated(_ name: String) -> ImageInputError {
        .truncated(
            format: .portableAnymap, offset: bytes.count, fileBytes: bytes.count,
            detail: "the file ends before \(name)")
    }
}
