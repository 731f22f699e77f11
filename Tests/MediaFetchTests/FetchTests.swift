import Foundation
import Synchronization
import TestSupport
import Testing

@testable import MediaFetch

/// Servers on this machine stand in for those of the internet: names resolve to 127.0.0.1 here, which counts as public
/// where a test says so.
@Suite("Fetching of images that others name")
struct FetchTests {
    private static let loopback = IPAddress(bytes: [127, 0, 0, 1])

    /// What is fetched from a server of this machine, named `images.example`.
    private struct Setting {
        let server: LocalServer
        var resolve: MediaFetcher.Resolver = { _ in loopback.map { [$0] } ?? [] }
        var isPublic: @Sendable (IPAddress) -> Bool = { _ in true }
        var limits = MediaFetcher.Limits()

        func fetcher() throws -> MediaFetcher {
            MediaFetcher(
                allowedHosts: try .list(
                    "http://images.example:\(server.port),http://other.example:\(server.port)"),
                limits: limits, resolve: resolve, isPublic: isPublic)
        }

        func get(_ path: String, host: String = "images.example") async throws -> [UInt8] {
            try await fetcher().image(at: "http://\(host):\(server.port)/\(path)")
        }

        func failure(_ path: String, host: String = "images.example") async -> MediaFetchError? {
            await #expect(throws: MediaFetchError.self) { try await get(path, host: host) }
        }
    }

    private static func served<Result>(
        _ answer: @escaping @Sendable (String, UInt16) -> LocalServer.Answer,
        _ body: (inout Setting) async throws -> Result
    ) async throws -> Result {
        let server = try LocalServer(answer)
        defer { server.stop() }
        var setting = Setting(server: server)
        return try await body(&setting)
    }

    @Test("gives the bytes, and sends nothing of this machine")
    func fetched() async throws {
        let body = Data((0..<3000).map { UInt8(truncatingIfNeeded: $0) })
        try await Self.served({ _, _ in .response(200, ["Set-Cookie: a=b", "Content-Type: text/html"], body) }
        ) {
            setting in
            let got1 = try await setting.get("a.jpg?x=1")
            #expect(got1 == Array(body))
            let got2 = try await setting.get("b")
            #expect(got2 == Array(body))
            #expect(setting.server.received.first == "GET /a.jpg?x=1 HTTP/1.1")
            #expect(setting.server.received.contains("Host: images.example:\(setting.server.port)"))
            let names = setting.server.received.compactMap { $0.split(separator: ":").first?.lowercased() }
            #expect(Set(names).isDisjoint(with: ["cookie", "authorization", "referer", "proxy-connection"]))
        }
    }

    @Test("CVE-2025-6242: a name that resolves to the own network is refused before any connection")
    func privateName() async throws {
        try await Self.served({ _, _ in .response(200, [], Data("secret".utf8)) }) { setting in
            setting.isPublic = \.isPublic
            let error = await setting.failure("a")
            #expect(error?.code == .notAllowed)
            #expect(error?.description.contains("127") == false)
            // As it would be for a name that there is not: nobody learns the names of the own network.
            setting.resolve = { _ in [] }
            let unknown = await setting.failure("a")
            #expect(unknown?.description == error?.description && unknown?.code == error?.code)
            // One bad address among good ones is enough.
            setting.resolve = { _ in [IPAddress("93.184.216.34"), IPAddress("::1")].compactMap { $0 } }
            #expect(await setting.failure("a")?.code == .notAllowed)
            #expect(setting.server.received.isEmpty)
        }
    }

    @Test("CVE-2025-6242: a number of the own network is refused, unless the list of hosts names it")
    func privateNumber() async throws {
        try await Self.served({ _, _ in .response(200, [], Data("there".utf8)) }) { setting in
            let address = setting.server.url("a")
            let open = MediaFetcher(allowedHosts: .any)
            for text in [
                address, "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:7f00:1]/",
                "https://10.0.0.1/",
            ] {
                let error = await #expect(throws: MediaFetchError.self) { try await open.image(at: text) }
                #expect(error?.code == .notAllowed)
            }
            let named = MediaFetcher(allowedHosts: try .list("http://127.0.0.1:\(setting.server.port)"))
            let got3 = try await named.image(at: address)
            #expect(got3 == Array("there".utf8))
        }
    }

    @Test("vLLM#57157: a name that changes between the check and the connection is resolved only once")
    func rebinding() async throws {
        try await Self.served({ _, _ in .response(200, [], Data("there".utf8)) }) { setting in
            let asked = Mutex(0)
            setting.resolve = { _ in
                let count = asked.withLock { count in
                    count += 1
                    return count
                }
                return [count == 1 ? "127.0.0.1" : "10.0.0.1"].compactMap { IPAddress($0) }
            }
            setting.isPublic = { $0.bytes == [127, 0, 0, 1] }
            let got4 = try await setting.get("a")
            #expect(got4 == Array("there".utf8))
            #expect(asked.withLock { $0 } == 1)
            #expect(await setting.failure("a")?.code == .notAllowed)
        }
    }

