package import Foundation
package import Tensors

/// Writes a checkpoint whose integer weights need no conversion when they are loaded (``PackedForm``).
package struct PackedCheckpointWriter {
    private let checkpoint: Checkpoint

    package init(_ checkpoint: Checkpoint) { self.checkpoint = checkpoint }

    /// - Parameters:
    ///   - panels: by canonical name of the matrix, or of the first one of a gated pair
    ///   - precision: what they were packed for
    ///   - directory: must not exist, or be empty
    /// - Throws: `CheckpointError.unwritableFile`, after which nothing is left behind.
    package func write(
        _ panels: [String: StoredPanels], precision: Precision, to directory: URL
    ) throws(CheckpointError) {
        let isNew = try prepare(directory)
        do {
            try writeFiles(panels, precision: precision, to: directory)
        } catch {
            for name in (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? [] {
                try? FileManager.default.removeItem(at: directory.appending(path: name))
            }
            if isNew { try? FileManager.default.removeItem(at: directory) }
            throw error
        }
    }

    /// Says what `write` would find wrong with a folder, before the work is done.
    package static func checkTarget(_ directory: URL) throws(CheckpointError) {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: directory.path) else { return }
        guard names.isEmpty else {
            throw .unwritableFile(path: directory.path, reason: "the folder is not empty")
        }
    }

    /// - Returns: whether the folder had to be made.
    private func prepare(_ directory: URL) throws(CheckpointError) -> Bool {
        try Self.checkTarget(directory)
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: directory.path, isDirectory: &isFolder), isFolder.boolValue
        {
            return false
        }
        do {
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        } catch {
            throw .unwritableFile(path: directory.path, reason: FileAccess.reason(error))
        }
        return true
    }

    private func writeFiles(
        _ panels: [String: StoredPanels], precision: Precision, to directory: URL
    ) throws(CheckpointError) {
        var metadata: [String: String] = [:]
        var tensors: [(String, Tensor)] = []
        var written: Set<String> = []
        // Panels first: their sizes are multiples of a cache line, so each begins on one.
        for (name, panels) in panels.sorted(by: { $0.key < $1.key }) {
            let layout = panels.layout
            if metadata.isEmpty {
                metadata = PackedForm.header(precision, layout)
            }
            let source = checkpoint.weights.source(of: name)
            let shape = source?.shape ?? [layout.outputs, layout.inputs]
            var stored = source?.name ?? name
            if layout.isGated { stored = PackedForm.pairName(gate: stored) }
            stored = PackedForm.namePrefix + stored
            metadata[stored] = PackedForm.description(layout, shape: shape)
            let bytes = try CheckpointError.wrapping { () throws(TensorError) in try panels.tensor() }
            tensors.append((stored, bytes))
            written.insert(name)
            if layout.isGated { written.insert(String(name.dropLast("gate.weight".count)) + "up.weight") }
        }
        for name in checkpoint.weights.names where !written.contains(name) {
            for (stored, tensor) in try checkpoint.weights.storable(name) {
                tensors.append((PackedForm.namePrefix + stored, tensor))
            }
        }
        try SafetensorsWriter.write(
            tensors, metadata: metadata, alignment: Storage.alignment,
            to: directory.appending(path: "model.safetensors"))
        try copyOtherFiles(to: directory)
    }

    /// Everything but weights: configuration, tokenizer, licence.
    private func copyOtherFiles(to directory: URL) throws(CheckpointError) {
        let endings = [".json", ".jinja", ".txt", ".model", ".md"]
        for name in try FileAccess.names(in: checkpoint.directory) {
            let isWanted =
                endings.contains { name.hasSuffix($0) } || name.hasPrefix("LICENSE")
                || name.hasPrefix("NOTICE") || name == "ACKNOWLEDGEMENTS"
            guard isWanted, !name.hasSuffix(".index.json") else { continue }
            let target = directory.appending(path: name)
            do {
                try FileManager.default.copyItem(
                    at: checkpoint.directory.appending(path: name).resolvingSymlinksInPath(), to: target)
            } catch {
                throw .unwritableFile(path: target.path, reason: FileAccess.reason(error))
            }
        }
    }
}

extension CanonicalWeights {
    /// Under which source name and shape a weight is stored once it is folded; nil for a name that is none.
    func source(of name: String) -> Entry.Source? {
        entries[name].map { $0.source ?? .init(name, $0.shape) }
    }

    /// What has to be stored for a weight: its values, or the three tensors of an affine quantisation.
    func storable(_ name: String) throws(CheckpointError) -> [(String, Tensor)] {
        guard let entry = entries[name], let source = source(of: name) else { return [] }
        if case .dequantized(let matrix) = entry.recipe {
            let module = source.name.dropLast("weight".count)
            return [
                (source.name, try catalog.tensor(matrix.packed)),
                ("\(module)scales", try catalog.tensor(matrix.scales)),
                ("\(module)biases", try catalog.tensor(matrix.biases)),
            ]
        }
        let tensor = try tensor(name, shape: entry.shape)
        let reshaped = try CheckpointError.wrapping { () throws(TensorError) in
            try tensor.reshaped(source.shape)
        }
        return [(source.name, reshaped)]
    }
}
