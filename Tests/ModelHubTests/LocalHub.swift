import Foundation
import Synchronization
import TestSupport
import Testing

@testable import ModelHub

/// A hub on one port of this machine and its store for large files on another, as well behaved as a test wants them.
final class LocalHub: Sendable {
    /// What it does, beside what it should.
    struct Conduct: Sendable {
        var files: [String: Data] = [:]
        /// Those that the store has.
        var large: Set<String> = []
        var card = #""tags":["license:apache-2.0"]"#
        /// Connections that end after so many bytes of a file, one after the other.
        var cuts: [Int] = []
        /// Statuses that requests for files get before they get files.
        var statuses: [Int] = []
        /// How many signed addresses are refused.
        var expired = 0
        var givesParts = true
        /// Sent in place of a file.
        var replaced: [String: Data] = [:]
        /// In place of the list of files.
        var list: String?
        var pageSize = 1000
        /// Status and `X-Error-Code` of everything.
        var refusal: (status: Int, code: String)?
        /// Where files are, by path.
        var redirects: [String: String] = [:]
        /// What is wanted of whoever asks the hub.
        var token: String?
    }

    static let commit = String(repeating: "c0ffee00", count: 5)
    static let repository = "owner/model"

    let conduct: Mutex<Conduct>
    private let servers: Mutex<[LocalServer]> = Mutex([])
    /// What was asked for, with what went along.
    private let asked = Mutex<[(host: String, request: LocalServer.Request)]>([])
    private let sent = Mutex<Int>(0)

    var requests: [(host: String, request: LocalServer.Request)] { asked.withLock { $0 } }
    /// Bytes of files that were sent.
    var sentBytes: Int { sent.withLock { $0 } }
    var address: String { servers.withLock { $0[0].url("") } }

    init(_ conduct: Conduct) throws {
        self.conduct = Mutex(conduct)
        let store = try LocalServer(requests: { [unowned self] request in
            asked.withLock { $0.append(("store", request)) }
            return stored(request)
        })
        let hub = try LocalServer(requests: { [unowned self] request in
            let port = request.port
            asked.withLock { $0.append(("hub", request)) }
            return answer(request, port, store: store.port)
        })
        servers.withLock { $0 = [hub, store] }
    }

    func stop() { servers.withLock { for server in $0 { server.stop() } } }

    static func hash(_ data: Data, large: Bool) -> ContentHash {
        // A hasher of a kind takes any digits.
        guard let hasher = try? ContentHasher(large ? .sha256("") : .git(""), size: data.count) else {
            return .git("")
        }
        data.withUnsafeBytes { hasher.add($0) }
        return hasher.finish()
    }

    // MARK: Answers

