/// Tokens by id and ids by token, as UTF-8 in one pool.
///
/// Open addressing with the standard library's seeded hash: keys are bytes, so canonically equivalent tokens
/// stay apart, and looking up a piece of the text makes no copy of it.
struct TokenTable: Sendable {
    private var pool: [UInt8] = []
    /// Range of each id in `pool`; start -1 for ids without token.
    private var starts: [Int]
    private var ends: [Int]
    /// Ids by hash; -1 is free. A power of two, at most half full.
    private var slots: [Int32]
    /// Tokens held.
    private(set) var count = 0

    /// - Parameters:
    ///   - capacity: tokens that will be inserted.
    ///   - idCount: highest id + 1, at most `TokenizerLimits.ids`.
    init(capacity: Int, idCount: Int) {
        starts = [Int](repeating: -1, count: idCount)
        ends = [Int](repeating: -1, count: idCount)
        var size = 16
        while size < 2 * capacity { size *= 2 }
        slots = [Int32](repeating: -1, count: size)
    }

    /// Highest id + 1.
    var idCount: Int { starts.count }

    /// - Returns: false when the token or the id is there already; nothing changes then.
    mutating func insert(_ token: String, id: Int) -> Bool {
        guard starts.indices.contains(id), starts[id] < 0, 2 * (count + 1) <= slots.count else {
            return false
        }
        var token = token
        let start = pool.count
        let slot: Int? = token.withUTF8 { bytes in
            let slot = self.slot(of: bytes)
            guard slots[slot] < 0 else { return nil }
            pool.append(contentsOf: bytes)
            return slot
        }
        guard let slot else { return false }
        slots[slot] = Int32(truncatingIfNeeded: id)
        starts[id] = start
        ends[id] = pool.count
        count += 1
        return true
    }

    /// The slot that holds the token or where it would be put.
    private func slot(of token: UnsafeBufferPointer<UInt8>) -> Int {
        var hasher = Hasher()
        hasher.combine(bytes: UnsafeRawBufferPointer(token))
        let mask = slots.count - 1
        var slot = hasher.finalize() & mask
        while slots[slot] >= 0, !equals(Int(slots[slot]), token) { slot = (slot + 1) & mask }
        return slot
    }

    private func equals(_ id: Int, _ token: UnsafeBufferPointer<UInt8>) -> Bool {
        let start = starts[id]
        guard ends[id] - start == token.count else { return false }
        for offset in 0..<token.count where pool[start + offset] != token[offset] { return false }
        return true
    }

    func id(of token: UnsafeBufferPointer<UInt8>) -> Int? {
        let id = slots[slot(of: token)]
        return id < 0 ? nil : Int(id)
    }

    func id(of token: [UInt8]) -> Int? { token.withUnsafeBufferPointer { id(of: $0) } }

    func id(of token: String) -> Int? {
        var token = token
        return token.withUTF8 { id(of: $0) }
    }

    /// The UTF-8 of a token, or nil for ids without one.
    func bytes(of id: Int) -> ArraySlice<UInt8>? {
        guard starts.indices.contains(id), starts[id] >= 0 else { return nil }
        return pool[starts[id]..<ends[id]]
    }
}
