import Foundation
import Synchronization
import TestSupport
import Testing

@testable import ModelHub

@Suite("The hub's cache")
struct CacheTests {
    @Test("lists models and removes them, and nothing that links lead to")
    func removing() async throws {
        try await Machine.with { machine in
            #expect(try machine.cache.models().isEmpty)
            try await machine.run()
            let other = machine.folder.appending(path: "other")
            try Data("keep".utf8).write(to: other)
            try FileManager.default.createSymbolicLink(
                at: machine.snapshot.appending(path: "link"), withDestinationURL: other)
            try FileManager.default.createSymbolicLink(
                at: machine.models.appending(path: "folder"), withDestinationURL: machine.folder)
            let model = try #require(try machine.cache.models().first)
            #expect(
                model.repository.description == "owner/model" && model.modelFolder != nil
                    && model.unfinished == 0)
            #expect(model.references.map(\.name) == ["main"] && model.commits == [LocalHub.commit])
            #expect(model.bytes >= 300_000 && model.bytes < 400_000)
            try machine.cache.remove(machine.repository)
            #expect(!FileManager.default.fileExists(atPath: machine.models.path))
            #expect(try String(contentsOf: other, encoding: .utf8) == "keep")
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: machine.cache.root).sorted() == [
                    ".locks", "CACHEDIR.TAG",
                ])
            #expect(throws: HubError.self) { try machine.cache.remove(machine.repository) }
        }
    }

    @Test("is freed of what a removal left that was killed")
    func leftovers() async throws {
        try await Machine.with { machine in
            try await machine.run()
            let left = machine.folder.appending(path: "hub/.fastvlm-removed-1/blobs")
            try FileManager.default.createDirectory(at: left, withIntermediateDirectories: true)
            try Data("old".utf8).write(to: left.appending(path: "a"))
            try machine.cache.remove(machine.repository)
            let names = try FileManager.default.contentsOfDirectory(atPath: machine.cache.root)
            #expect(names.allSatisfy { !$0.hasPrefix(".fastvlm-removed") })
        }
    }

    @Test("is found whatever the environment says of tokens and hubs")
    func folders() async throws {
        try await Machine.with { machine in
            try await machine.run()
            var environment = machine.environment
            environment["HF_TOKEN"] = "not\u{7F}a token"
            environment["HF_ENDPOINT"] = "nowhere"
            let cache = HubCache(HubFolders(environment: environment).cache)
            #expect(try cache.models().count == 1)
            var other = machine
            other.environment["HF_TOKEN"] = "not\u{7F}a token"
            #expect(await other.failure().contains("printable ASCII"))
            let asked = machine.hub.requests.filter { $0.host == "hub" }
            #expect(asked.allSatisfy { $0.request.fields["authorization"] == "Bearer secret" })
        }
    }

    @Test("is never left through a link in its place")
    func linked() async throws {
        try await Machine.with { machine in
            let elsewhere = machine.folder.appending(path: "elsewhere")
            try FileManager.default.createDirectory(at: elsewhere, withIntermediateDirectories: true)
            try FileManager.default.createDirectory(
                atPath: machine.cache.root, withIntermediateDirectories: true)
            try FileManager.default.createSymbolicLink(at: machine.models, withDestinationURL: elsewhere)
            #expect(throws: HubError.self) { try machine.cache.remove(machine.repository) }
            #expect(FileManager.default.fileExists(atPath: elsewhere.path))
        }
    }

    @Test("is locked while a file comes in, and waits for others")
    func locks() async throws {
        try await Machine.with { machine in
            try await machine.run()
            let digits = LocalHub.hash(LocalHub.Conduct.weights, large: true)
            let cancellation = Cancellation()
            let lock = try FileLock(machine.cache.lock(machine.repository, digits), cancellation)
            #expect(throws: HubError.self) { try machine.cache.remove(machine.repository) }
            let plan = try await machine.pull().plan()
            #expect(throws: CancellationError.self) {
                try machine.pull().run(plan, cancellation) { event in
                    if case .waiting(let path) = event {
                        #expect(path == "model.safetensors")
                        cancellation.cancel()
                    }
                }
            }
            withExtendedLifetime(lock) {}
        }
    }

    @Test("knows a commit by its name only")
    func references() async throws {
        try await Machine.with { machine in
            try await machine.run()
            let main = machine.models.appending(path: "refs/main")
            for text in ["../../etc", "", "abc", String(repeating: "g", count: 40)] {
                try Data(text.utf8).write(to: main)
                #expect(try machine.cache.modelFolder(machine.repository) == nil, "\(text)")
            }
            try Data("\(LocalHub.commit)\n".utf8).write(to: main)
            #expect(try machine.cache.modelFolder(machine.repository) == machine.snapshot.path)
            #expect(
                try machine.cache.modelFolder(machine.repository, revision: LocalHub.commit)
                    == machine.snapshot.path)
            try FileManager.default.removeItem(at: machine.models.appending(path: "blobs"))
            #expect(try machine.cache.modelFolder(machine.repository) == nil)
        }
    }

    @Test("is compared with its own names, and the damage is named")
    func verified() async throws {
        try await Machine.with { machine in
            let folder = try await machine.run().folder
            #expect(try HubCache.verify(in: folder, Cancellation()).compared == 5)
            #expect(try HubCache.verify(in: folder, Cancellation()).faults.isEmpty)
            let blob = URL(filePath: "\(folder)/model.safetensors").resolvingSymlinksInPath()
            try (LocalHub.Conduct.weights.dropLast() + [7]).write(to: blob)
            let faults = try HubCache.verify(in: folder, Cancellation()).faults
            #expect(faults.count == 1 && faults.first?.contains("model.safetensors") == true, "\(faults)")
            // Of other folders nothing is known.
            #expect(try HubCache.verify(in: machine.folder.path, Cancellation()).compared == 0)
        }
    }

    @Test("goes with a memory of the licences that were accepted, by their text")
    func licences() async throws {
        var conduct = LocalHub.Conduct.model
        conduct.card = #""cardData":{"license":"apple-amlr"}"#
        try await Machine.with(conduct) { machine in
            let pull = try machine.pull()
            let accepted = AcceptedLicences(pull.settings)
            let plan = try await pull.plan()
            #expect(try !accepted.contains(plan.terms))
            try accepted.add(plan.terms)
            try accepted.add(plan.terms)
            #expect(try accepted.contains(plan.terms))
            machine.hub.conduct.withLock { $0.files["LICENSE"] = Data("Other terms.\n".utf8) }
            let other = try await pull.plan()
            #expect(try !accepted.contains(other.terms))
            let lines = try String(
                contentsOf: machine.folder.appending(path: ".local/state/fastvlm/accepted-licences"),
                encoding: .utf8)
            #expect(lines.split(separator: "\n").count == 1)
        }
    }
}
