import Foundation
import TestSupport
import Testing

/// Models by name, and what is wrong with folders, without a network.
@Suite("Models of the hub on the command line")
struct HubCommandTests {
    private static let commit = String(repeating: "a", count: 40)

    /// A cache with tiny-hf as `owner/tiny`, as the hub's client lays it out.
    private func inCache(_ body: (_ root: URL, _ environment: [String: String]) throws -> Void) throws {
        try Program.inFolder { root in
            let repository = root.appending(path: "models--owner--tiny")
            let files = FileManager.default
            try files.createDirectory(
                at: repository.appending(path: "refs"), withIntermediateDirectories: true)
            try Data(Self.commit.utf8).write(to: repository.appending(path: "refs/main"))
            try files.createDirectory(
                at: repository.appending(path: "snapshots"), withIntermediateDirectories: true)
            try files.copyItem(
                at: Fixture.url("models/tiny-hf"), to: repository.appending(path: "snapshots/\(Self.commit)"))
            // The address is refused at once, should anybody ask it.
            try body(root, ["HF_HUB_CACHE": root.path, "HF_ENDPOINT": "http://127.0.0.1:1"])
        }
    }

    @Test("--model takes a model of the cache by its name, with an answer like its folder's")
    func byName() throws {
        try inCache { _, environment in
            let rest = [Program.image, "What is this?", "--precision", "float32", "--max-tokens", "8"]
            let named = try Program.run(
                ["describe", "--model", "owner/tiny"] + rest, environment: environment)
            let folder = try Program.run(["describe", "--model", Program.model] + rest)
            #expect(named.status == 0 && named.output == folder.output, "\(named.errors)")
            for command in [["describe"] + rest, ["bench"], ["logits"], ["inspect", "owner/other"]] {
                let model = command[0] == "inspect" ? [] : ["--model", "owner/other"]
                let absent = try Program.run(command + model, environment: environment)
                #expect(
                    absent.status == 69
                        && absent.errors.hasPrefix("fastvlm: there is no folder 'owner/other'")
                        && absent.errors.contains("fastvlm pull owner/other"), "\(absent.errors)")
            }
        }
    }

    @Test("list, show and rm look after the cache, and rm wants a word from scripts")
    func cache() throws {
        try inCache { root, environment in
            let list = try Program.run(["list"], environment: environment)
            #expect(list.status == 0 && list.text.contains("owner/tiny"), "\(list.text) \(list.errors)")
            let show = try Program.run(["show", "owner/tiny"], environment: environment)
            #expect(show.status == 0 && show.text.contains(Self.commit), "\(show.text) \(show.errors)")
            let refused = try Program.run(["rm", "owner/tiny"], environment: environment)
            #expect(refused.status != 0 && refused.errors.contains("--yes"), "\(refused.errors)")
            let folder = root.appending(path: "models--owner--tiny").path
            #expect(FileManager.default.fileExists(atPath: folder))
            let removed = try Program.run(["rm", "owner/tiny", "--yes"], environment: environment)
            #expect(
                removed.status == 0 && !FileManager.default.fileExists(atPath: folder), "\(removed.errors)")
            #expect(try Program.run(["show", "owner/tiny"], environment: environment).status != 0)
        }
    }

    @Test("pull says which names it takes, and what it could not reach")
    func pull() throws {
        let wrong = try Program.run(["pull", "nonsense"])
        #expect(wrong.status == 64 && wrong.errors.contains("owner/name"), "\(wrong.errors)")
        try inCache { _, environment in
            var offline = environment
            offline["HF_HUB_OFFLINE"] = "1"
            let outcome = try Program.run(["pull", "owner/other", "--yes"], environment: offline)
            #expect(outcome.status == 64 && outcome.errors.contains("HF_HUB_OFFLINE"), "\(outcome.errors)")
        }
    }

    @Test("doctor lists everything that is wrong with a folder at once")
    func doctor() throws {
        #expect(try Program.run(["doctor", Program.model]).status == 0)
        try Program.inFolder { root in
            let folder = root.appending(path: "model")
            try FileManager.default.copyItem(at: Fixture.url("models/tiny-hf"), to: folder)
            try Data("{".utf8).write(to: folder.appending(path: "generation_config.json"))
            try Data("<!DOCTYPE html>".utf8).write(to: folder.appending(path: "tokenizer.json"))
            let outcome = try Program.run(["doctor", folder.path])
            #expect(outcome.status == 69)
            for file in ["generation_config.json", "tokenizer.json"] {
                #expect(outcome.text.contains(file), "\(outcome.text) \(outcome.errors)")
            }
        }
    }
}
