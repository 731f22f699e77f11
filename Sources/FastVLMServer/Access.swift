internal import Foundation
internal import WireFormats

/// Who may use the server: keys, the name it is called by, and the pages that call it.
struct Access: Sendable {
    private let keys: [[UInt8]]
    private let allowedOrigins: Set<String>
    private let allowedHosts: Set<String>
    private let bound: String

    init(_ options: ServerOptions) {
        keys = options.keys.map { Array($0.utf8) }
        allowedOrigins = Set(options.allowedOrigins.map { $0.lowercased() })
        allowedHosts = Set(options.allowedHosts.map { Self.name(of: $0) })
        bound = Self.name(of: options.host)
    }

    /// Checks everything that can be known from a request's head.
    /// - Parameter isPublic: whether the route needs no key
    /// - Throws: `Refusal`.
    func check(_ head: RequestHead, isPublic: Bool) throws(Refusal) {
        guard let host = head.host, !host.isEmpty else {
            throw Refusal(400, "The request has no Host field.", reason: "no_host")
        }
        // A page elsewhere can make its own name resolve to this machine; with a key it would not get further.
        guard !keys.isEmpty || isKnown(host) else {
            throw Refusal(
                403,
                "The server does not answer to this name; start it with --allowed-host to allow it.",
                type: "permission_error", code: "unknown_host", reason: "host")
        }
        if let origin = head.headers["origin"], isForeign(origin, host: host) {
            throw Refusal(
                403, "Pages of this origin may not use the server; start it with --allow-origin to allow it.",
                type: "permission_error", code: "origin_not_allowed", reason: "origin")
        }
        guard isPublic || keys.isEmpty || hasKey(head) else {
            var refusal = Refusal(
                401, "A valid API key is needed: Authorization: Bearer KEY.", type: "authentication_error",
                code: "invalid_api_key", reason: "key")
            // Browsers ask for a password then, which is the key.
            let wantsPage = head.headers["accept"]?.contains("text/html") ?? false
            refusal.headers.set(
                "www-authenticate", wantsPage ? "Basic realm=\"fastvlm\", charset=\"UTF-8\"" : "Bearer")
            throw refusal
        }
    }

    // MARK: - Keys

    private func hasKey(_ head: RequestHead) -> Bool {
        var given: [[UInt8]] = []
        if let value = head.headers["x-api-key"] { given.append(Array(value.utf8)) }
        if let value = head.headers["authorization"] {
            if value.hasASCIIPrefix("bearer ") {
                given.append(Array(value.dropFirst(7).trimmingCharacters(in: .whitespaces).utf8))
            } else if value.hasASCIIPrefix("basic "),
                let text = Data(base64Encoded: value.dropFirst(6).trimmingCharacters(in: .whitespaces)),
                let colon = text.firstIndex(of: UInt8(ascii: ":"))
            {
                given.append(Array(text[text.index(after: colon)...]))
            }
        }
        // Every pair is compared, so that time does not tell which key was nearly right.
        var isAny = false
        for key in keys {
            for value in given where Self.isEqual(key, value) { isAny = true }
        }
        return isAny
    }

    /// Compares in a time that depends on the given value's length only.
    static func isEqual(_ key: [UInt8], _ given: [UInt8]) -> Bool {
        var difference = key.count ^ given.count
        for (place, byte) in given.enumerated() {
            difference |= Int(byte ^ (key.isEmpty ? 0 : key[place % key.count]))
        }
        return difference == 0
    }

    // MARK: - Names

    private func isKnown(_ host: String) -> Bool {
        let name = Self.name(of: host)
        guard !name.isEmpty else { return false }
        if Self.isLoopback(name) || name == bound || allowedHosts.contains(name) { return true }
        // Whoever listens on all addresses may be called by any of them. Numbers cannot be made to mean another machine.
        return Self.isWildcard(bound) && Self.isNumeric(name)
    }

    /// A host without its port, in lower case; empty for what is none.
    static func name(of host: String) -> String {
        let host = host.lowercased()
        // More than one colon without brackets is an address as the command line takes it.
        if !host.hasPrefix("["), host.count(where: { $0 == ":" }) > 1 { return host }
        var (name, rest): (Substring, Substring)
        if host.hasPrefix("["), let end = host.firstIndex(of: "]") {
            (name, rest) = (host[..<end].dropFirst(), host[end...].dropFirst())
        } else {
            let colon = host.firstIndex(of: ":") ?? host.endIndex
            (name, rest) = (host[..<colon], host[colon...])
            if name.hasSuffix(".") { name.removeLast() }
        }
        guard rest.isEmpty || (rest.first == ":" && rest.dropFirst().allSatisfy { "0123456789".contains($0) })
        else { return "" }
        return String(name)
    }

    static func isLoopback(_ name: String) -> Bool {
        name == "localhost" || name.hasSuffix(".localhost") || name == "::1"
            || (name.hasPrefix("127.") && isNumeric(name))
    }

    static func isWildcard(_ name: String) -> Bool { ["0.0.0.0", "::", "*", ""].contains(name) }

    static func isNumeric(_ name: String) -> Bool {
        if name.contains(":") { return name.allSatisfy { $0.isHexDigit || $0 == ":" || $0 == "." } }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
    }

    // MARK: - Pages

    /// Whether a browser's page of another origin asks that is not allowed to.
    private func isForeign(_ origin: String, host: String) -> Bool {
        if allows(origin) { return false }
        let origin = origin.lowercased()
        guard let scheme = origin.range(of: "://") else { return origin == "null" }
        // Pages of the web have these schemes only; programs that are made of pages have their own.
        guard ["http", "https"].contains(origin[..<scheme.lowerBound]) else { return false }
        return origin[scheme.upperBound...] != host.lowercased()
    }

    private func allows(_ origin: String) -> Bool {
        allowedOrigins.contains("*") || allowedOrigins.contains(origin.lowercased())
    }

    /// What a response says to a browser about the page that asked.
    func headers(for head: RequestHead) -> HeaderFields {
        guard !allowedOrigins.isEmpty else { return [:] }
        guard let origin = head.headers["origin"], allows(origin) else { return ["vary": "Origin"] }
        return [
            "vary": "Origin", "access-control-allow-origin": origin,
            "access-control-expose-headers":
                "x-request-id, server-timing, x-fastvlm-ignored, x-fastvlm-queue-position, retry-after",
        ]
    }

    /// The answer to a browser's question whether a page may ask.
    func preflight(_ head: RequestHead, methods: [String]) -> Response {
        let allow = methods.joined(separator: ", ")
        var response = Response(204, ["allow": allow])
        guard let origin = head.headers["origin"], allows(origin),
            head.headers["access-control-request-method"] != nil
        else { return response }
        response.head.headers.set("access-control-allow-methods", allow)
        response.head.headers.set("access-control-max-age", "600")
        // Clients send headers of their own (x-stainless-*), so no list would do.
        if let wanted = head.headers["access-control-request-headers"], wanted.utf8.count <= 4096,
            wanted.utf8.allSatisfy({ $0 >= 32 && $0 < 127 })
        {
            response.head.headers.set("access-control-allow-headers", wanted)
        }
        if head.headers["access-control-request-private-network"] == "true" {
            response.head.headers.set("access-control-allow-private-network", "true")
        }
        return response
    }
}
