import Foundation
import Testing

@testable import FastVLMServer

@Suite("Who may use the server")
struct AccessTests {
    @Test("Every route but /health wants a key, in whatever form clients send it")
    func keys() async {
        let service = service { $0.keys = ["first-key", "second-key"] }
        for route in Route.all {
            let path = route.path.replacing("*", with: "x")
            let body = route.method == "POST" ? "{}" : nil
            for headers in [
                [:], ["authorization": "Bearer first-ke"], ["authorization": "Bearer first-key2"],
                ["authorization": "Bearer "], ["authorization": "first-key"], ["x-api-key": ""],
                ["authorization": "Basic Zmlyc3Qta2V5"],
            ] as [HeaderFields] {
                let reply = await service.call(route.method, path, body, headers: headers)
                #expect((reply.head.status == 401) == !route.isPublic, "\(route.path) \(headers)")
            }
            for headers in [
                ["authorization": "Bearer first-key"], ["authorization": "bearer second-key"],
                ["x-api-key": "second-key"],
                ["authorization": "Basic " + Data("x:first-key".utf8).base64EncodedString()],
            ] as [HeaderFields] {
                let reply = await service.call(route.method, path, body, headers: headers)
                #expect(reply.head.status != 401, "\(route.path) \(headers)")
            }
        }
        #expect(Route.all.filter(\.isPublic).map(\.path) == ["/health"])
    }

    @Test("An address without a route tells nothing without a key")
    func unknownAddress() async {
        let service = service { $0.keys = ["key"] }
        #expect(await service.call("GET", "/nothing").head.status == 401)
        #expect(await service.call("GET", "/nothing", headers: ["x-api-key": "key"]).head.status == 404)
    }

    @Test("Keys are equal only to themselves")
    func comparison() {
        #expect(Access.isEqual(Array("key".utf8), Array("key".utf8)))
        for other in ["", "k", "ke", "kez", "keykey", "KEY", "key\u{0}"] {
            #expect(!Access.isEqual(Array("key".utf8), Array(other.utf8)), "\(other)")
        }
        #expect(!Access.isEqual([], Array("a".utf8)))
    }

    @Test("Without keys the server answers to its own names only")
    func hosts() async {
        let local = service { $0.allowedHosts = ["cam.lan"] }
        for host in [
            "localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1", "127.8.9.1:80", "[::1]:8080", "::1",
            "x.localhost", "cam.lan:8080", "localhost.:8080",
        ] {
            #expect(await local.call("GET", "/healthz", host: host).head.status == 200, "\(host)")
        }
        for host in [
            "example.org", "127.0.0.1.example.org", "192.168.0.7", "127.evil.example", "cam.lan.evil",
            "[::1].evil.example", "localhost:80.evil.example",
            "localhost@evil.example", "[::1", ":80",
        ] {
            #expect(await local.call("GET", "/healthz", host: host).head.status == 403, "\(host)")
        }
        for host in [nil, ""] as [String?] {
            #expect(await local.call("GET", "/healthz", host: host).head.status == 400)
        }
        // Whoever listens on all addresses may be called by any of them, but by no name.
        let open = service { $0.host = "0.0.0.0" }
        #expect(await open.call("GET", "/healthz", host: "192.168.0.7:8080").head.status == 200)
        #expect(await open.call("GET", "/healthz", host: "example.org").head.status == 403)
        // A key is proof enough.
        let guarded = service { $0.keys = ["key"] }
        #expect(
            await guarded.call("GET", "/healthz", headers: ["x-api-key": "key"], host: "example.org").head
                .status
                == 200)
    }

    @Test("Pages of other origins are refused unless they are allowed")
    func origins() async {
        let closed = service()
        for (origin, status) in [
            ("http://127.0.0.1:8080", 200), ("https://example.org", 403), ("null", 403),
            ("http://127.0.0.1:9999", 403), ("vscode-webview://abc", 200),
        ] {
            let reply = await closed.call("GET", "/v1/models", headers: ["origin": origin])
            #expect(reply.head.status == status, "\(origin)")
            #expect(reply.head.headers["access-control-allow-origin"] == nil)
        }
        let open = service { $0.allowedOrigins = ["https://example.org"] }
        let reply = await open.call("GET", "/v1/models", headers: ["origin": "https://example.org"])
        #expect(reply.head.status == 200)
        #expect(reply.head.headers["access-control-allow-origin"] == "https://example.org")
        #expect(reply.head.headers["vary"] == "Origin")
        #expect(
            await open.call("GET", "/v1/models", headers: ["origin": "https://example.com"]).head.status
                == 403)
        let all = service { $0.allowedOrigins = ["*"] }
        #expect(
            await all.call("GET", "/v1/models", headers: ["origin": "https://x"]).head.headers[
                "access-control-allow-origin"] == "https://x")
    }

    @Test("A preflight needs no key and allows the headers that it asks for")
    func preflight() async {
        let service = service {
            $0.keys = ["key"]
            $0.allowedOrigins = ["https://example.org"]
        }
        let reply = await service.call(
            "OPTIONS", "/v1/chat/completions",
            headers: [
                "origin": "https://example.org", "access-control-request-method": "POST",
                "access-control-request-headers": "authorization,content-type,x-stainless-os",
            ])
        #expect(reply.head.status == 204)
        #expect(reply.head.headers["access-control-allow-methods"] == "POST, OPTIONS")
        #expect(
            reply.head.headers["access-control-allow-headers"] == "authorization,content-type,x-stainless-os")
        let foreign = await service.call(
            "OPTIONS", "/v1/chat/completions",
            headers: ["origin": "https://evil.example", "access-control-request-method": "POST"])
        #expect(foreign.head.headers["access-control-allow-origin"] == nil)
        #expect(foreign.head.headers["access-control-allow-headers"] == nil)
    }
}