    @Test("vLLM PR#57825: each redirect is checked as the first address is")
    func redirects() async throws {
        try await Self.served({ path, port in
            switch path {
            case "/3", "/2", "/1":
                .response(302, ["Location: \((Int(path.dropFirst()) ?? 0) - 1)"], Data())
            case "/4": .response(302, ["Location: http://other.example:\(port)/3"], Data())
            case "/0": .response(200, [], Data("there".utf8))
            default: .response(302, ["Location: \(path.dropFirst().removingPercentEncoding ?? "")"], Data())
            }
        }) { setting in
            let got5 = try await setting.get("3")
            #expect(got5 == Array("there".utf8))
            #expect(await setting.failure("4")?.code == .tooManyRedirects)
            let port = setting.server.port
            for (target, code) in [
                ("http://127.0.0.1:\(port)/0", MediaFetchError.Code.notAllowed),
                ("http://images.example/0", .notAllowed), ("http://third.example:\(port)/0", .notAllowed),
                ("http://2130706433:\(port)/0", .notAllowed), ("file:///etc/passwd", .invalidAddress),
                ("http://a:b@images.example:\(port)/0", .invalidAddress),
                ("ftp://images.example/0", .invalidAddress),
                ("https://images.example:\(port)/0", .notAllowed),
            ] {
                let escaped = target.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
                #expect(await setting.failure(escaped)?.code == code, "\(target)")
            }
            // To a host of the list whose name leads inside.
            setting.isPublic = { $0.bytes == [127, 0, 0, 1] }
            setting.resolve = {
                [IPAddress($0 == "other.example" ? "10.0.0.1" : "127.0.0.1")].compactMap { $0 }
            }
            #expect(await setting.failure("4")?.code == .notAllowed)
        }
    }

    @Test("goes to the checked address with the original name in TLS")
    func serverName() async throws {
        let listener = try RawListener()
        defer { listener.stop() }
        let fetcher = MediaFetcher(
            allowedHosts: try .list("https://images.example:\(listener.port)"),
            resolve: { _ in [IPAddress("127.0.0.1")].compactMap { $0 } }, isPublic: { _ in true })
        let error = await #expect(throws: MediaFetchError.self) {
            try await fetcher.image(at: "https://images.example:\(listener.port)/a")
        }
        #expect(error?.code == .unreachable)
        let hello = listener.received
        // A record of TLS's handshake that holds the name.
        #expect(hello.first == 0x16)
        #expect(Data(hello).range(of: Data("images.example".utf8)) != nil)
    }

    @Test("is bounded in bytes, whether the server says how many there are or not")
    func bytes() async throws {
        let body = Data(count: 1001)
        try await Self.served({ path, _ in path == "/endless" ? .endless : .response(200, [], body) }) {
            setting in
            setting.limits.bytes = 1000
            #expect(await setting.failure("a")?.code == .tooLarge)
            #expect(await setting.failure("endless")?.code == .tooLarge)
            setting.limits.bytes = 1001
            let got6 = try await setting.get("a")
            #expect(got6.count == 1001)
        }
    }

    @Test("is bounded in time, also where a name is not resolved")
    func time() async throws {
        try await Self.served({ _, _ in .silence }) { setting in
            setting.limits.seconds = 0.2
            #expect(await setting.failure("a")?.code == .timedOut)
            let gate = DispatchSemaphore(value: 0)
            setting.resolve = { _ in
                gate.wait()
                return []
            }
            #expect(await setting.failure("a")?.code == .timedOut)
            gate.signal()
        }
    }

    @Test("is left when the caller is cancelled")
    func cancelled() async throws {
        try await Self.served({ _, _ in .silence }) { setting in
            let fetcher = try setting.fetcher()
            let address = "http://images.example:\(setting.server.port)/a"
            let task = Task { try await fetcher.image(at: address) }
            while setting.server.received.isEmpty { try await Task.sleep(for: .milliseconds(2)) }
            task.cancel()
            let error = await #expect(throws: MediaFetchError.self) { try await task.value }
            #expect(error?.code == .cancelled)
        }
    }

    @Test("runs for so many images at a time and no more")
    func concurrent() async throws {
        try await Self.served({ _, _ in .response(200, [], Data("there".utf8)) }) { setting in
            setting.limits.concurrent = 1
            let gate = DispatchSemaphore(value: 0)
            let isWaiting = Atomic<Bool>(false)
            setting.resolve = { _ in
                isWaiting.store(true, ordering: .relaxed)
                gate.wait()
                return [IPAddress("127.0.0.1")].compactMap { $0 }
            }
            let fetcher = try setting.fetcher()
            let address = "http://images.example:\(setting.server.port)/a"
            async let first = fetcher.image(at: address)
            while !isWaiting.load(ordering: .relaxed) { try await Task.sleep(for: .milliseconds(2)) }
            let error = await #expect(throws: MediaFetchError.self) { try await fetcher.image(at: address) }
            #expect(error?.code == .busy)
            gate.signal()
            let got7 = try await first
            #expect(got7 == Array("there".utf8))
        }
    }

    @Test("does not use the proxy of the environment")
    func proxy() async throws {
        try await Self.served({ _, _ in .response(200, [], Data("there".utf8)) }) { setting in
            let proxy = try LocalServer { _, _ in .response(200, [], Data("proxied".utf8)) }
            defer { proxy.stop() }
            setenv("http_proxy", proxy.url(""), 1)
            defer { unsetenv("http_proxy") }
            let got8 = try await setting.get("a")
            #expect(got8 == Array("there".utf8))
            #expect(proxy.received.isEmpty)
        }
    }

    @Test(
        "of servers that break the rules fails",
        arguments: [
            "", "hello", "HTTP/1.1 302 X\r\nLocation: ://%%%\r\n\r\n",
            "HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 304 X\r\n\r\n", "HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nab",
            "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 X\r\nSet-Cookie: \(String(repeating: "a", count: 200_000))\r\n\r\n",
        ])
    func broken(answer: String) async throws {
        try await Self.served({ _, _ in .bytes(answer) }) { setting in
            #expect(await setting.failure("a") != nil)
        }
    }
}
