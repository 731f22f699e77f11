import Foundation
import Synchronization
import SystemFiles
import TestSupport
import Testing

@testable import ModelHub

@Suite("Downloading a model")
struct PullTests {
    private static func names(_ folder: URL) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    }

    private static func identity(_ path: String) throws -> FileIdentity {
        try #require(FileIdentity(path: path))
    }

    @Test("fills the hub's cache with what is needed, and again costs nothing")
    func cache() async throws {
        try await Machine.with { machine in
            let outcome = try await machine.run()
            #expect(outcome.folder == machine.snapshot.path)
            #expect(try Self.names(machine.snapshot) == LocalHub.Conduct.needed)
            for name in LocalHub.Conduct.needed {
                let data = try #require(LocalHub.Conduct.model.files[name])
                let hash = LocalHub.hash(data, large: name == "model.safetensors").digits
                let got1 = try Data(contentsOf: machine.snapshot.appending(path: name))
                #expect(got1 == data)
                #expect(
                    System.linkTarget(machine.snapshot.appending(path: name).path) == "../../blobs/\(hash)")
                #expect(
                    FileManager.default.fileExists(
                        atPath: machine.folder.appending(path: "hub/.locks/models--owner--model/\(hash).lock")
                            .path))
            }
            #expect(
                try String(contentsOf: machine.models.appending(path: "refs/main"), encoding: .utf8)
                    == LocalHub.commit)
            #expect(try Self.names(machine.models.appending(path: "blobs")).count == 5)
            #expect(
                System.text(machine.folder.appending(path: "hub/CACHEDIR.TAG").path)?.hasPrefix(
                    "Signature: 8a47") == true)
            #expect(try machine.cache.modelFolder(machine.repository) == machine.snapshot.path)

            let plan = try await machine.pull().plan()
            #expect(
                plan.missing == 0
                    && plan.bytes
                        == LocalHub.Conduct.needed.reduce(0) {
                            $0 + (LocalHub.Conduct.model.files[$1]?.count ?? 0)
                        }
            )
            let again = try await machine.run()
            #expect(again.downloaded == 0)
        }
    }

    @Test("sends the token to the hub and to nobody else")
    func token() async throws {
        var conduct = LocalHub.Conduct.model
        conduct.token = "secret"
        try await Machine.with(conduct) { machine in
            try await machine.run()
            let (hub, store) = (
                machine.hub.requests.filter { $0.host == "hub" },
                machine.hub.requests.filter { $0.host == "store" }
            )
            #expect(
                !store.isEmpty && hub.allSatisfy { $0.request.fields["authorization"] == "Bearer secret" })
            #expect(store.allSatisfy { $0.request.fields["authorization"] == nil })
        }
    }

    @Test("takes what the Python client left, and sees when it is damaged")
    func shared() async throws {
        try await Machine.with { machine in
            let weights = LocalHub.Conduct.weights
            let blobs = machine.models.appending(path: "blobs")
            try FileManager.default.createDirectory(at: blobs, withIntermediateDirectories: true)
            let blob = blobs.appending(path: LocalHub.hash(weights, large: true).digits)
            try weights.write(to: blob)
            let before = try Self.identity(blob.path)
            try await machine.run()
            #expect(
                try Self.identity(blob.path) == before && machine.hub.requests.allSatisfy { $0.host == "hub" }
            )
            // The right size is all that the Python client looks at.
            var damaged = weights
            damaged[200_000] ^= 1
            try damaged.write(to: blob)
            try await machine.run()
            let got2 = try Data(contentsOf: blob)
            #expect(got2 == weights)
        }
    }

    @Test("goes on after every cut, and transfers no byte twice")
    func cuts() async throws {
        var conduct = LocalHub.Conduct.model
        conduct.files = conduct.files.filter { ["config.json", "model.safetensors"].contains($0.key) }
        try await Machine.with(conduct) { machine in
            let pull = try machine.pull()
            let plan = try await pull.plan()
            let before = machine.hub.sentBytes
            machine.hub.conduct.withLock { $0.cuts = [1000] + (0..<20).map { 100 + $0 * 997 } }
            _ = try await pull.run(plan)
            #expect(machine.hub.sentBytes - before == plan.bytes)
            #expect(machine.hub.requests.filter { $0.host == "store" }.count == 21)
        }
    }

    @Test("goes on where another process ended, also when what it left is longer than it may be")
    func resumed() async throws {
        var conduct = LocalHub.Conduct.model
        // Cut before any byte until it is given up.
        conduct.cuts = Array(repeating: 1 << 20, count: 5) + [123_456] + Array(repeating: 0, count: 5)
        try await Machine.with(conduct) { machine in
            let words = await machine.failure()
            #expect(words.contains("cannot reach"), "\(words)")
            let weights = LocalHub.Conduct.weights
            let partial = machine.models.appending(
                path: "blobs/\(LocalHub.hash(weights, large: true).digits).incomplete")
            #expect(try Data(contentsOf: partial).count == 123_456)
            // Half a model is none.
            #expect(try machine.cache.modelFolder(machine.repository) == nil)
            machine.hub.conduct.withLock { $0.cuts = [] }
            #expect(try await machine.pull().plan().missing == weights.count - 123_456)
            let sent = machine.hub.sentBytes
            let outcome = try await machine.run()
            #expect(outcome.downloaded == weights.count - 123_456)
            // And config.json and LICENSE, which every plan reads.
            #expect(machine.hub.sentBytes - sent < weights.count - 123_456 + 100)

            try FileManager.default.removeItem(at: machine.models.appending(path: "blobs"))
            try FileManager.default.createDirectory(
                at: machine.models.appending(path: "blobs"), withIntermediateDirectories: true)
            try (weights + Data(count: 5)).write(to: partial)
            try await machine.run()
            let got3 = try Data(contentsOf: machine.snapshot.appending(path: "model.safetensors"))
            #expect(got3 == weights)
        }
    }

    @Test(
        "begins anew where the server gives no parts, and where what was left is wrong",
        arguments: [true, false])
    func restarted(givesParts: Bool) async throws {
        var conduct = LocalHub.Conduct.model
        conduct.givesParts = givesParts
        try await Machine.with(conduct) { machine in
            let weights = LocalHub.Conduct.weights
            let blobs = machine.models.appending(path: "blobs")
            try FileManager.default.createDirectory(at: blobs, withIntermediateDirectories: true)
            try Data(count: 1000).write(
                to: blobs.appending(path: "\(LocalHub.hash(weights, large: true).digits).incomplete"))
            try await machine.run()
            let got4 = try Data(contentsOf: machine.snapshot.appending(path: "model.safetensors"))
            #expect(got4 == weights)
        }
    }

    @Test("asks for another signed address when one is over")
    func expired() async throws {
        var conduct = LocalHub.Conduct.model
        conduct.expired = 2
        try await Machine.with(conduct) { machine in
            try await machine.run()
            #expect(
                machine.hub.requests.filter {
                    $0.request.path.contains("/resolve/") && $0.request.path.hasSuffix("model.safetensors")
                }.count == 3)
        }
    }

    @Test("tries again after what passes, and not for ever")
    func statuses() async throws {
        var conduct = LocalHub.Conduct.model
        conduct.statuses = [429, 503, 500, 408]
        try await Machine.with(conduct) { machine in
            try await machine.run()
            machine.hub.conduct.withLock { $0.statuses = Array(repeating: 503, count: 100) }
            #expect(await machine.failure().contains("answered 503"))
            #expect(machine.hub.conduct.withLock { $0.statuses.count } == 95)
        }
    }

    @Test("never keeps what has another hash", arguments: ["model.safetensors", "merges.txt"])
    func wrong(name: String) async throws {
        var conduct = LocalHub.Conduct.model
        var damaged = try #require(conduct.files[name])
        damaged[damaged.count / 2] ^= 4
        conduct.replaced[name] = damaged
        try await Machine.with(conduct) { machine in
            let words = await machine.failure()
            #expect(words.contains("its hash differs") && words.contains(name), "\(words)")
            #expect(!FileManager.default.fileExists(atPath: machine.snapshot.appending(path: name).path))
            let blobs = try Self.names(machine.models.appending(path: "blobs"))
            #expect(blobs.allSatisfy { !$0.hasSuffix(".incomplete") })
            #expect(try machine.cache.modelFolder(machine.repository) == nil)
        }
    }

    @Test("takes a file of another size for none", arguments: [-1, 1, 100_000])
    func size(more: Int) async throws {
        var conduct = LocalHub.Conduct.model
        conduct.replaced["model.safetensors"] =
            more < 0 ? LocalHub.Conduct.weights.dropLast() : LocalHub.Conduct.weights + Data(count: more)
        try await Machine.with(conduct) { machine in
            #expect(await machine.failure().contains("in place of"))
        }
    }

    @Test("takes shards that the index names, and follows pages of the list")
    func index() async throws {
        var conduct = LocalHub.Conduct.model
        conduct.files["model.safetensors"] = nil
        for name in ["model-1.safetensors", "model-2.safetensors", "stray.safetensors"] {
            conduct.files[name] = Data(name.utf8)
        }
        conduct.files["model.safetensors.index.json"] = Data(
            #"{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#.utf8)
        conduct.pageSize = 3
        try await Machine.with(conduct) { machine in
            try await machine.run()
            let names = try Self.names(machine.snapshot).filter { $0.hasSuffix(".safetensors") }
            #expect(names == ["model-1.safetensors", "model-2.safetensors"])
            machine.hub.conduct.withLock { $0.files["model-2.safetensors"] = nil }
            #expect(await machine.failure().contains("model-2.safetensors"))
        }
    }

    @Test("puts files into a folder, and leaves there what is somebody's own")
    func localFolder() async throws {
        try await Machine.with { machine in
            let target = machine.folder.appending(path: "there")
            let outcome = try await machine.run { $0.localFolder = target.path + "/" }
            #expect(outcome.folder == target.path)
            #expect(try Self.names(target) == [".cache"] + LocalHub.Conduct.needed)
            let note = try String(
                contentsOf: target.appending(path: ".cache/huggingface/download/config.json.metadata"),
                encoding: .utf8)
            #expect(
                note.hasPrefix(
                    "\(LocalHub.commit)\n\(LocalHub.hash(LocalHub.Conduct.model.files["config.json"] ?? Data(), large: false).digits)\n"
                ))
            let again = try await machine.run { $0.localFolder = target.path }
            #expect(again.downloaded == 0)
            // Changed since.
            let merges = target.appending(path: "merges.txt")
            try Data("mine".utf8).write(to: merges)
            // Or brought along, older than the note.
            for age in [60.0, -3600] {
                try FileManager.default.setAttributes(
                    [.modificationDate: Date(timeIntervalSinceNow: age)], ofItemAtPath: merges.path)
                #expect(await machine.failure { $0.localFolder = target.path }.contains("was not downloaded"))
                #expect(try String(contentsOf: merges, encoding: .utf8) == "mine")
            }
            let some = machine.folder.appending(path: "some")
            try await machine.run {
                $0.localFolder = some.path
                $0.include = ["*.py", "onnx/*"]
            }
            #expect(try Self.names(some) == [".cache", "code.py", "onnx"])
            #expect(await machine.failure { $0.include = ["*.gguf"] }.contains("no file like '*.gguf'"))
        }
    }

    @Test("ends when it is cancelled, and leaves its beginning")
    func cancelled() async throws {
        try await Machine.with { machine in
            let pull = try machine.pull()
            let plan = try await pull.plan()
            let cancellation = Cancellation()
            #expect(throws: CancellationError.self) {
                try pull.run(plan, cancellation) { event in
                    if case .progress(let done, _) = event, done > 20 { cancellation.cancel() }
                }
            }
            #expect(try machine.cache.modelFolder(machine.repository) == nil)
            try await machine.run()
        }
    }
}
