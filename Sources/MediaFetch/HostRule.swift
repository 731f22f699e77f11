/// Whose images are fetched.
///
/// Without a list: from every host of the public internet, by HTTPS on port 443. A list names hosts: `example.com`,
/// `*.example.com` for all below it, `example.com:8443` for another port, `http://example.com` for plain HTTP. A number
/// (`http://192.168.1.20`) is allowed even where it is not of the public internet, because it was named; a name never
/// leads there.
package enum HostRule: Sendable {
    case any
    case only([Host])

    package struct Host: Sendable, Hashable {
        let isEncrypted: Bool
        /// Without `*.`, in lower case.
        let name: String
        let includesBelow: Bool
        let port: Int
        let literal: IPAddress?

        /// - Throws: ``MediaFetchError`` with what is wrong with `text`.
        package init(_ text: String) throws(MediaFetchError) {
            let lowered = text.lowercased()
            let scheme = ["https://", "http://"].first { lowered.hasPrefix($0) }
            var name = scheme.map { text.dropFirst($0.count) } ?? text[...]
            includesBelow = name.hasPrefix("*.")
            if includesBelow { name = name.dropFirst(2) }
            let address = try RemoteAddress((scheme ?? "https://") + name)
            guard address.target == "/", !name.contains("#"), !name.contains("?"),
                !(includesBelow && address.literal != nil)
            else {
                throw MediaFetchError(
                    .invalidAddress,
                    "is no host; write example.com, *.example.com or http://192.168.1.20:8080")
            }
            isEncrypted = address.isEncrypted
            self.name = address.host
            port = address.port
            literal = address.literal
        }

        fileprivate func matches(_ address: RemoteAddress) -> Bool {
            guard isEncrypted == address.isEncrypted, port == address.port else { return false }
            if let literal { return literal == address.literal }
            guard address.literal == nil else { return false }
            return includesBelow ? address.host.hasSuffix("." + name) : address.host == name
        }
    }

    /// Reads the list of the flag, its entries separated by commas.
    package static func list(_ text: String) throws(MediaFetchError) -> HostRule {
        var hosts: [Host] = []
        for part in text.split(separator: ",") {
            let name = String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
            do {
                hosts.append(try Host(name))
            } catch {
                throw MediaFetchError(error.code, "'\(name)' \(error.description)")
            }
        }
        guard !hosts.isEmpty else { throw MediaFetchError(.invalidAddress, "the list of hosts is empty") }
        return .only(hosts)
    }

    /// - Returns: whether the host was named by its number, which may then be one of the own network.
    func check(_ address: RemoteAddress) throws(MediaFetchError) -> Bool {
        switch self {
        case .any:
            guard address.isEncrypted else {
                throw MediaFetchError(.notAllowed, "is not encrypted; only https:// is fetched")
            }
            guard address.port == 443 else {
                throw MediaFetchError(.notAllowed, "names a port other than 443")
            }
            return false
        case .only(let hosts):
            guard let host = hosts.first(where: { $0.matches(address) }) else {
                throw MediaFetchError(.notAllowed, "is not on a host that this server fetches images from")
            }
            return host.literal != nil
        }
    }
}
