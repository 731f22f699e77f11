import CheckpointFiles
import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("A file that is something else is named for what it is, with what helps")
struct ForeignContentTests {
    struct Kind: Sendable, CustomTestStringConvertible {
        let name: String
        let bytes: Data
        /// In the message: what it is, and what helps.
        let words: [String]
        var testDescription: String { name }
    }

    static let kinds: [Kind] = [
        Kind(name: "empty", bytes: Data(), words: ["empty", "fetch the file again"]),
        Kind(name: "zeros", bytes: Data(count: 100_000), words: ["zero bytes", "fetch the file again"]),
        Kind(
            name: "Git LFS pointer",
            bytes: Data(
                "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1517000000\n".utf8),
            words: ["Git LFS pointer", "1517000000 bytes", "git lfs pull"]),
        Kind(
            name: "web page", bytes: Data("<!DOCTYPE html>\n<html><head><title>x</title>".utf8),
            words: ["web page", "resolve"]),
        Kind(
            name: "page after spaces and a byte order mark",
            bytes: Data([0xEF, 0xBB, 0xBF]) + Data("\r\n <HTML lang=\"en\">".utf8), words: ["web page"]),
        Kind(
            name: "XML of an object store",
            bytes: Data("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>".utf8),
            words: ["XML", "error"]),
        Kind(
            name: "JSON error of a hub",
            bytes: Data("{\"error\": \"Access to model apple/FastVLM-0.5B is restricted.\"}".utf8),
            words: ["Access to model apple/FastVLM-0.5B is restricted", "log in"]),
        Kind(
            name: "nested JSON error",
            bytes: Data("{\"error\":{\"code\":404,\"message\":\"no such revision\"}}".utf8),
            words: ["no such revision"]),
        Kind(
            name: "words of a server", bytes: Data("Entry not found".utf8), words: ["\"Entry not found\""]),
        Kind(
            name: "words with a number", bytes: Data("404: Not Found\n".utf8), words: ["404: Not Found"]),
        Kind(
            name: "zip", bytes: Data([0x50, 0x4B, 3, 4, 20, 0, 0, 0]) + Data("model/data.pkl".utf8),
            words: ["zip archive", "unpack"]),
        Kind(
            name: "pickle", bytes: Data([0x80, 2, 0x7D, 0x71, 0]) + Data("weights".utf8),
            words: ["pickle", "safetensors"]),
        Kind(
            name: "GGUF", bytes: Data("GGUF".utf8) + Data([3, 0, 0, 0, 1]), words: ["GGUF", "not supported"]),
        Kind(name: "gzip", bytes: Data([0x1F, 0x8B, 8, 0, 0]), words: ["gzip", "unpack"]),
        Kind(
            name: "HDF5", bytes: Data([0x89, 0x48, 0x44, 0x46, 0x0D, 0x0A, 0x1A, 0x0A]),
            words: ["HDF5", "safetensors"]),
        Kind(
            name: "NumPy", bytes: Data([0x93]) + Data("NUMPY".utf8) + Data([1, 0]), words: ["NumPy"]),
        Kind(
            name: "UTF-16", bytes: Data([0xFF, 0xFE, 0x7B, 0, 0x7D, 0]), words: ["UTF-16", "UTF-8"]),
    ]

    /// Every file of a folder that is read, and how a folder is made that reads it.
    static let roles = [
        "config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
        "model.safetensors", "model.safetensors.index.json",
    ]

