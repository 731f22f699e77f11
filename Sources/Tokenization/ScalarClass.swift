/// What the split patterns and the normaliser need to know of a Unicode scalar.
enum ScalarClass: UInt8 {
    case other = 0
    /// `\p{L}`
    case letter = 1
    /// `\p{N}`
    case number = 2
    /// `\s`: White_Space
    case space = 3
}

/// What the cased split patterns tell apart.
enum LetterCase {
    /// Neither letter nor mark.
    case none
    /// `\p{Lu}`, `\p{Lt}`
    case upper
    /// `\p{Ll}`
    case lower
    /// `\p{Lm}`, `\p{Lo}`, `\p{M}`
    case either
}

/// Lookup of `UnicodeTables` by scalar: one byte for each scalar below U+20000, binary search above.
struct ScalarProperties: Sendable {
    /// Built once, in well under a millisecond.
    static let shared = ScalarProperties()

    private static let direct: UInt32 = 0x20000
    /// Bits 0–1: `ScalarClass`. Bit 2: may change under NFC, by itself or after other scalars.
    private let table: [UInt8]
    private let needsNormalizing: UInt8 = 4

    private init() {
        var table = [UInt8](repeating: 0, count: Int(Self.direct))
        Self.forEachRange(UnicodeTables.classRanges) { first, last, value in
            for scalar in first...last where scalar < Self.direct { table[Int(scalar)] |= UInt8(value) }
        }
        Self.forEachRange(UnicodeTables.combiningClassRanges) { first, last, _ in
            for scalar in first...last where scalar < Self.direct { table[Int(scalar)] |= 4 }
        }
        Self.forEachRange(UnicodeTables.decompositions) { scalar, first, second in
            if first & CanonicalData.excluded != 0 {
                if scalar < Self.direct { table[Int(scalar)] |= 4 }
            } else if second < Self.direct {
                table[Int(second)] |= 4
            }
        }
        // Hangul vowels and trailing consonants join the syllable before them.
        for scalar in 0x1161...0x1175 { table[scalar] |= 4 }
        for scalar in 0x11A8...0x11C2 { table[scalar] |= 4 }
        self.table = table
    }

    /// Calls `body` for every three numbers of a table.
    static func forEachRange(_ table: [UInt32], _ body: (UInt32, UInt32, UInt32) -> Void) {
        for index in stride(from: 0, to: table.count - 2, by: 3) {
            body(table[index], table[index + 1], table[index + 2])
        }
    }

    /// The value of the range that holds `scalar`, or 0. Binary search.
    static func search(_ ranges: [UInt32], _ scalar: UInt32) -> UInt32 {
        var low = 0
        var high = ranges.count / 3
        while low < high {
            let middle = (low + high) / 2
            if scalar > ranges[3 * middle + 1] { low = middle + 1 } else { high = middle }
        }
        guard low < ranges.count / 3, scalar >= ranges[3 * low] else { return 0 }
        return ranges[3 * low + 2]
    }

    @inline(__always)
    func scalarClass(_ scalar: UInt32) -> ScalarClass {
        let bits =
            scalar < Self.direct
            ? table[Int(scalar)] & 3
            : UInt8(truncatingIfNeeded: Self.search(UnicodeTables.classRanges, scalar))
        return ScalarClass(rawValue: bits) ?? .other
    }

    /// - Parameter kind: its `scalarClass`, which decides what a letter is; the runtime's Unicode tells only
    ///   its case, so a letter that it does not know yet has none.
    func letterCase(_ scalar: UInt32, _ kind: ScalarClass) -> LetterCase {
        if scalar < 0x80 {
            guard kind == .letter else { return .none }
            return scalar < 0x61 ? .upper : .lower
        }
        guard kind == .letter || kind == .other else { return .none }
        let category = Unicode.Scalar(scalar)?.properties.generalCategory
        switch category {
        case .uppercaseLetter, .titlecaseLetter: return kind == .letter ? .upper : .none
        case .lowercaseLetter: return kind == .letter ? .lower : .none
        case .nonspacingMark, .spacingMark, .enclosingMark: return .either
        default: return kind == .letter ? .either : .none
        }
    }

    /// Rust's `char::is_numeric`, which `Digits` asks: it follows a newer Unicode than the regular expressions.
    func isNumeric(_ scalar: UInt32) -> Bool {
        scalarClass(scalar) == .number || (0x11DE0...0x11DE9).contains(scalar)
            || (0x16FF4...0x16FF6).contains(scalar)
    }

    /// False for scalars that NFC keeps wherever they stand. True is only a suspicion.
    @inline(__always)
    func mayChangeUnderNFC(_ scalar: UInt32) -> Bool {
        scalar < Self.direct
            ? table[Int(scalar)] & needsNormalizing != 0 : (0x2F800..<0x2FA20).contains(scalar)
    }
}

/// A scalar and the number of bytes it takes, read from UTF-8 that is known to be valid.
struct DecodedScalar {
    var value: UInt32
    var length: Int

    /// - Parameters:
    ///   - bytes: valid UTF-8.
    ///   - position: the first byte of a scalar, within `bytes`.
    @inline(__always)
    init(_ bytes: UnsafeBufferPointer<UInt8>, at position: Int) {
        let lead = UInt32(bytes[position])
        func next(_ offset: Int) -> UInt32 { UInt32(bytes[position + offset]) & 0x3F }
        if lead < 0x80 {
            (value, length) = (lead, 1)
        } else if lead < 0xE0 {
            (value, length) = ((lead & 0x1F) << 6 | next(1), 2)
        } else if lead < 0xF0 {
            (value, length) = ((lead & 0x0F) << 12 | next(1) << 6 | next(2), 3)
        } else {
            (value, length) = ((lead & 0x07) << 18 | next(1) << 12 | next(2) << 6 | next(3), 4)
        }
    }
}
