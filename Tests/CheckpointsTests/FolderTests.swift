import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("What people name in place of a checkpoint folder")
struct FolderTests {
    private static let commit = "163757200a5d9f3e6b1c"
    private static let fixture = Fixture.url("checkpoints/folded")

    private func message(_ url: URL) -> String {
        checkpointError { try Checkpoint(directory: url) }.map(\.description) ?? "accepted"
    }

    /// As a hub's client leaves it: blobs, links to them, and refs/main.
    private func cache(
        in root: URL, snapshots: [String] = [commit], main: String? = commit, complete: Bool = true
    ) throws -> URL {
        let folder = root.appending(path: "models--apple--FastVLM-0.5B")
        let files = FileManager.default
        for part in ["blobs", "refs", "snapshots"] {
            try files.createDirectory(at: folder.appending(path: part), withIntermediateDirectories: true)
        }
        for name in ["config.json", "model.safetensors"] {
            try files.copyItem(
                at: Self.fixture.appending(path: name), to: folder.appending(path: "blobs/\(name)"))
        }
        for snapshot in snapshots {
            let target = folder.appending(path: "snapshots/\(snapshot)")
            try files.createDirectory(at: target, withIntermediateDirectories: true)
            for name in complete ? ["config.json", "model.safetensors"] : ["model.safetensors"] {
                try files.createSymbolicLink(
                    atPath: target.appending(path: name).path, withDestinationPath: "../../blobs/\(name)")
            }
        }
        if let main { try Data(main.utf8).write(to: folder.appending(path: "refs/main")) }
        return folder
    }

    @Test("a folder of a Hugging Face cache is the snapshot that refs/main names")
    func cache() throws {
        try withTemporaryFolder { root in
            let folder = try cache(in: root, snapshots: [Self.commit, "0abc"], main: Self.commit + "\n")
            let checkpoint = try Checkpoint(directory: folder)
            #expect(checkpoint.directory.lastPathComponent == Self.commit)
            #expect(checkpoint.layout.family == .huggingFace)
        }
        try withTemporaryFolder { root in
            let folder = try cache(in: root, main: nil)
            #expect(try Checkpoint(directory: folder).directory.lastPathComponent == Self.commit)
            let snapshots = folder.appending(path: "snapshots")
            #expect(try Checkpoint(directory: snapshots).directory.lastPathComponent == Self.commit)
        }
    }

    @Test("a cache that leaves the choice open, or is incomplete, says what to name")
    func incompleteCaches() throws {
        try withTemporaryFolder { root in
            let text = message(try cache(in: root, snapshots: ["aa", "bb"], main: nil))
            #expect(text.contains("2 snapshots") && text.contains("snapshots/aa"), "\(text)")
        }
        try withTemporaryFolder { root in
            let text = message(try cache(in: root, main: "dead"))
            #expect(text.contains("dead") && text.contains("snapshots/\(Self.commit)"), "\(text)")
        }
        try withTemporaryFolder { root in
            let text = message(try cache(in: root, complete: false))
            #expect(text.contains("no config.json"), "\(text)")
        }
        try withTemporaryFolder { root in
            let text = message(try cache(in: root, snapshots: [], main: nil))
            #expect(text.contains("no snapshot"), "\(text)")
        }
        for bad in ["", "../../..", "a/b", String(repeating: "a", count: 200)] {
            try withTemporaryFolder { root in
                let text = message(try cache(in: root, main: bad))
                #expect(text.contains("refs/main") && text.contains("commit"), "\(text)")
            }
        }
    }

    @Test("the roots of caches name what is in them")
    func roots() throws {
        try withTemporaryFolder { root in
            _ = try cache(in: root)
            #expect(message(root).contains("models--apple--FastVLM-0.5B"), "\(message(root))")
        }
        try withTemporaryFolder { root in
            let hub = root.appending(path: "hub")
            try FileManager.default.createDirectory(at: hub, withIntermediateDirectories: false)
            #expect(message(root).contains("hub/models--"), "\(message(root))")
        }
        try withTemporaryFolder { root in
            try FileManager.default.copyItem(at: Self.fixture, to: root.appending(path: "unpacked"))
            #expect(message(root).contains("unpacked"), "\(message(root))")
        }
    }

