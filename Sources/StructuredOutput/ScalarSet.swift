/// A set of Unicode scalars as ranges in order that do not touch. Surrogates are none.
struct ScalarSet: Hashable, Sendable {
    private(set) var ranges: [ClosedRange<UInt32>]

    static let all = ScalarSet([0...0x10FFFF])

    init(_ ranges: [ClosedRange<UInt32>]) {
        self.ranges = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            for part in [Self.part(range, 0...0xD7FF), Self.part(range, 0xE000...0x10FFFF)].compactMap({ $0 })
            {
                if let last = self.ranges.last, part.lowerBound <= last.upperBound + 1 {
                    self.ranges[self.ranges.count - 1] =
                        last.lowerBound...max(last.upperBound, part.upperBound)
                } else {
                    self.ranges.append(part)
                }
            }
        }
    }

    init(_ scalar: UInt32) { self.init([scalar...scalar]) }

    private static func part(
        _ range: ClosedRange<UInt32>, _ limits: ClosedRange<UInt32>
    ) -> ClosedRange<UInt32>? {
        range.overlaps(limits) ? range.clamped(to: limits) : nil
    }

    var isEmpty: Bool { ranges.isEmpty }

    func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }

    var inverted: ScalarSet {
        var (result, next): ([ClosedRange<UInt32>], UInt32) = ([], 0)
        for range in ranges {
            if range.lowerBound > next { result.append(next...range.lowerBound - 1) }
            next = range.upperBound + 1
        }
        if next <= 0x10FFFF { result.append(next...0x10FFFF) }
        return ScalarSet(result)
    }

    func intersection(_ other: ScalarSet) -> ScalarSet { inverted.union(other.inverted).inverted }

    /// A sequence of byte ranges: each choice of a byte from each range is a text.
    typealias Bytes = [ClosedRange<UInt8>]

    /// How the scalars are written.
    enum Encoding: Hashable {
        case utf8
        /// Within a JSON string, escaped where they must be and in no other way.
        case json
    }

    func bytes(_ encoding: Encoding) -> [Bytes] {
        switch encoding {
        case .utf8: return ranges.flatMap(Self.utf8)
        case .json:
            let plain = intersection(JSONText.plain)
            let escaped = intersection(JSONText.plain.inverted)
            return plain.bytes(.utf8)
                + escaped.ranges.flatMap { range in
                    range.map { scalar in JSONText.escape(UInt8(truncatingIfNeeded: scalar)).map { $0...$0 } }
                }
        }
    }

    /// The sequences for a range of scalars.
    private static func utf8(_ range: ClosedRange<UInt32>) -> [Bytes] {
        var result: [Bytes] = []
        for limits in [0...0x7F, 0x80...0x7FF, 0x800...0xFFFF, 0x10000...0x10FFFF] as [ClosedRange<UInt32>] {
            if let part = part(range, limits) { split(part, limits.upperBound, &result) }
        }
        return result
    }

    /// - Parameter range: of scalars that take as many bytes as `limit`
    private static func split(_ range: ClosedRange<UInt32>, _ limit: UInt32, _ result: inout [Bytes]) {
        let (low, high) = (range.lowerBound, range.upperBound)
        let length = limit <= 0x7F ? 1 : limit <= 0x7FF ? 2 : limit <= 0xFFFF ? 3 : 4
        // Wherever the ends differ, the bytes behind must run through all their values.
        for count in 1..<max(length, 1) {
            let mask = UInt32(1) << UInt32(6 * count) - 1
            guard low & ~mask != high & ~mask else { continue }
            if low & mask != 0 {
                split(low...low | mask, limit, &result)
                return split((low | mask) + 1...high, limit, &result)
            }
            if high & mask != mask {
                split(low...(high & ~mask) - 1, limit, &result)
                return split(high & ~mask...high, limit, &result)
            }
        }
        let (first, last) = (encode(low, length), encode(high, length))
        result.append(zip(first, last).map { $0...$1 })
    }

    private static func encode(_ scalar: UInt32, _ length: Int) -> [UInt8] {
        guard length > 1 else { return [UInt8(truncatingIfNeeded: scalar)] }
        let lead: UInt32 = [0, 0, 0xC0, 0xE0, 0xF0][length]
        return (0..<length).map { index in
            let bits = scalar >> UInt32(6 * (length - 1 - index))
            return UInt8(truncatingIfNeeded: index == 0 ? lead | bits : 0x80 | bits & 0x3F)
        }
    }
}

/// How JSON writes text.
enum JSONText {
    /// What a string may hold as it is.
    static let plain = ScalarSet([0x20...0x21, 0x23...0x5B, 0x5D...0x10FFFF])

    /// The shortest way to write what may not stand as it is.
    static func escape(_ byte: UInt8) -> [UInt8] {
        switch byte {
        case UInt8(ascii: "\""): Array(#"\""#.utf8)
        case UInt8(ascii: "\\"): Array(#"\\"#.utf8)
        case 0x08: Array(#"\b"#.utf8)
        case 0x09: Array(#"\t"#.utf8)
        case 0x0A: Array(#"\n"#.utf8)
        case 0x0C: Array(#"\f"#.utf8)
        case 0x0D: Array(#"\r"#.utf8)
        default:
            Array((byte < 16 ? #"\u000"# : #"\u00"#).utf8) + Array(String(byte, radix: 16).utf8)
        }
    }

    /// A string with its quotes.
    static func quoted(_ text: String) -> [UInt8] {
        var result = [UInt8(ascii: "\"")]
        for byte in text.utf8 {
            if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                result += escape(byte)
            } else {
                result.append(byte)
            }
        }
        return result + [UInt8(ascii: "\"")]
    }
}
