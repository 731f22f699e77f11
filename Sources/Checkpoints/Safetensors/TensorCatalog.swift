internal import CheckpointFiles
package import Foundation
internal import StrictJSON
package import Tensors

/// Every tensor of a checkpoint folder, from one file or many, by stored name. Headers only.
package struct TensorCatalog: Sendable {
    package let files: [SafetensorsFile]
    /// By stored name.
    package let tensors: [String: StoredTensor]
    /// Things worth telling that are no errors.
    package let remarks: [CheckpointRemark]

    /// Total bytes of the files.
    package var byteCount: Int { files.reduce(0) { $0 + $1.storage.count } }

    /// Opens the weights of a folder: the shards named by `*.safetensors.index.json` where there is one, else
    /// the only safetensors file, else a complete set named `…-00001-of-00004.safetensors`, else
    /// `model.safetensors`.
    /// - Throws: `CheckpointError` when there are no such files, or they contradict the index or one another.
    package init(directory: URL) throws(CheckpointError) {
        let names = try FileAccess.names(in: directory)
        let weights = names.filter {
            $0.hasSuffix(".safetensors") && !$0.hasPrefix(".") && $0 != LowRankAdapter.weightsFile
        }
        var remarks: [CheckpointRemark] = []
        var weightMap: [String: String]?
        let selected: [String]
        var indexName = ""
        if let index = try Self.index(among: names, directory: directory) {
            let map = try Self.weightMap(directory.appending(path: index))
            selected = Set(map.values).sorted()
            weightMap = map
            indexName = index
            for name in weights where !selected.contains(name) {
                remarks.append(.notice("\(name) is not named by \(index) and is not read"))
            }
        } else {
            selected = try Self.unindexed(weights, among: names, directory: directory)
            for name in weights where !selected.contains(name) {
                remarks.append(.notice("\(name) is beside \(selected[0]) and is not read"))
            }
        }
        var files: [SafetensorsFile] = []
        for (index, name) in selected.enumerated() {
            files.append(try SafetensorsFile(contentsOf: directory.appending(path: name), index: index))
        }
        self.files = files
        tensors = try Self.merge(files)
        if let weightMap { try Self.check(weightMap, of: indexName, against: tensors) }
        self.remarks = remarks
    }

    /// A zero-copy view of a stored tensor.
    package func tensor(_ stored: StoredTensor) throws(CheckpointError) -> Tensor {
        try files[stored.fileIndex].tensor(stored)
    }

    /// The bytes of a stored tensor. Valid while the catalog's files live.
    package func bytes(of stored: StoredTensor) -> UnsafeRawBufferPointer {
        files[stored.fileIndex].bytes(of: stored)
    }

    /// Checks that nobody wrote into the files since they were opened.
    /// - Throws: `CheckpointError.changedFile`.
    package func checkUnchanged() throws(CheckpointError) {
        for file in files { try file.checkUnchanged() }
    }

    // MARK: Which files

    private static func index(among names: [String], directory: URL) throws(CheckpointError) -> String? {
        let indexes = names.filter { $0.hasSuffix(".safetensors.index.json") && !$0.hasPrefix(".") }
        if indexes.contains("model.safetensors.index.json") { return "model.safetensors.index.json" }
        guard indexes.count <= 1 else { throw .ambiguousWeights(directory: directory.path, found: indexes) }
        return indexes.first
    }

    private static func unindexed(
        _ weights: [String], among names: [String], directory: URL
    ) throws(CheckpointError) -> [String] {
        if weights.count == 1 || isCompleteSet(weights) { return weights }
        // The name that every writer of this layout uses; other files beside it are something else.
        if weights.contains("model.safetensors") { return ["model.safetensors"] }
        guard weights.isEmpty else { throw .ambiguousWeights(directory: directory.path, found: weights) }
        let foreign = ForeignWeights.among(names)
        guard foreign.isEmpty else {
            throw .unsupportedWeightsFormat(directory: directory.path, found: foreign)
        }
        throw .missingFile(path: directory.path, expected: "*.safetensors")
    }

    /// True for `NAME-00001-of-0000N.safetensors` … with every number up to N.
    private static func isCompleteSet(_ names: [String]) -> Bool {
        guard let first = names.first, let total = shard(first)?.total, total == names.count else {
            return false
        }
        let shards = names.map(shard)
        let stem = shard(first)?.stem
        return shards.allSatisfy { $0?.stem == stem && $0?.total == total }
            && Set(shards.map { $0?.number }) == Set((1...total).map { Optional($0) })
    }

    private static func shard(_ name: String) -> (stem: Substring, number: Int, total: Int)? {
        let parts = name.dropLast(".safetensors".count).split(
            separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[parts.count - 2] == "of",
            let number = Int(parts[parts.count - 3]), let total = Int(parts[parts.count - 1]),
            total > 0, total <= 10_000
        else { return nil }
        let stem = name.dropLast(
            ".safetensors".count + parts.suffix(3).reduce(3) { $0 + $1.count })
        return (stem, number, total)
    }

    // MARK: Index and shards

    private static func weightMap(_ url: URL) throws(CheckpointError) -> [String: String] {
        let file = url.lastPathComponent
        let document = try FileAccess.json(url)
        guard let entries = document["weight_map"]?.object, !entries.isEmpty else {
            throw .invalidIndex(
                file: file, entry: "weight_map", expected: "an object from tensor to file",
                got: document["weight_map"]?.summary ?? "nothing")
        }
        var map: [String: String] = [:]
        for entry in entries.members {
            guard let name = entry.value.string, isPlainName(name) else {
                throw .invalidIndex(
                    file: file, entry: entry.key,
                    expected: "the plain name of a .safetensors file in this folder",
                    got: entry.value.summary)
            }
            guard map.updateValue(name, forKey: entry.key) == nil else {
                throw .invalidIndex(
                    file: file, entry: entry.key, expected: "one name", got: "canonically equivalent ones")
            }
        }
        return map
    }

    /// No separators, no parent folders, nothing hidden: an index can only name files beside it.
    private static func isPlainName(_ name: String) -> Bool {
        name.hasSuffix(".safetensors") && !name.hasPrefix(".")
            && name.unicodeScalars.allSatisfy {
                $0 != "/" && $0 != "\\" && $0.value >= 0x20 && $0.value != 0x7F
            }
    }

    private static func merge(_ files: [SafetensorsFile]) throws(CheckpointError) -> [String: StoredTensor] {
        var tensors: [String: StoredTensor] = [:]
        for file in files {
            for tensor in file.tensors {
                if let other = tensors.updateValue(tensor, forKey: tensor.name) {
                    throw .duplicateTensor(
                        tensor: "tensor \(tensor.name)", first: "a part of \(other.file)",
                        second: "one of \(tensor.file)")
                }
            }
        }
        return tensors
    }

    private static func check(
        _ map: [String: String], of index: String, against tensors: [String: StoredTensor]
    ) throws(CheckpointError) {
        for (name, file) in map.sorted(by: { $0.key < $1.key }) where tensors[name]?.file != file {
            throw .invalidIndex(
                file: index, entry: name, expected: "in \(file)",
                got: tensors[name].map { "in \($0.file)" } ?? "in no shard")
        }
        for name in tensors.keys.sorted() where map[name] == nil {
            throw .invalidIndex(
                file: index, entry: name,
                expected: "an entry, as \(tensors[name]?.file ?? "a shard") holds it",
                got: "none")
        }
    }
}
