#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// An address of version 4 (4 bytes) or 6 (16 bytes).
struct IPAddress: Sendable, Hashable, CustomStringConvertible {
    let bytes: [UInt8]

    /// - Parameter bytes: in network order; any other count than 4 or 16 gives nil.
    init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// Reads the canonical spellings only: four decimal numbers, or what RFC 4291 defines. `0x7f.1`, `017700000001` and
    /// `2130706433`, which some programs take for addresses too, are none here.
    init?(_ text: String) {
        guard text.utf8.count < Self.longestText else { return nil }
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 {
            // inet_pton takes no leading zeros in glibc, but may elsewhere.
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.allSatisfy({ $0.utf8.count == 1 || $0.first != "0" }) else { return nil }
            self.bytes = Array(bytes[..<4])
        } else if inet_pton(AF_INET6, text, &bytes) == 1 {
            self.bytes = bytes
        } else {
            return nil
        }
    }

    private static let longestText = 46

    /// As `inet_ntop` writes it.
    var description: String {
        var text = [CChar](repeating: 0, count: Self.longestText)
        let family = bytes.count == 4 ? AF_INET : AF_INET6
        guard inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil else { return "" }
        return text.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// Whether it belongs to the public internet: neither to this machine, nor to a network around it, nor to a service of
    /// the machine's provider, nor to a mechanism that leads to one of those in disguise.
    ///
    /// After IANA's registries of special-purpose addresses. Of version 6 only 2000::/3 is public, and parts of it are not.
    var isPublic: Bool {
        if bytes.count == 4 { return !Self.special4.contains { isIn($0) } }
        guard isIn(Self.global6), !Self.special6.contains(where: { isIn($0) }) else { return false }
        // An address of ISATAP holds one of version 4 behind ...:5efe.
        return !(bytes[8] & 0xFD == 0 && bytes[9] == 0 && bytes[10] == 0x5E && bytes[11] == 0xFE)
    }

    private struct Block {
        let prefix: [UInt8]
        let bits: Int

        init(_ bits: Int, _ prefix: UInt8...) {
            self.prefix = prefix
            self.bits = bits
        }
    }

    private func isIn(_ block: Block) -> Bool {
        for bit in 0..<block.bits {
            let own = bytes[bit / 8] >> UInt8(7 - bit % 8) & 1
            let wanted = bit / 8 < block.prefix.count ? block.prefix[bit / 8] >> UInt8(7 - bit % 8) & 1 : 0
            if own != wanted { return false }
        }
        return true
    }

    private static let special4 = [
        Block(8, 0),  // this network
        Block(8, 10), Block(12, 172, 16), Block(16, 192, 168),  // private
        Block(10, 100, 64),  // carriers' address translation; metadata of Alibaba Cloud
        Block(8, 127),  // loopback
        Block(16, 169, 254),  // link-local; metadata of most clouds
        Block(24, 192, 0, 0),  // protocol assignments; metadata of Oracle Cloud
        Block(24, 192, 0, 2), Block(24, 198, 51, 100), Block(24, 203, 0, 113),  // documentation
        Block(24, 192, 88, 99),  // relays of 6to4
        Block(15, 198, 18),  // benchmarks
        Block(32, 168, 63, 129, 16),  // metadata of Azure
        Block(4, 224),  // multicast
        Block(4, 240),  // reserved, broadcast
    ]
    private static let global6 = Block(3, 0x20)
    private static let special6 = [
        Block(23, 0x20, 0x01),  // protocol assignments: Teredo, ORCHID, benchmarks
        Block(32, 0x20, 0x01, 0x0D, 0xB8), Block(20, 0x3F, 0xFF),  // documentation
        Block(16, 0x20, 0x02),  // 6to4
    ]
}
