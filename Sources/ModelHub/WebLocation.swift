/// An address of the web, http or https, of which every part was looked at.
///
/// Whoever decides where a token may go must see the same host as whoever connects to it. So an address
/// must not have two readings: a host is a name or a number of plain characters, there is no user in front of it, and everything behind
/// it is printable ASCII without a backslash. All else is no address.
struct WebLocation: Sendable, Hashable {
    /// Who answers: a token is for one origin and never goes to another, which another port is too.
    struct Origin: Sendable, Hashable {
        let isEncrypted: Bool
        let host: String
        let port: Int
    }

    let text: String
    let origin: Origin

    /// Longer ones are none; signed addresses have up to two thousand characters.
    static let longest = 4000

    init?(_ text: String) {
        // The part behind '#' is for the reader, not for the server.
        let text = String(text.prefix { $0 != "#" })
        guard text.utf8.count <= Self.longest,
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) && !#"\"<>^`{|}"#.utf8.contains($0) })
        else { return nil }
        let lowered = text.prefix(8).lowercased()
        let isEncrypted = lowered.hasPrefix("https://")
        guard isEncrypted || lowered.hasPrefix("http://") else { return nil }
        let rest = text.dropFirst(isEncrypted ? 8 : 7)
        guard let (host, port) = Self.authority(rest.prefix { !"/?".contains($0) }) else { return nil }
        self.text = text
        origin = Origin(
            isEncrypted: isEncrypted, host: host.lowercased(), port: port ?? (isEncrypted ? 443 : 80))
    }

    private static func authority(_ text: Substring) -> (host: String, port: Int?)? {
        let end = text.first == "[" ? text.firstIndex(of: "]").map(text.index(after:)) : nil
        let host = text[..<(end ?? text.firstIndex(of: ":") ?? text.endIndex)]
        let behind = text[host.endIndex...]
        let isPlain =
            end == nil
            ? host.utf8.allSatisfy { isLetterOrDigit($0) || "-._".utf8.contains($0) }
            : host.dropFirst().dropLast().utf8.allSatisfy { isLetterOrDigit($0) || ":.".utf8.contains($0) }
        guard isPlain, !host.isEmpty, host.utf8.count <= 255 else { return nil }
        if behind.isEmpty { return (String(host), nil) }
        guard behind.utf8.count <= 6, behind.dropFirst().utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = Int(behind.dropFirst()), (1...65535).contains(port)
        else { return nil }
        return (String(host), port)
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }

    /// As it may be shown: what signs an address is nobody else's business.
    var shown: String {
        String(text.prefix { $0 != "?" })
    }

    /// A text as part of an address, every byte but the unreserved ones as %XX.
    /// - Parameter keepsSlashes: for a path of several parts.
    static func escaped(_ text: String, keepsSlashes: Bool = false) -> String {
        var bytes: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in text.utf8 {
            if isLetterOrDigit(byte) || "-._~".utf8.contains(byte) || (keepsSlashes && byte == 0x2F) {
                bytes.append(byte)
            } else {
                bytes += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
