import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("The files of a folder belong together, or are refused")
struct CatalogTests {
    private static let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]

    /// Two shards and the index that describes them.
    private func sharded(in folder: URL) throws -> [String: String] {
        let tensors = try TinyCheckpoint.apple().tensors.sorted { $0.key < $1.key }
        var map: [String: String] = [:]
        for (number, shard) in Self.shards.enumerated() {
            let part = tensors.enumerated().filter { $0.offset % 2 == number }.map { $0.element }
            try SafetensorsWriter.write(part.map { ($0.key, $0.value) }, to: folder.appending(path: shard))
            for (name, _) in part { map[name] = shard }
        }
        try TinyCheckpoint(config: TinyCheckpoint.appleConfig).writeConfig(to: folder)
        try writeIndex(map, to: folder)
        return map
    }

    private func writeIndex(_ map: [String: Any], to folder: URL) throws {
        try JSONSerialization.data(withJSONObject: ["metadata": ["total_size": 1], "weight_map": map])
            .write(to: folder.appending(path: "model.safetensors.index.json"))
    }

    @Test("shards give what one file gives, with an index or with a complete numbering")
    func shards() throws {
        let reference = try Checkpoint(directory: Fixture.url("checkpoints/folded"))
        try withTemporaryFolder { folder in
            _ = try sharded(in: folder)
            try expectSameWeights(Checkpoint(directory: folder).weights, reference.weights, tolerance: 0)
            try FileManager.default.removeItem(at: folder.appending(path: "model.safetensors.index.json"))
            try expectSameWeights(Checkpoint(directory: folder).weights, reference.weights, tolerance: 0)
            try FileManager.default.removeItem(at: folder.appending(path: Self.shards[0]))
            #expect(checkpointError { try Checkpoint(directory: folder) } != nil)
        }
    }

    @Test("an index that disagrees with its shards, or points elsewhere, is refused")
    func index() throws {
        try withTemporaryFolder { folder in
            let map = try sharded(in: folder)
            let name = try #require(map.keys.min())
            let other = try #require(Self.shards.first { $0 != map[name] })
            let changes: [[String: Any]] = [
                map.merging([name: other]) { $1 }, map.filter { $0.key != name }, [:],
                map.merging(["model.nothing": other]) { $1 },
            ]
            for change in changes {
                try writeIndex(change, to: folder)
                guard case .invalidIndex = checkpointError({ try Checkpoint(directory: folder) }) else {
                    Issue.record(
                        "\(String(describing: checkpointError { try Checkpoint(directory: folder) }))")
                    continue
                }
            }
            let places: [Any] = [
                "../\(other)", "/etc/passwd", "/tmp/x.safetensors", "a/b.safetensors", "..\\x.safetensors",
                "", 7,
                ".hidden.safetensors", "x\u{0}.safetensors", NSNull(),
            ]
            for place in places {
                try writeIndex(map.mapValues { $0 as Any }.merging([name: place]) { $1 }, to: folder)
                guard case .invalidIndex = checkpointError({ try Checkpoint(directory: folder) }) else {
                    Issue.record("\(place)")
                    continue
                }
            }
            try writeIndex(map.merging([name: "absent.safetensors"]) { $1 }, to: folder)
            guard case .missingFile = checkpointError({ try Checkpoint(directory: folder) }) else {
                Issue.record("an absent shard")
                return
            }
        }
    }

    @Test("a folder without what is needed says what it has instead")
    func folders() throws {
        let nowhere = URL(filePath: "/nonexistent/checkpoint")
        guard case .notACheckpoint = checkpointError({ try Checkpoint(directory: nowhere) }) else {
            Issue.record("no folder")
            return
        }
        try withTemporaryFolder { folder in
            guard case .missingFile(_, "config.json") = checkpointError({ try Checkpoint(directory: folder) })
            else {
                Issue.record("no config.json")
                return
            }
            try TinyCheckpoint(config: TinyCheckpoint.appleConfig).writeConfig(to: folder)
            guard case .missingFile = checkpointError({ try Checkpoint(directory: folder) }) else {
                Issue.record("no weights")
                return
            }
            for name in ["pytorch_model.bin", "model.gguf"] {
                let url = folder.appending(path: name)
                try Data([1]).write(to: url)
                guard
                    case .unsupportedWeightsFormat(_, [name]) = checkpointError({
                        try Checkpoint(directory: folder)
                    })
                else {
                    Issue.record("\(name)")
                    continue
                }
                try FileManager.default.removeItem(at: url)
            }
            for name in ["a.safetensors", "b.safetensors"] {
                try SafetensorsWriter.write([(name, random([1]))], to: folder.appending(path: name))
            }
            guard case .ambiguousWeights = checkpointError({ try Checkpoint(directory: folder) }) else {
                Issue.record("two files")
                return
            }
            try FileManager.default.removeItem(at: folder.appending(path: "a.safetensors"))
            try FileManager.default.removeItem(at: folder.appending(path: "b.safetensors"))
            try FileManager.default.createDirectory(
                at: folder.appending(path: "model.safetensors"), withIntermediateDirectories: false)
            guard case .notARegularFile = checkpointError({ try Checkpoint(directory: folder) }) else {
                Issue.record("a folder for a file")
                return
            }
        }
    }

    @Test("a checkpoint cut short anywhere is refused")
    func truncated() throws {
        try withTemporaryFolder { folder in
            try TinyCheckpoint.apple().write(to: folder)
            let url = folder.appending(path: "model.safetensors")
            let whole = try Data(contentsOf: url)
            for length in stride(from: 0, to: whole.count, by: 1 + whole.count / 97) {
                try whole.prefix(length).write(to: url)
                #expect(checkpointError { try Checkpoint(directory: folder) } != nil)
            }
        }
    }

    @Test("files that are links, as model stores keep them, are followed")
    func links() throws {
        try withTemporaryFolder { folder in
            let fixture = Fixture.url("checkpoints/folded")
            for name in ["config.json", "model.safetensors"] {
                try FileManager.default.createSymbolicLink(
                    at: folder.appending(path: name), withDestinationURL: fixture.appending(path: name))
            }
            #expect(try Checkpoint(directory: folder).layout.family == .huggingFace)
        }
    }
}
