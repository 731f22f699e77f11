import Foundation
import Synchronization
import TestSupport
import Testing

@testable import ModelHub

@Suite("An archive of a model")
struct ArchiveTests {
    typealias Entry = ZipWriter.Entry

    /// As Apple's are: a folder with the model, and what nobody needs.
    private static let entries = [
        Entry(path: "model_stage3/", data: Data(), mode: 0o040755),
        Entry(path: "model_stage3/config.json", data: Data(#"{"model_type":"llava_qwen2"}"#.utf8)),
        Entry(path: "model_stage3/model.safetensors", data: LocalHub.Conduct.weights),
        Entry(path: "model_stage3/training_args.bin", data: Data("no".utf8)),
        Entry(path: "model_stage3/checkpoint/config.json", data: Data("{}".utf8)),
        Entry(path: "__MACOSX/model_stage3/._config.json", data: Data("no".utf8)),
    ]

    /// A server with one archive, and a machine that knows nothing yet.
    private final class Place: Sendable {
        let archive: Mutex<(data: Data, tag: String)>
        /// Connections that end after so many bytes, one after the other.
        let cuts = Mutex<[Int]>([])
        let sent = Mutex(0)
        private let server: Mutex<LocalServer?> = Mutex(nil)
        let folder: URL

        init(_ data: Data) throws {
            archive = Mutex((data, "1"))
            folder = FileManager.default.temporaryDirectory.appending(path: "fastvlm-archive-\(UUID())")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let server = try LocalServer(requests: { [unowned self] in answer($0) })
            self.server.withLock { $0 = server }
        }

        func end() {
            server.withLock { $0?.stop() }
            try? FileManager.default.removeItem(at: folder)
        }

        var environment: [String: String] {
            ["HOME": folder.path, "HF_HOME": folder.path, "HF_TOKEN": "secret"]
        }
        var cache: ArchiveCache { ArchiveCache(HubFolders(environment: environment)) }

        func pull() throws -> ArchivePull {
            let url = server.withLock { $0?.url("models/model_stage3.zip?x=1") } ?? ""
            var settings = try HubSettings(environment: environment)
            settings.pause = { _ in .milliseconds(1) }
            settings.partBytes = 60_000
            return ArchivePull(try ArchiveAddress(url), settings: settings)
        }

        func run(_ change: (inout ArchivePull) -> Void = { _ in }) async throws -> ArchivePull.Outcome {
            var pull = try pull()
            change(&pull)
            return try await pull.run(pull.plan())
        }

        func failure(_ change: (inout ArchivePull) -> Void = { _ in }) async -> String {
            let error = await #expect(throws: HubError.self) { try await run(change) }
            return error?.description ?? ""
        }

        private func answer(_ request: LocalServer.Request) -> LocalServer.Answer {
            #expect(request.fields["authorization"] == nil)
            let (data, tag) = archive.withLock { $0 }
            guard request.path.hasPrefix("/models/model_stage3.zip") else {
                return .response(404, [], Data())
            }
            let ends = (request.fields["range"] ?? "bytes=0-").dropFirst(6).split(separator: "-").compactMap {
                Int($0)
            }
            let range = ends[0]..<(ends.count > 1 ? min(ends[1] + 1, data.count) : data.count)
            let cut = range.count > 1 ? cuts.withLock { $0.isEmpty ? nil : $0.removeFirst() } : nil
            let part = data[range].prefix(cut ?? range.count)
            sent.withLock { $0 += part.count }
            return .data(
                Data(
                    """
                    HTTP/1.1 206 Partial Content\r\nETag: "\(tag)"\r\nContent-Length: \(range.count)\r\n\
                    Content-Range: bytes \(range.lowerBound)-\(range.upperBound - 1)/\(data.count)\r\n\
                    Connection: close\r\n\r\n
                    """.utf8) + part)
        }
    }

    private static func with(_ entries: [Entry], _ body: (Place) async throws -> Void) async throws {
        let place = try Place(ZipWriter.archive(entries))
        defer { place.end() }
        try await body(place)
    }

    private static func names(_ folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    }

    @Test("is unpacked into a folder that its name finds, and again costs nothing")
    func unpacked() async throws {
        try await Self.with(Self.entries) { place in
            #expect(place.cache.model("model_stage3") == nil && place.cache.models.isEmpty)
            place.cuts.withLock { $0 = [1000, 70_000, 5] }
            let outcome = try await place.run()
            #expect(outcome.files == ["config.json", "model.safetensors"])
            let got = try Data(contentsOf: URL(filePath: outcome.folder).appending(path: "model.safetensors"))
            #expect(got == LocalHub.Conduct.weights)
            let model = try #require(place.cache.model("model_stage3"))
            #expect(model.folder == outcome.folder && model.address.hasSuffix("/models/model_stage3.zip"))
            #expect(try Self.names(place.cache.root) == [".downloads", ".locks", "model_stage3"])
            #expect(try Self.names(place.cache.root + "/.downloads").isEmpty)
            let sent = place.sent.withLock { $0 }
            #expect(try await place.pull().plan().missing == 0)
            #expect(try await place.run().downloaded == 0)
            // Their heads only.
            #expect(place.sent.withLock { $0 } < sent + 10)

            // Another archive under the same address takes its place.
            place.archive.withLock { $0.tag = "2" }
            #expect(try await place.run().downloaded > 300_000)
            try place.cache.remove("model_stage3")
            #expect(place.cache.models.isEmpty)
            #expect(throws: HubError.self) { try place.cache.remove("model_stage3") }
        }
    }

    @Test("comes on where another process ended, and replaces what that one half unpacked")
    func resumed() async throws {
        try await Self.with(Self.entries) { place in
            place.cuts.withLock { $0 = [30_000] + Array(repeating: 0, count: 60) }
            #expect(await place.failure().contains("cannot reach"))
            place.cuts.withLock { $0 = [] }
            let half = URL(filePath: place.cache.root + "/.unpacking-model_stage3")
            try FileManager.default.createDirectory(at: half, withIntermediateDirectories: true)
            try Data("half".utf8).write(to: half.appending(path: "model.safetensors"))
            let outcome = try await place.run()
            #expect(outcome.downloaded == ZipWriter.archive(Self.entries).count - 30_000)
            #expect(try Self.names(place.cache.root) == [".downloads", ".locks", "model_stage3"])
        }
    }

    @Test("does not replace what is somebody's own")
    func inTheWay() async throws {
        try await Self.with(Self.entries) { place in
            let own = URL(filePath: place.cache.folder("model_stage3"))
            try FileManager.default.createDirectory(at: own, withIntermediateDirectories: true)
            #expect(await place.failure().contains("in the way"))
            #expect(throws: HubError.self) { try place.cache.remove("model_stage3") }
            #expect(FileManager.default.fileExists(atPath: own.path))
        }
    }

    @Test(
        "that means no good is refused, and leaves nothing behind",
        arguments: [
            ([Entry(path: "../../.bashrc", data: Data("x".utf8))], "could lead elsewhere"),
            ([Entry(path: "/etc/passwd", data: Data("x".utf8))], "could lead elsewhere"),
            ([Entry(path: "a\\..\\b", data: Data("x".utf8))], "could lead elsewhere"),
            ([Entry(path: "model_stage3/../../x", data: Data("x".utf8))], "could lead elsewhere"),
            ([Entry(path: "", data: Data("x".utf8))], "could lead elsewhere"),
            (
                [Entry(path: "model_stage3/merges.txt", data: Data("/etc/passwd".utf8), mode: 0o120777)],
                "a link"
            ),
            (
                [Entry(path: "model_stage3/merges.txt", data: Data("abcdefghijklmn".utf8), flags: 1)],
                "encrypted"
            ),
            ([Entry(path: "model_stage3/config.json", data: Data("{}".utf8))], "twice"),
            (
                [
                    Entry(path: "other/config.json", data: Data("{}".utf8)),
                    Entry(path: "other/model.safetensors", data: Data("x".utf8)),
                ], "holds 2 models"
            ),
            // Deflated to a thousandth, so it says.
            (
                [
                    Entry(
                        path: "model_stage3/more.safetensors", data: Data(count: 100),
                        unpackedSize: 4_000_000_000,
                        method: 8)
                ], "would become"
            ),
            ([Entry(path: "model_stage3/merges.txt", data: Data("a b".utf8), checksum: 1)], "damaged"),
        ])
    func hostile(more: [Entry], words: String) async throws {
        try await Self.with(Self.entries + more) { place in
            let got = await place.failure()
            #expect(got.contains(words), "\(got)")
            let left = try Self.names(place.cache.root) + Self.names(place.cache.root + "/.downloads")
            #expect(left == [".downloads", ".locks"])
            let around = try Self.names(place.folder.path)
            #expect(around == ["fastvlm"])
        }
    }

    @Test("without a model that can be run is refused by what it holds")
    func unusable() async throws {
        for (entries, words) in [
            ([Entry(path: "a/model.gguf", data: Data("x".utf8))], "GGUF only"),
            ([Entry(path: "a/config.json", data: Data("{}".utf8))], "no weights"),
            (
                Self.entries + [Entry(path: "model_stage3/fastvithd.mlpackage/a.bin", data: Data("x".utf8))],
                nil
            ),
        ] as [([Entry], String?)] {
            try await Self.with(entries) { place in
                // Whether these weights hold a tower cannot be seen, so the model's loading says it.
                guard let words else {
                    let files = try await place.run().files
                    return #expect(files.count == 2)
                }
                let got = await place.failure()
                #expect(got.contains(words), "\(got)")
            }
        }
        try await Self.with(Self.entries) { place in
            let got = await place.failure { $0.examine = { _ in "it is a llama" } }
            #expect(got.contains("it is a llama") && place.cache.models.isEmpty)
        }
    }

    @Test("that is none, or was cut, is said to be damaged")
    func damaged() async throws {
        let archive = ZipWriter.archive(Self.entries)
        for data in [
            Data("<html>".utf8), Data(archive.dropLast(200)), Data(archive.dropFirst(100_000)),
            Data(count: 5000),
        ] {
            let place = try Place(data)
            defer { place.end() }
            let got = await place.failure()
            #expect(got.contains("damaged") || got.contains("could lead elsewhere"), "\(got)")
        }
    }

    @Test("has an address with one reading, and a plain name")
    func addresses() throws {
        let apple = try ArchiveAddress(ArchiveAddress.example)
        #expect(apple.name == "llava-fastvithd_0.5b_stage3" && apple.licence.name == "apple-amlr")
        #expect(apple.refusal == nil && !apple.licence.isOpen)
        let export = try ArchiveAddress(
            "https://ml-site.cdn-apple.com/datasets/fastvlm/llava-fastvithd_0.5b_stage3_llm.fp16.zip")
        #expect(export.refusal?.description.contains("Core ML only") == true)
        for text in [
            "http://example.org/a.zip", "https://example.org/a.tar.gz", "https://example.org/.zip",
            "https://example.org/%2e%2e.zip", "https://example.org/..zip", "https://a:b@example.org/a.zip",
            "https://example.org/a b.zip", "https://example.org", "https://", "file:///a.zip",
        ] {
            #expect(throws: HubError.self, "\(text)") { try ArchiveAddress(text) }
        }
        #expect(
            try ArchiveAddress("HTTPS://example.org/x/Model.ZIP?token=1#a").description
                == "HTTPS://example.org/x/Model.ZIP")
    }
}
