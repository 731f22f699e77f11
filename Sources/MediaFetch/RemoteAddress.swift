/// The address of an image, taken apart by the only parser that looks at it.
///
/// Two programs that read one address differently are how guards are passed: one checks `good.example`, the other
/// connects to what stands behind `\@`. So only what has one reading is an address here: printable ASCII without a
/// backslash, no user before the host, a host of plain characters, and numbers only as four decimal ones or in brackets.
/// What is connected to and what libcurl gets is put together from the parts (``text``).
struct RemoteAddress: Sendable, Hashable {
    let isEncrypted: Bool
    /// In lower case; of an address of version 6 without brackets.
    let host: String
    /// Where the host is no name.
    let literal: IPAddress?
    let port: Int
    /// Path and query, with the leading slash.
    let target: String

    static let longest = 4000

    init(_ text: String) throws(MediaFetchError) {
        guard text.utf8.count <= Self.longest else {
            throw MediaFetchError(.invalidAddress, "has more than \(Self.longest) characters")
        }
        guard text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw MediaFetchError(
                .invalidAddress,
                "has spaces, control characters or letters beyond ASCII; write those as %XX, and names as xn--…"
            )
        }
        guard text.utf8.allSatisfy({ !#"\"<>^`{|}"#.utf8.contains($0) }) else {
            throw MediaFetchError(.invalidAddress, #"has one of \ " < > ^ ` { | }; write those as %XX"#)
        }
        // The part behind '#' is for the reader, not for the server.
        let text = text.prefix { $0 != "#" }
        let scheme = text.prefix { $0 != ":" }.lowercased()
        guard scheme == "https" || scheme == "http" else {
            throw MediaFetchError(.invalidAddress, "does not begin with https://")
        }
        isEncrypted = scheme == "https"
        let rest = text.dropFirst(scheme.utf8.count)
        guard rest.hasPrefix("://") else {
            throw MediaFetchError(.invalidAddress, "does not begin with https://")
        }
        let behind = rest.dropFirst(3)
        let authority = behind.prefix { $0 != "/" && $0 != "?" }
        guard !authority.utf8.contains(UInt8(ascii: "@")) else {
            throw MediaFetchError(.invalidAddress, "names a user or a password, which are not sent")
        }
        let (host, port) = try Self.parts(of: authority)
        literal = try Self.literal(host)
        self.host = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        self.port = port ?? (isEncrypted ? 443 : 80)
        let path = behind[authority.endIndex...]
        target = path.hasPrefix("/") ? String(path) : "/" + path
    }

    /// What is given to libcurl.
    var text: String { (isEncrypted ? "https://" : "http://") + authority + target }
    /// Host and port as a connection is named.
    var authority: String { (host.contains(":") ? "[\(host)]" : host) + ":\(port)" }

    private static func parts(of authority: Substring) throws(MediaFetchError) -> (host: String, port: Int?) {
        let end =
            authority.first == "["
            ? authority.firstIndex(of: "]").map { authority.index(after: $0) } ?? authority.endIndex
            : authority.firstIndex(of: ":") ?? authority.endIndex
        let host = authority[..<end].lowercased()
        let behind = authority[end...]
        guard !host.isEmpty, host.utf8.count <= 253 else {
            throw MediaFetchError(.invalidAddress, "has no host, or one that is too long")
        }
        if behind.isEmpty { return (host, nil) }
        guard behind.first == ":", (2...6).contains(behind.utf8.count),
            behind.dropFirst().utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = Int(behind.dropFirst()), (1...65535).contains(port)
        else { throw MediaFetchError(.invalidAddress, "has a port that is none") }
        return (host, port)
    }

    /// - Parameter host: in lower case
    /// - Returns: nil for a name
    private static func literal(_ host: String) throws(MediaFetchError) -> IPAddress? {
        if host.hasPrefix("[") {
            guard host.hasSuffix("]"), let address = IPAddress(String(host.dropFirst().dropLast())),
                address.bytes.count == 16
            else { throw MediaFetchError(.invalidAddress, "has brackets without an IPv6 address") }
            return address
        }
        let labels = host.split(separator: ".", omittingEmptySubsequences: false)
        let isPlain = labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy {
                    isLetterOrDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
                }
        }
        guard isPlain, let last = labels.last else {
            throw MediaFetchError(
                .invalidAddress, "has a host that is no name: letters, digits, '-' and single dots")
        }
        // What the C library's older functions, and so other programs, would read as a number.
        guard last.utf8.allSatisfy({ (0x30...0x39).contains($0) }) || last.hasPrefix("0x") else {
            guard labels.count > 1 else {
                throw MediaFetchError(
                    .notAllowed, "names a host without a dot, which is one of the own network")
            }
            return nil
        }
        guard let address = IPAddress(host), address.bytes.count == 4 else {
            throw MediaFetchError(.invalidAddress, "has a number for a host that is not four decimal ones")
        }
        return address
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte)
    }
}