    @Test("a file, an absent folder and a repository's name say what to name instead")
    func names() throws {
        let config = Self.fixture.appending(path: "config.json")
        #expect(message(config).contains("found a file") && message(config).contains(Self.fixture.path))
        let weights = Self.fixture.appending(path: "model.safetensors")
        #expect(message(weights).contains(Self.fixture.path))
        try withTemporaryFolder { folder in
            let gguf = folder.appending(path: "model.gguf")
            try Data([1]).write(to: gguf)
            #expect(message(gguf).contains("GGUF is not supported"))
        }
        #expect(message(URL(filePath: "/nonexistent/model")).contains("no such folder"))
        #expect(message(URL(filePath: "/dev/null")).contains("pipe or device"))
        let repository = message(URL(filePath: "apple/FastVLM-0.5B"))
        #expect(repository.contains("fastvlm pull apple/FastVLM-0.5B"), "\(repository)")
    }

    @Test(
        "a link that leads nowhere is an error that names link and target, also where the file is optional",
        arguments: [
            "config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
            "model.safetensors", "model.safetensors.index.json", "quantize_config.json",
            "adapter_config.json",
        ])
    func brokenLinks(name: String) throws {
        try withTemporaryFolder { folder in
            try TinyCheckpoint.huggingFace().write(to: folder)
            let url = folder.appending(path: name)
            try? FileManager.default.removeItem(at: url)
            try FileManager.default.createSymbolicLink(
                atPath: url.path, withDestinationPath: "../../blobs/0123abcd")
            let error = checkpointError { try Checkpoint(directory: folder) }
            #expect(
                error == .brokenLink(path: url.path, target: "../../blobs/0123abcd"),
                "\(String(describing: error))")
            #expect(error?.description.contains("download the checkpoint again") == true)
        }
    }

    @Test("a link to itself, and a folder or pipe under a file's name, are named too")
    func strange() throws {
        try withTemporaryFolder { folder in
            try TinyCheckpoint.huggingFace().write(to: folder)
            let url = folder.appending(path: "generation_config.json")
            try FileManager.default.createSymbolicLink(
                atPath: url.path, withDestinationPath: "generation_config.json")
            guard case .brokenLink = checkpointError({ try Checkpoint(directory: folder) }) else {
                Issue.record("a loop")
                return
            }
            try FileManager.default.removeItem(at: url)
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
            guard
                case .notARegularFile(url.path, "a folder") = checkpointError({
                    try Checkpoint(directory: folder)
                })
            else {
                Issue.record("a folder")
                return
            }
        }
    }

    @Test("a file that is rewritten in place after it was opened is found; one that is replaced is no matter")
    func changed() throws {
        try withTemporaryFolder { folder in
            try TinyCheckpoint.huggingFace().write(to: folder)
            let url = folder.appending(path: "model.safetensors")
            let checkpoint = try Checkpoint(directory: folder)
            try checkpoint.checkUnchanged()
            // A new file under the old name: the mapping keeps the old one.
            let copy = folder.appending(path: "copy")
            try Data(contentsOf: url).write(to: copy)
            #expect(rename(copy.path, url.path) == 0)
            try checkpoint.checkUnchanged()
            let again = try Checkpoint(directory: folder)
            let handle = try FileHandle(forUpdating: url)
            try handle.seekToEnd()
            try handle.write(contentsOf: Data([0]))
            try handle.close()
            #expect(
                checkpointError { try again.checkUnchanged() }
                    == .changedFile(path: url.resolvingSymlinksInPath().path))
        }
    }
}
