/// The members of a JSON object in the order of the text. No two have the same key.
///
/// Keys are told apart by their UTF-8. A `Dictionary` would not do: `String` compares by canonical
/// equivalence, and in a SentencePiece vocabulary "é" as one scalar and as two are different tokens.
package struct JSONObject: Sendable, Equatable {
    package struct Member: Sendable, Equatable {
        package let key: String
        package let value: JSONValue

        package init(key: String, value: JSONValue) {
            self.key = key
            self.value = value
        }

        package static func == (left: Member, right: Member) -> Bool {
            left.key.hasSameUTF8(as: right.key) && left.value == right.value
        }
    }

    package let members: [Member]

    /// - Parameter members: with keys that differ; `JSONParser` has seen to that.
    init(members: [Member]) { self.members = members }

    /// An object of one member.
    package init(_ key: String, _ value: JSONValue) { members = [Member(key: key, value: value)] }

    package var isEmpty: Bool { members.isEmpty }

    /// The member with this key, found in linear time; nil when absent.
    package subscript(key: String) -> JSONValue? {
        members.first { $0.key.hasSameUTF8(as: key) }?.value
    }
}

extension String {
    /// Equality of the bytes, where `==` is canonical equivalence.
    func hasSameUTF8(as other: String) -> Bool {
        utf8.count == other.utf8.count && utf8.elementsEqual(other.utf8)
    }
}

/// Tells whether a key is new to the object that is being read, in constant time for large objects.
///
/// Open addressing over the indices of the members, with the standard library's seeded hash of the key's
/// UTF-8, so that no file can be written to collide.
struct JSONKeyIndex {
    /// Up to this many members a look at each is faster.
    private static let linearLimit = 8
    /// Indices of members by hash; -1 is free. A power of two, at most half full.
    private var slots: [Int] = []

    /// Notes `key` as that of the member that comes next.
    /// - Returns: false when `members` have it already.
    mutating func insert(_ key: String, after members: [JSONObject.Member]) -> Bool {
        guard members.count >= Self.linearLimit else {
            return !members.contains { $0.key.hasSameUTF8(as: key) }
        }
        if 2 * (members.count + 1) > slots.count { grow(members) }
        let slot = slot(of: key, members)
        guard slots[slot] < 0 else { return false }
        slots[slot] = members.count
        return true
    }

    private mutating func grow(_ members: [JSONObject.Member]) {
        slots = [Int](repeating: -1, count: max(8 * Self.linearLimit, 4 * slots.count))
        for (index, member) in members.enumerated() { slots[slot(of: member.key, members)] = index }
    }

    /// The slot that holds the key, or where it would be put.
    private func slot(of key: String, _ members: [JSONObject.Member]) -> Int {
        let mask = slots.count - 1
        var slot = Self.hash(key) & mask
        while slots[slot] >= 0, !members[slots[slot]].key.hasSameUTF8(as: key) { slot = (slot + 1) & mask }
        return slot
    }

    private static func hash(_ key: String) -> Int {
        var key = key
        var hasher = Hasher()
        key.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        return hasher.finalize()
    }
}
