internal import CheckpointFiles
internal import StrictJSON

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Which safetensors files of a folder are the model's: the shards named by `*.safetensors.index.json` where there is
/// one, else the only safetensors file, else a complete set named `…-00001-of-00004.safetensors`, else
/// `model.safetensors`.
struct SafetensorsSelection {
    /// File names, without folder, sorted.
    let names: [String]
    /// What is there beside them.
    let remarks: [CheckpointRemark]
    /// The index with its name, from tensor to file.
    private let index: (name: String, map: [String: String])?

    /// - Throws: `CheckpointError` when there are no such files, or more than one choice of them.
    init(directory: URL) throws(CheckpointError) {
        let present = try FileAccess.names(in: directory)
        let weights = present.filter {
            $0.hasSuffix(".safetensors") && !$0.hasPrefix(".") && $0 != LowRankAdapter.weightsFile
        }
        if let name = try Self.index(among: present, directory: directory) {
            let map = try Self.weightMap(directory.appending(path: name))
            let selected = Set(map.values)
            index = (name, map)
            names = selected.sorted()
            remarks = weights.filter { !selected.contains($0) }
                .map { .notice("\($0) is not named by \(name) and is not read") }
        } else {
            let selected = try Self.unindexed(weights, among: present, directory: directory)
            index = nil
            names = selected
            remarks = weights.filter { !selected.contains($0) }
                .map { .notice("\($0) is beside \(selected[0]) and is not read") }
        }
    }

    /// Checks that every tensor is in the shard that the index names.
    /// - Parameters:
    ///   - tensors: of all files, by name
    ///   - prefix: before the names of files there
    /// - Throws: `CheckpointError.invalidIndex`.
    func check(
        against tensors: [String: StoredTensor], prefix: String = ""
    ) throws(CheckpointError) {
        guard let (index, map) = index else { return }
        for (name, file) in map.sorted(by: { $0.key < $1.key }) where tensors[name]?.file != prefix + file {
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

    static func weightMap(_ url: URL) throws(CheckpointError) -> [String: String] {
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
}
