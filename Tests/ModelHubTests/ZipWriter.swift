import Foundation

/// Writes zip archives, proper ones and others, entry by entry, without compression.
struct ZipWriter {
    struct Entry {
        var path: String
        var data: Data
        /// Permissions and kind, as Unix has them.
        var mode: UInt16 = 0o100644
        /// In place of the right ones.
        var checksum: UInt32?
        var unpackedSize: Int?
        /// 8: deflated.
        var method: UInt16 = 0
        /// 1: encrypted.
        var flags: UInt16 = 0
    }

    static func archive(_ entries: [Entry]) -> Data {
        var (archive, list) = (Data(), Data())
        for entry in entries {
            let place = archive.count
            let name = Data(entry.path.utf8)
            let sums =
                little(entry.checksum ?? checksum(entry.data)) + little(UInt32(entry.data.count))
                + little(UInt32(truncatingIfNeeded: entry.unpackedSize ?? entry.data.count))
            // Version, flags, method, time, date.
            let head = little(entry.flags) + little(entry.method) + little(UInt16(0)) + little(UInt16(0x21))
            archive += Data("PK\u{3}\u{4}".utf8) + little(UInt16(20)) + head + sums
            archive += little(UInt16(name.count)) + little(UInt16(0)) + name + entry.data
            list += Data("PK\u{1}\u{2}".utf8) + little(UInt16(0x0314)) + little(UInt16(20)) + head + sums
            list += little(UInt16(name.count)) + Data(count: 8) + little(UInt32(entry.mode) << 16)
            list += little(UInt32(place)) + name
        }
        let count = little(UInt16(entries.count))
        return archive + list + Data("PK\u{5}\u{6}".utf8) + Data(count: 4) + count + count
            + little(UInt32(list.count)) + little(UInt32(archive.count)) + Data(count: 2)
    }

    private static func little(_ number: some FixedWidthInteger) -> Data {
        withUnsafeBytes(of: number.littleEndian) { Data($0) }
    }

    private static func checksum(_ data: Data) -> UInt32 {
        ~data.reduce(~UInt32(0)) { sum, byte in
            (0..<8).reduce(sum ^ UInt32(byte)) { sum, _ in sum & 1 != 0 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
        }
    }
}
