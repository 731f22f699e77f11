/// Composition pairs and decompositions of `UnicodeTables`, for lookup.
struct CanonicalData: Sendable {
    /// Built when the first text needs it.
    static let shared = CanonicalData()
    /// Mark of a decomposition that NFC does not undo.
    static let excluded: UInt32 = 1 << 31

    private let compositions: [UInt64: UInt32]
    private let decompositions: [UInt32: (first: UInt32, second: UInt32)]

    private init() {
        var compositions: [UInt64: UInt32] = [:]
        var decompositions: [UInt32: (first: UInt32, second: UInt32)] = [:]
        ScalarProperties.forEachRange(UnicodeTables.decompositions) { scalar, first, second in
            let leading = first & ~Self.excluded
            decompositions[scalar] = (leading, second)
            if first & Self.excluded == 0 { compositions[UInt64(leading) << 32 | UInt64(second)] = scalar }
        }
        self.compositions = compositions
        self.decompositions = decompositions
    }

    /// Appends the full canonical decomposition of `scalar`.
    func decompose(_ scalar: UInt32, into result: inout [UInt32]) {
        if scalar < 0xC0 {
            result.append(scalar)
        } else if (0xAC00..<0xD7A4).contains(scalar) {
            let index = scalar - 0xAC00
            result.append(0x1100 + index / 588)
            result.append(0x1161 + index % 588 / 28)
            if index % 28 != 0 { result.append(0x11A7 + index % 28) }
        } else if let (first, second) = decompositions[scalar] {
            decompose(first, into: &result)
            if second != 0 { decompose(second, into: &result) }
        } else {
            result.append(scalar)
        }
    }

    /// The scalar that `first` followed by `second` becomes in NFC, or nil.
    func compose(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if (0x1100..<0x1113).contains(first), (0x1161..<0x1176).contains(second) {
            return 0xAC00 + ((first - 0x1100) * 21 + (second - 0x1161)) * 28
        }
        if (0xAC00..<0xD7A4).contains(first), (first - 0xAC00) % 28 == 0, (0x11A8..<0x11C3).contains(second) {
            return first + (second - 0x11A7)
        }
        return compositions[UInt64(first) << 32 | UInt64(second)]
    }

    func combiningClass(_ scalar: UInt32) -> UInt32 {
        scalar < 0x300 ? 0 : ScalarProperties.search(UnicodeTables.combiningClassRanges, scalar)
    }
}

/// Normalisation form C in time near-linear in the length, marks included: Foundation's grows with the
/// square of a run of mixed combining marks (a megabyte of them takes minutes), and follows another version of
/// Unicode than `tokenizers`.
enum CanonicalComposition {
    /// Whether some scalar of the text may change; most text needs no more than this scan.
    ///
    /// - Parameter bytes: valid UTF-8.
    static func mayChange(_ bytes: UnsafeBufferPointer<UInt8>, properties: ScalarProperties) -> Bool {
        var position = 0
        while position < bytes.count {
            if bytes[position] < 0x80 {
                position += 1
                continue
            }
            let scalar = DecodedScalar(bytes, at: position)
            if properties.mayChangeUnderNFC(scalar.value) { return true }
            position += scalar.length
        }
        return false
    }

    /// - Parameter bytes: valid UTF-8.
    /// - Returns: its normalisation form C.
    static func normalize(_ bytes: UnsafeBufferPointer<UInt8>) -> [UInt8] {
        let data = CanonicalData.shared
        var scalars: [UInt32] = []
        scalars.reserveCapacity(bytes.count)
        var position = 0
        while position < bytes.count {
            let scalar = DecodedScalar(bytes, at: position)
            data.decompose(scalar.value, into: &scalars)
            position += scalar.length
        }
        var classes = scalars.map { UInt8(truncatingIfNeeded: data.combiningClass($0)) }
        order(&scalars, &classes)
        compose(&scalars, classes, data)
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        for value in scalars {
            guard let scalar = Unicode.Scalar(value), let encoded = UTF8.encode(scalar) else { continue }
            result.append(contentsOf: encoded)
        }
        return result
    }

    /// Canonical ordering: sorts each run of marks by combining class, keeping the order of equals.
    private static func order(_ scalars: inout [UInt32], _ classes: inout [UInt8]) {
        var start = 0
        while start < scalars.count {
            guard classes[start] != 0 else {
                start += 1
                continue
            }
            var end = start + 1
            var isSorted = true
            while end < scalars.count, classes[end] != 0 {
                if classes[end] < classes[end - 1] { isSorted = false }
                end += 1
            }
            if !isSorted {
                // Class, place in the run, scalar: unique keys, so any sort is stable.
                var keys = (start..<end).map {
                    (key: UInt64(classes[$0]) << 56 | UInt64($0 - start), scalar: scalars[$0])
                }
                keys.sort { $0.key < $1.key }
                for (offset, entry) in keys.enumerated() {
                    scalars[start + offset] = entry.scalar
                    classes[start + offset] = UInt8(truncatingIfNeeded: entry.key >> 56)
                }
            }
            start = end
        }
    }

    /// Canonical composition, in place.
    private static func compose(_ scalars: inout [UInt32], _ classes: [UInt8], _ data: CanonicalData) {
        var count = 0
        var starter: Int?
        // Class of the last scalar kept after the starter; nil when there is none.
        var lastClass: UInt8?
        for index in scalars.indices {
            let scalar = scalars[index]
            let combiningClass = classes[index]
            let isBlocked = lastClass.map { $0 == 0 || $0 >= combiningClass } ?? false
            if let starter, !isBlocked, let composed = data.compose(scalars[starter], scalar) {
                scalars[starter] = composed
                continue
            }
            scalars[count] = scalar
            if combiningClass == 0 {
                starter = count
                lastClass = nil
            } else {
                lastClass = combiningClass
            }
            count += 1
        }
        scalars.removeLast(scalars.count - count)
    }
}