    private func answer(_ request: LocalServer.Request, _ port: UInt16, store: UInt16) -> LocalServer.Answer {
        let conduct = conduct.withLock { $0 }
        if let token = conduct.token, request.fields["authorization"] != "Bearer \(token)" {
            return .response(401, [], Data())
        }
        if let refusal = conduct.refusal {
            return .response(refusal.status, ["X-Error-Code: \(refusal.code)"], Data())
        }
        let path = request.path.split(separator: "?")[0]
        let query = request.path.split(separator: "?").dropFirst().first ?? ""
        if path.hasPrefix("/api/models/\(Self.repository)/revision/") {
            return .response(200, [], Data(#"{"sha":"\#(Self.commit)",\#(conduct.card)}"#.utf8))
        }
        if path.hasPrefix("/api/models/\(Self.repository)/tree/\(Self.commit)") {
            return list(conduct, String(query), port)
        }
        let root = "/\(Self.repository)/resolve/\(Self.commit)/"
        guard path.hasPrefix(root), let name = String(path.dropFirst(root.count)).removingPercentEncoding,
            conduct.files[name] != nil
        else { return .response(404, ["X-Error-Code: EntryNotFound"], Data()) }
        if let target = conduct.redirects[name] {
            return .response(302, ["Location: \(target.replacing("PORT", with: "\(port)"))"], Data())
        }
        guard conduct.large.contains(name) else { return file(name, request) }
        let target = "http://127.0.0.1:\(store)/\(name)?signature=1"
        return .response(302, ["Location: \(target)", "X-Xet-Hash: ab"], Data("elsewhere".utf8))
    }

    private func list(_ conduct: Conduct, _ query: String, _ port: UInt16) -> LocalServer.Answer {
        if let list = conduct.list { return .response(200, [], Data(list.utf8)) }
        let first =
            query.split(separator: "&").first { $0.hasPrefix("cursor=") }
            .flatMap { Int($0.dropFirst("cursor=".count)) } ?? 0
        let names = conduct.files.keys.sorted()
        let page = names.dropFirst(first).prefix(conduct.pageSize)
        let entries = page.map { name -> String in
            let data = conduct.files[name] ?? Data()
            let size = data.count
            return conduct.large.contains(name)
                ? #"{"type":"file","path":"\#(name)","size":\#(size),"oid":"\#(String(repeating: "0", count: 40))","#
                    + #""lfs":{"oid":"\#(Self.hash(data, large: true).digits)","size":\#(size),"pointerSize":130}}"#
                : #"{"type":"file","path":"\#(name)","size":\#(size),"oid":"\#(Self.hash(data, large: false).digits)"}"#
        }
        let end = first + conduct.pageSize
        let link =
            "Link: <http://127.0.0.1:\(port)/api/models/\(Self.repository)/tree/\(Self.commit)?cursor=\(end)>; rel=\"next\""
        return .response(
            200, end < names.count ? [link] : [],
            Data(
                #"[{"type":"directory","path":"sub","oid":"0","size":0},\#(entries.joined(separator: ","))]"#
                    .utf8))
    }

    private func stored(_ request: LocalServer.Request) -> LocalServer.Answer {
        // As stores do: two ways of proving who one is are one too many.
        if request.fields["authorization"] != nil { return .response(400, [], Data()) }
        let isExpired = conduct.withLock { conduct in
            conduct.expired -= 1
            return conduct.expired >= 0
        }
        if isExpired { return .response(403, [], Data("<Error>Request has expired</Error>".utf8)) }
        return file(String(request.path.split(separator: "?")[0].dropFirst()), request)
    }

    private func file(_ name: String, _ request: LocalServer.Request) -> LocalServer.Answer {
        let (conduct, cut, status) = conduct.withLock { conduct in
            (
                conduct, conduct.cuts.isEmpty ? nil : conduct.cuts.removeFirst(),
                conduct.statuses.isEmpty ? nil : conduct.statuses.removeFirst()
            )
        }
        if let status { return .response(status, ["Retry-After: 0"], Data()) }
        guard let all = conduct.replaced[name] ?? conduct.files[name] else {
            return .response(404, [], Data())
        }
        var (range, head) = (0..<all.count, "HTTP/1.1 200 OK")
        if conduct.givesParts, let wanted = request.fields["range"]?.dropFirst("bytes=".count) {
            let ends = wanted.split(separator: "-").compactMap { Int($0) }
            if let first = ends.first, first < all.count {
                range = first..<(ends.count > 1 ? min(ends[1] + 1, all.count) : all.count)
                head =
                    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes \(first)-\(range.upperBound - 1)/\(all.count)"
            }
        }
        let rest = all[range]
        let part = cut.map { rest.prefix($0) } ?? rest
        sent.withLock { $0 += part.count }
        return .data(
            Data("\(head)\r\nContent-Length: \(rest.count)\r\nConnection: close\r\n\r\n".utf8) + part)
    }
}

/// A cache of its own and what asks a hub for it.
struct Machine {
    let folder: URL
    let hub: LocalHub
    var environment: [String: String]
    var partBytes = 64 << 20

    init(_ hub: LocalHub, _ folder: URL) {
        self.folder = folder
        self.hub = hub
        environment = [
            "HOME": folder.path, "HF_ENDPOINT": hub.address,
            "HF_HUB_CACHE": folder.appending(path: "hub").path,
            "HF_TOKEN": "secret",
        ]
    }

    var cache: HubCache { HubCache(folder.appending(path: "hub").path) }
    var repository: RepositoryName { get throws { try #require(RepositoryName(LocalHub.repository)) } }
    /// `models--owner--model`.
    var models: URL { folder.appending(path: "hub/models--owner--model") }
    var snapshot: URL { models.appending(path: "snapshots/\(LocalHub.commit)") }

    func pull(revision: String = "main") throws -> ModelPull {
        var settings = try HubSettings(environment: environment)
        settings.pause = { _ in .milliseconds(1) }
        settings.partBytes = partBytes
        return try ModelPull(repository, revision: revision, settings: settings)
    }

    /// Plans and downloads.
    @discardableResult
    func run(_ change: (inout ModelPull) -> Void = { _ in }) async throws -> ModelPull.Outcome {
        var pull = try pull()
        change(&pull)
        return try await pull.run(pull.plan())
    }

    /// What went wrong, in words.
    func failure(_ change: (inout ModelPull) -> Void = { _ in }) async -> String {
        let error = await #expect(throws: HubError.self) { try await run(change) }
        return error?.description ?? ""
    }

    static func with<Result>(
        _ conduct: LocalHub.Conduct = .model, _ body: (Machine) async throws -> Result
    ) async throws -> Result {
        let hub = try LocalHub(conduct)
        defer { hub.stop() }
        let folder = FileManager.default.temporaryDirectory.appending(path: "fastvlm-hub-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try await body(Machine(hub, folder))
    }
}

extension LocalHub.Conduct {
    /// 300 kB whose beginning says nothing of the rest.
    static let weights = Data((0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) })

    /// A model as published, with what nobody needs.
    static var model: LocalHub.Conduct {
        var conduct = LocalHub.Conduct()
        conduct.files = [
            "config.json": Data(#"{"model_type":"llava_qwen2"}"#.utf8), "model.safetensors": weights,
            "merges.txt": Data("a b\n".utf8), "LICENSE": Data("Do what you like.\n".utf8),
            "README.md": Data(),
            "picture.png": Data("no".utf8), "code.py": Data("no".utf8), "onnx/model.onnx": Data("no".utf8),
        ]
        conduct.large = ["model.safetensors", "onnx/model.onnx"]
        return conduct
    }

    static var needed: [String] {
        ["LICENSE", "README.md", "config.json", "merges.txt", "model.safetensors"]
    }
}
