import Foundation
import TestSupport
import Testing

@testable import CommandInput

@Suite("Files from the web")
struct WebFileTests {
    private static func served<Result>(
        _ answer: @escaping @Sendable (String, UInt16) -> LocalServer.Answer,
        _ body: (LocalServer) async throws -> Result
    ) async throws -> Result {
        let server = try LocalServer(answer)
        defer { server.stop() }
        return try await body(server)
    }

    private static func fetch(_ url: String, limit: Int = 1000, seconds: Int = 60) async throws -> Data {
        try await WebFile.fetch(WebAddress.checked(url), limit: limit, seconds: seconds)
    }

    private static func failure(_ url: String, limit: Int = 1000, seconds: Int = 60) async -> String {
        let error = await #expect(throws: InputError.self) {
            try await fetch(url, limit: limit, seconds: seconds)
        }
        return error.map { "\($0)" } ?? ""
    }

    @Test("arrive as they are, and nothing of the user's is sent")
    func fetched() async throws {
        let body = Data((0..<1000).map { UInt8(truncatingIfNeeded: $0) })
        try await Self.served({ _, _ in .response(200, ["Set-Cookie: a=b"], body) }) { server in
            let got1 = try await Self.fetch(server.url("a"))
            #expect(got1 == body)
            let got2 = try await Self.fetch(server.url("b"))
            #expect(got2 == body)
            let names = Set(server.received.compactMap { $0.split(separator: ":").first?.lowercased() })
            #expect(names.contains("user-agent"))
            #expect(names.isDisjoint(with: ["cookie", "authorization", "referer"]))
        }
    }

    @Test("are bounded, whether the server says how large they are or not")
    func bounded() async throws {
        let body = Data(count: 1001)
        try await Self.served({ path, _ in path == "/endless" ? .endless : .response(200, [], body) }) {
            server in
            #expect(await Self.failure(server.url("a")).contains("more than 1000 bytes"))
            #expect(await Self.failure(server.url("endless")).contains("more than 1000 bytes"))
            let got3 = try await Self.fetch(server.url("a"), limit: 1001)
            #expect(got3 == body)
        }
    }

    @Test("must come in time")
    func slow() async throws {
        try await Self.served({ _, _ in .silence }) { server in
            #expect(await Self.failure(server.url("a"), seconds: 1).contains("it did not come"))
        }
    }

    @Test("that are not there have the server's status", arguments: [404, 403, 500, 401])
    func statuses(status: Int) async throws {
        let headers = status == 401 ? ["WWW-Authenticate: Basic realm=\"a\""] : []
        try await Self.served({ _, _ in .response(status, headers, Data("<html>".utf8)) }) { server in
            let words = await Self.failure(server.url("a.jpg"))
            #expect(words.contains("answered \(status)") && words.contains(server.url("a.jpg")), "\(words)")
        }
    }

    @Test("are followed over five redirects, not over six, and never to what is not the web")
    func redirects() async throws {
        try await Self.served({ path, port in
            switch Int(path.dropFirst()) {
            case 0?: .response(200, [], Data("there".utf8))
            case let number?: .response(302, ["Location: http://127.0.0.1:\(port)/\(number - 1)"], Data())
            case nil: .response(302, ["Location: \(path.dropFirst().removingPercentEncoding ?? "")"], Data())
            }
        }) { server in
            let got4 = try await Self.fetch(server.url("5"))
            #expect(got4 == Data("there".utf8))
            #expect(await Self.failure(server.url("6")).contains("more than 5 redirects"))
            for target in [
                "file:%2F%2F%2Fetc%2Fpasswd", "ftp:%2F%2F127.0.0.1%2Fa", "http:%2F%2Fa:b@127.0.0.1%2F",
            ] {
                #expect(!(await Self.failure(server.url(target))).isEmpty)
            }
        }
    }

    @Test(
        "of servers that break the rules fail with words",
        arguments: [
            "", "\r\n\r\n", "hello", "HTTP/1.1", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 999 X\r\n\r\n",
            "HTTP/1.1 302 X\r\n\r\n", "HTTP/1.1 302 X\r\nLocation: \r\n\r\n",
            "HTTP/1.1 302 X\r\nLocation: ://%%%\r\n\r\n", "HTTP/1.1 302 X\r\nLocation: http://[::/\r\n\r\n",
            "HTTP/1.1 302 X\r\nLocation: /\r\nLocation: file:///etc/passwd\r\n\r\n",
            "HTTP/1.1 302 X\r\nLocation: data:,a\r\nContent-Length: 5\r\n\r\nab",
            "HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nab",
            "HTTP/1.1 200 X\r\nContent-Length: -1\r\n\r\nab",
            "HTTP/1.1 200 X\r\nContent-Length: 99999999999999999999\r\n\r\nab",
            "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            "HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 X\r\nSet-Cookie: \(String(repeating: "a", count: 200_000))\r\n\r\n",
        ])
    func broken(answer: String) async throws {
        try await Self.served({ _, _ in .bytes(answer) }) { server in
            #expect(!(await Self.failure(server.url("a"), seconds: 5)).isEmpty)
        }
    }

    @Test("are never followed from an encrypted address to one that is not")
    func downgrade() throws {
        func allows(_ from: String, _ to: String, _ count: Int = 0) throws -> Bool {
            try WebAddress.allowsRedirect(
                from: #require(URL(string: from)), to: #require(URL(string: to)), count: count)
        }
        #expect(try allows("https://a/", "https://b/") && allows("http://a/", "https://b/"))
        #expect(try allows("http://a/", "http://b/") && !allows("https://a/", "http://a/"))
        #expect(try !allows("HTTPS://a/", "http://a/"))
        #expect(try !allows("http://a/", "file:///etc/passwd") && !allows("http://a/", "https://c:d@b/"))
        #expect(try allows("https://a/", "https://b/", 4) && !allows("https://a/", "https://b/", 5))
        #expect(!WebAddress.allowsRedirect(from: try #require(URL(string: "http://a/")), to: nil, count: 0))
    }

    @Test("that nobody serves fail with words")
    func nobody() async throws {
        let server = try LocalServer { _, _ in .silence }
        server.stop()
        let words = await Self.failure(server.url("a"))
        #expect(words.contains("cannot fetch") && words.contains("connect"), "\(words)")
    }

    @Test("are left when the caller is cancelled")
    func cancelled() async throws {
        try await Self.served({ _, _ in .silence }) { server in
            let url = server.url("a")
            let task = Task { try await Self.fetch(url) }
            while server.received.isEmpty { try await Task.sleep(for: .milliseconds(2)) }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
        }
    }
}
