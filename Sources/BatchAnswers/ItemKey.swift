internal import WireFormats

/// What tells items of a batch apart: their id, or the number of their line where they have none that counts.
enum ItemKey: Sendable, Hashable {
    /// As text: `7` and `"7"` are the same id.
    case id(String)
    case line(Int)

    init(_ id: BatchID?, line: Int) {
        self = id.map { .id($0.description) } ?? .line(line)
    }

    /// The same number for the same key in every run, on every machine (FNV-1a, then SplitMix64's last step).
    var stableHash: UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        func add(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        switch self {
        case .id(let text): for byte in text.utf8 { add(byte) }
        case .line(let number):
            // No text begins with this byte.
            add(0xFF)
            for byte in "\(number)".utf8 { add(byte) }
        }
        hash = (hash ^ hash >> 30) &* 0xBF58_476D_1CE4_E5B9
        hash = (hash ^ hash >> 27) &* 0x94D0_49BB_1331_11EB
        return hash ^ hash >> 31
    }
}

/// Which keys were seen. Keeps 128 bits of each, so that millions of long ids fit into memory.
struct ItemKeySet: Sendable {
    private var hashes: Set<UInt128> = []

    var count: Int { hashes.count }

    func contains(_ key: ItemKey) -> Bool { hashes.contains(Self.hash(key)) }

    /// - Returns: whether it is new.
    mutating func insert(_ key: ItemKey) -> Bool { hashes.insert(Self.hash(key)).inserted }

    /// Twice the standard library's seeded hash, so that nobody can make ids that collide.
    private static func hash(_ key: ItemKey) -> UInt128 {
        func half(_ salt: UInt8) -> UInt128 {
            var hasher = Hasher()
            hasher.combine(salt)
            // By bytes: two ids that are canonically equivalent are two ids.
            switch key {
            case .id(var text): text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
            case .line(let number): hasher.combine(number)
            }
            if case .line = key { hasher.combine(true) } else { hasher.combine(false) }
            return UInt128(UInt(bitPattern: hasher.finalize()))
        }
        return half(0) << 64 | half(1)
    }
}

/// One of several equal parts of a batch, for several machines: every item is in exactly one part, whatever else the
/// input holds.
package struct Shard: Sendable, Equatable {
    /// From 1.
    package let number: Int
    package let count: Int

    /// Reads `k/n`; nil unless 1 ≤ k ≤ n ≤ 1,000,000.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let number = Int(parts[0]), let count = Int(parts[1]),
            (1...1_000_000).contains(count), (1...count).contains(number)
        else { return nil }
        (self.number, self.count) = (number, count)
    }

    func contains(_ key: ItemKey) -> Bool { key.stableHash % UInt64(count) == UInt64(number - 1) }
}
