/// The netpbm formats P1 to P6 as Pillow reads them.
///
/// Samples are scaled to 0...255 by rounding half to even.
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
        var samples: Int { width.saturatingProduct(height).saturatingProduct(channels) }
        /// Of a row in a binary file.
        var rowBytes: Int { isBitmap ? (width + 7) / 8 : width * channels * (isWide ? 2 : 1) }
    }

    /// Space, tab, line feed, vertical tab, form feed, carriage return.
    static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}

/// The rows of a netpbm file.
final class PortableAnymapReader: RowSource {
    let header: RowHeader
    private let bytes: ByteView
    private let shape: PortableAnymap.Header
    /// Sample value to 8 bits, for 0...maximum.
    private let table: [UInt8]
    private let allowsTruncated: Bool
    private var tokens: TokenReader
    private var row = 0
    private var remark: String?

    init(_ bytes: ByteView, limits: ImageLimits, options: ImageOptions) throws(ImageInputError) {
        shape = try PortableAnymap.Header(bytes)
        try limits.check(width: shape.width, height: shape.height, format: .portableAnymap)
        header = RowHeader(width: shape.width, height: shape.height, isGrey: shape.channels == 1)
        self.bytes = bytes
        allowsTruncated = options.allowsTruncated
        table = Self.scale(shape, clips: options.referenceDepth)
        tokens = TokenReader(bytes: bytes, offset: shape.start)
        if !allowsTruncated { try checkLength() }
    }

    /// Refuses a short file before the first row.
    private func checkLength() throws(ImageInputError) {
        let body = bytes.count - shape.start
        // One digit a sample; all but bitmaps need a space between two.
        let needed =
            shape.isPlain
            ? (shape.isBitmap ? shape.samples : shape.samples.saturatingProduct(2) - 1)
            : shape.rowBytes.saturatingProduct(shape.height)
        guard body >= needed else {
            throw .truncated(
                format: .portableAnymap, offset: bytes.count, fileBytes: bytes.count,
                detail: "\(needed) bytes of samples expected after byte \(shape.start), found \(body)")
        }
    }

    /// - Parameter clips: grey with more than 8 bits is scaled to 0...65535 and then clipped to 255, as
    ///   Pillow's `convert("RGB")` does it.
    private static func scale(_ shape: PortableAnymap.Header, clips: Bool) -> [UInt8] {
        let top: Double = clips && shape.isWide && shape.channels == 1 ? 65_535 : 255
        return (0...shape.maximum).map { value in
            let scaled = (Double(value) / Double(shape.maximum) * top).rounded(.toNearestOrEven)
            return UInt8(min(scaled, 255))
        }
    }

    func read(_ count: Int, into destination: UnsafeMutableBufferPointer<UInt8>) throws(ImageInputError) {
        let length = shape.width * 3
        for y in 0..<count {
            let part = UnsafeMutableBufferPointer(rebasing: destination[y * length..<(y + 1) * length])
            if remark == nil {
                try readRow(into: part)
            } else {
                part.update(repeating: 128)
            }
            row += 1
        }
    }

    func finish() throws(ImageInputError) -> [String] {
        remark.map { ["\(ImageFormat.portableAnymap): \($0)"] } ?? []
    }

    private func readRow(into destination: UnsafeMutableBufferPointer<UInt8>) throws(ImageInputError) {
        do throws(ImageInputError) {
            if shape.isPlain {
                try readPlain(into: destination)
            } else {
                let start = shape.start + row * shape.rowBytes
                guard let samples = bytes.part(at: start, length: shape.rowBytes) else {
                    throw ImageInputError.truncated(
                        format: .portableAnymap, offset: bytes.count, fileBytes: bytes.count,
                        detail: "the file ends in row \(row) of \(shape.height)")
                }
                if shape.isBitmap {
                    readBits(samples, into: destination)
                } else {
                    readBinary(samples, into: destination)
                }
            }
        } catch {
            guard allowsTruncated else { throw error }
            remark = "the file ends or is damaged in row \(row) of \(shape.height), the rest is grey"
            destination.update(repeating: 128)
        }
    }

    private func readBinary(_ samples: ByteView, into destination: UnsafeMutableBufferPointer<UInt8>) {
        let raw = samples.raw
        let repeats = 3 / shape.channels
        var at = 0
        for sample in 0..<shape.width * shape.channels {
            let value =
                shape.isWide ? Int(raw[2 * sample]) << 8 | Int(raw[2 * sample + 1]) : Int(raw[sample])
            // Values above the maximum count as the maximum.
            let byte = table[min(value, shape.maximum)]
            for _ in 0..<repeats {
                destination[at] = byte
                at += 1
            }
        }
    }

    /// One bit a pixel, 1 is black, rows begin on a byte.
    private func readBits(_ samples: ByteView, into destination: UnsafeMutableBufferPointer<UInt8>) {
        for x in 0..<shape.width {
            let bit = samples.raw[x / 8] >> UInt8(7 - x % 8) & 1
            for channel in 0..<3 { destination[3 * x + channel] = bit == 1 ? 0 : 255 }
        }
    }

    private func readPlain(into destination: UnsafeMutableBufferPointer<UInt8>) throws(ImageInputError) {
        let repeats = 3 / shape.channels
        let first = row * shape.width * shape.channels
        var at = 0
        for sample in 0..<shape.width * shape.channels {
            let value = shape.isBitmap ? try tokens.bit() : try tokens.number("sample \(first + sample)")
            guard value <= shape.maximum else {
                throw .corrupt(
                    format: .portableAnymap, offset: tokens.offset,
                    detail: "sample \(first + sample) is \(value), above the maximum \(shape.maximum)")
            }
            let byte = shape.isBitmap ? (value == 1 ? 0 : 255) : table[value]
            for _ in 0..<repeats {
                destination[at] = byte
                at += 1
            }
        }
    }
}

extension Int {
    /// The product, or the largest number when it is larger than that; for factors of at least 0.
    func saturatingProduct(_ other: Int) -> Int {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }

    /// The sum, or the largest number when it is larger than that; for summands of at least 0.
    func saturatingSum(_ other: Int) -> Int {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
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