    @Test("in whatever place it is", arguments: roles, kinds)
    func places(role: String, kind: Kind) throws {
        try withTemporaryFolder { folder in
            try TinyCheckpoint.huggingFace().write(to: folder)
            let url = folder.appending(path: role)
            try kind.bytes.write(to: url)
            let error = try #require(checkpointError { try Checkpoint(directory: folder) }, "accepted")
            guard case .foreignContent(let path, _, _) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(path == url.path)
            for word in kind.words { #expect(error.description.contains(word), "\(error)") }
            // Once, at the beginning.
            #expect(error.description.components(separatedBy: url.path).count == 2)
        }
    }

    @Test("also a shard that an index names", arguments: kinds)
    func shard(kind: Kind) throws {
        try withTemporaryFolder { folder in
            try TinyCheckpoint(config: TinyCheckpoint.appleConfig).writeConfig(to: folder)
            let shard = "model-00001-of-00001.safetensors"
            try JSONSerialization.data(withJSONObject: ["weight_map": ["a": shard]])
                .write(to: folder.appending(path: "model.safetensors.index.json"))
            try kind.bytes.write(to: folder.appending(path: shard))
            guard case .foreignContent = checkpointError({ try Checkpoint(directory: folder) }) else {
                Issue.record("\(kind.name)")
                return
            }
        }
    }

    @Test("and no file of a real checkpoint is taken for one")
    func real() throws {
        let enumerator = try #require(
            FileManager.default.enumerator(at: Fixture.root, includingPropertiesForKeys: nil))
        var count = 0
        for case let url as URL in enumerator {
            let expected: ForeignContent.Expected
            switch url.pathExtension {
            case "json": expected = .json
            case "safetensors": expected = .safetensors
            case "txt": expected = .text
            default: continue
            }
            let data = try Data(contentsOf: url)
            let found = data.withUnsafeBytes { ForeignContent($0, expected: expected) }
            #expect(found == nil, "\(url.lastPathComponent): \(String(describing: found))")
            count += 1
        }
        #expect(count > 40)
        for text in [
            "{}", "[]", "null", "3", "true", "\"a b\"", "{\"error\": null}", " {\"a\": 1}", "{\"size\": 64,}",
        ] {
            #expect(Data(text.utf8).withUnsafeBytes { ForeignContent($0, expected: .json) } == nil, "\(text)")
        }
        // A vocabulary may have a token of that name.
        let vocabulary =
            "{" + (0..<20).map { "\"t\($0)\": \($0)" }.joined(separator: ",") + ",\"error\": \"x\"}"
        #expect(Data(vocabulary.utf8).withUnsafeBytes { ForeignContent($0, expected: .json) } == nil)
    }

    @Test(
        "merges and vocabularies of odd tokens are text",
        arguments: ["< |", "<s >\n< /s", "Entry not", "a b\n", "{ }"])
    func merges(text: String) {
        #expect(Data(text.utf8).withUnsafeBytes { ForeignContent($0, expected: .text) } == nil)
    }

    @Test(
        "a header whose length begins like a signature is still a header",
        arguments: [
            [0x80, 0x02, 0x01, 0], [0x1F, 0x8B, 0, 0], [0x50, 0x4B, 0x03, 0x04], [0xFF, 0xFE, 0, 0],
            [0x47, 0x47, 0x55, 0x46], [0x3C, 0x68, 0x74, 0x6D], [0, 0, 0, 0],
        ] as [[UInt8]])
    func lengths(first: [UInt8]) {
        let data = Data(first) + Data(count: 4) + Data("{\"__metadata__\":{}}".utf8)
        #expect(data.withUnsafeBytes { ForeignContent($0, expected: .safetensors) } == nil)
    }

    @Test(
        "weights in other formats alone: what to do with each",
        arguments: [
            ("pytorch_model.bin", "save_pretrained"), ("pytorch_model-00001-of-00002.bin", "save_pretrained"),
            ("model.pt", "save_pretrained"), ("consolidated.00.pth", "save_pretrained"),
            ("FastVLM-Q4_K_M.gguf", "GGUF is not supported"), ("model.onnx", "safetensors"),
            ("tf_model.h5", "safetensors"),
        ])
    func otherFormats(name: String, advice: String) throws {
        for hasConfiguration in [true, false] {
            try withTemporaryFolder { folder in
                if hasConfiguration {
                    try TinyCheckpoint(config: TinyCheckpoint.appleConfig).writeConfig(to: folder)
                }
                try Data([1]).write(to: folder.appending(path: name))
                let error = checkpointError { try Checkpoint(directory: folder) }
                guard case .unsupportedWeightsFormat(_, [name])? = error else {
                    Issue.record("\(name): \(String(describing: error))")
                    return
                }
                #expect(error?.description.contains(advice) == true, "\(String(describing: error))")
            }
        }
    }
}
