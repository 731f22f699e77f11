import Foundation
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

/// Layouts know names and shapes: whichever file format these come from, the same checkpoint is found.
@Suite("A file format of another kind")
struct TensorStoreTests {
    /// Tensors one after another in memory, the first at an odd place.
    private struct MemoryStore: TensorStore {
        let name: String
        let storage: Storage
        let tensors: [StoredTensor]
        let metadata: [String: String] = [:]

        init(_ name: String, _ values: [(String, Tensor)], index: Int) throws {
            self.name = name
            storage = try Storage(byteCount: values.reduce(1) { $0 + $1.1.byteCount })
            var offset = 1
            var found: [StoredTensor] = []
            for (tensorName, tensor) in values {
                UnsafeMutableRawBufferPointer(rebasing: storage.mutableBytes[offset...])
                    .copyMemory(from: tensor.bytes)
                found.append(
                    StoredTensor(
                        name: tensorName, file: name, fileIndex: index, dataType: tensor.dataType,
                        shape: tensor.shape, byteOffset: offset, byteCount: tensor.byteCount))
                offset += tensor.byteCount
            }
            tensors = found
        }

        func checkUnchanged() throws(CheckpointError) { throw .changedFile(path: name) }
    }

    @Test("the tensors of two stores are found under their names, with the tower that they make")
    func catalog() throws {
        let tiny = try TinyCheckpoint.apple()
        let values = tiny.tensors.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        let half = values.count / 2
        let catalog = try TensorCatalog(files: [
            MemoryStore("one", Array(values[..<half]), index: 0),
            MemoryStore("two", Array(values[half...]), index: 1),
        ])
        #expect(catalog.tensors.count == values.count)
        for (name, tensor) in values {
            let stored = try #require(catalog.tensors[name])
            let got = try catalog.tensor(stored)
            #expect(got.shape == tensor.shape && got.dataType == tensor.dataType)
            #expect(Array(got.bytes) == Array(tensor.bytes), "\(name)")
        }
        try withTemporaryFolder { folder in
            let sources = try CheckpointSources(catalog: catalog, directory: folder)
            try tiny.writeConfig(to: folder)
            let vision = try VisionConfiguration(
                sources: sources.tensors, order: sources.order,
                files: ConfigurationFiles(directory: folder), location: "memory")
            #expect(try vision == tiny.open().configuration.vision)
        }
        #expect(checkpointError { try catalog.checkUnchanged() } != nil)
    }

    @Test("one name in two stores is an error that names both")
    func duplicates() throws {
        let tensor = try Tensor([1, 2], shape: [2])
        let error = checkpointError {
            try TensorCatalog(files: [
                MemoryStore("one", [("a", tensor)], index: 0), MemoryStore("two", [("a", tensor)], index: 1),
            ])
        }
        let text = "\(String(describing: error?.description))"
        #expect(text.contains("one") && text.contains("two"))
    }
}
