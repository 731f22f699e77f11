package import SystemFiles
package import Tensors

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// Writes a checkpoint whose integer weights need no conversion when they are loaded (``PackedCheckpointMetadata``).
package struct PackedCheckpointWriter {
    private let checkpoint: Checkpoint

    package init(_ checkpoint: Checkpoint) { self.checkpoint = checkpoint }

    /// - Parameters:
    ///   - panels: by canonical name of the matrix, or of the first one of a gated pair
    ///   - changed: other weights that are not written as the checkpoint has them, by canonical name
    ///   - precision: what they were packed for
    ///   - directory: must not exist, or be empty
    /// - Throws: `CheckpointError.output`, after which nothing is left behind.
    package func write(
        _ panels: [String: PackedPanels], changed: [String: Tensor] = [:], precision: Precision,
        to directory: URL
    ) throws(CheckpointError) {
        try write(
            panels, changed: changed, precision: precision, to: folder(directory, precision: precision))
    }

    /// The folder to be written, once everything that can be seen before the weights are packed is found in order:
    /// the place, permissions, and room for as many bytes as the weights need at least.
    /// - Throws: `CheckpointError.output`.
    package func folder(_ directory: URL, precision: Precision) throws(CheckpointError) -> OutputFolder {
        try CheckpointError.wrapping { () throws(OutputError) in
            let folder = try OutputFolder(directory.path, source: checkpoint.directory.path)
            try folder.checkRoom(for: leastBytes(precision))
            return folder
        }
    }

    /// - Parameter errors: what rounding changes, by name; stored beside the panels
    /// - Throws: `CheckpointError.output`; the folder removes what was written when it is let go of.
    package func write(
        _ panels: [String: PackedPanels], changed: [String: Tensor] = [:], precision: Precision,
        errors: [String: Double] = [:], to folder: OutputFolder,
        isCancelled: @escaping () -> Bool = { false }
    ) throws(CheckpointError) {
        try writeFiles(
            panels, changed: changed, precision: precision, errors: errors, to: folder, isCancelled)
        try CheckpointError.wrapping { () throws(OutputError) in try folder.finish() }
    }

    /// What the packed weights take at least: a byte per element of a matrix, half of one in layers of 4 bits, and all
    /// else as it is stored.
    private func leastBytes(_ precision: Precision) -> Int {
        checkpoint.weights.entries.reduce(0) { total, entry in
            let count = entry.value.shape.reduce(1, *)
            let isLayer = entry.key.hasPrefix("decoder.layers.")
            return total + (isLayer && precision == .int4 ? count / 2 : count)
        }
    }

    private func writeFiles(
        _ panels: [String: PackedPanels], changed: [String: Tensor], precision: Precision,
        errors: [String: Double],
        to folder: OutputFolder, _ isCancelled: @escaping () -> Bool
    ) throws(CheckpointError) {
        var metadata: [String: String] = [:]
        var tensors: [(String, Tensor)] = []
        var written: Set<String> = []
        // Panels first: their sizes are multiples of a cache line, so each begins on one.
        for (name, panels) in panels.sorted(by: { $0.key < $1.key }) {
            let layout = panels.layout
            if metadata.isEmpty {
                metadata = PackedCheckpointMetadata.header(precision, layout)
            }
            let source = checkpoint.weights.source(of: name)
            let shape = source?.shape ?? [layout.outputs, layout.inputs]
            var stored = source?.name ?? name
            if layout.isGated { stored = PackedCheckpointMetadata.pairName(gate: stored) }
            stored = PackedCheckpointMetadata.namePrefix + stored
            metadata[stored] = PackedCheckpointMetadata.description(
                layout, shape: shape, error: errors[name])
            let bytes = try CheckpointError.wrapping { () throws(TensorError) in try panels.tensor() }
            tensors.append((stored, bytes))
            written.insert(name)
            if layout.isGated { written.insert(String(name.dropLast("gate.weight".count)) + "up.weight") }
        }
        for name in checkpoint.weights.names where !written.contains(name) {
            for (stored, tensor) in try checkpoint.weights.storable(name, changed: changed[name]) {
                tensors.append((PackedCheckpointMetadata.namePrefix + stored, tensor))
            }
        }
        let bytes = tensors.reduce(0) { $0 + $1.1.byteCount }
        try CheckpointError.wrapping { () throws(OutputError) in try folder.checkRoom(for: bytes) }
        try SafetensorsWriter.write(
            tensors, metadata: metadata, alignment: Storage.alignment, to: "model.safetensors", in: folder,
            isCancelled: isCancelled)
        try copyOtherFiles(to: folder, isCancelled)
    }

    /// Everything but weights: configuration, tokenizer, licence. An adapter in the folder has weights of its own, which
    /// are not part of the model.
    private func copyOtherFiles(
        to folder: OutputFolder, _ isCancelled: @escaping () -> Bool
    ) throws(CheckpointError) {
        let endings = [".json", ".jinja", ".txt", ".model", ".md"]
        let names = try FileAccess.names(in: checkpoint.directory)
        if let tower = checkpoint.towerDirectory {
            try copyTowerFiles(tower, beside: names, to: folder, isCancelled)
        }
        for name in names {
            let isWanted =
                endings.contains { name.hasSuffix($0) } || name.hasPrefix("LICENSE")
                || name.hasPrefix("NOTICE") || name == "ACKNOWLEDGEMENTS"
            guard isWanted, !name.hasSuffix(".index.json"), name != LowRankAdapter.configurationFile else {
                continue
            }
            var bytes = try read(checkpoint.directory.appending(path: name))
            if name == ConfigurationReader.mainFile { bytes = withTower(bytes) }
            try write(bytes, name, to: folder, isCancelled)
        }
    }

    /// What the tower's folder says about images, where the checkpoint's own says nothing.
    private func copyTowerFiles(
        _ tower: URL, beside names: [String], to folder: OutputFolder, _ isCancelled: @escaping () -> Bool
    ) throws(CheckpointError) {
        guard !names.contains(where: ConfigurationFiles.processorFiles.contains) else { return }
        for name in ConfigurationFiles.processorFiles {
            let url = tower.appending(path: name)
            if try FileAccess.isPresent(url) { try write(read(url), name, to: folder, isCancelled) }
        }
    }

    /// config.json with the values of a vision tower that had a folder of its own: it is a part of the checkpoint now.
    private func withTower(_ bytes: [UInt8]) -> [UInt8] {
        guard checkpoint.towerDirectory != nil,
            case .visionTransformer(let vision) = checkpoint.configuration.vision,
            let brace = bytes.firstIndex(of: UInt8(ascii: "{"))
        else { return bytes }
        let member = "\"vision_config\": \(vision.configurationText), "
        return Array(bytes[...brace]) + Array(member.utf8) + Array(bytes[(brace + 1)...])
    }

    private func read(_ url: URL) throws(CheckpointError) -> [UInt8] {
        do {
            return try BoundedFile.read(url.path, limit: 1 << 30)
        } catch {
            throw .unreadableFile(path: url.path, reason: error.reason)
        }
    }

    private func write(
        _ bytes: [UInt8], _ name: String, to folder: OutputFolder, _ isCancelled: @escaping () -> Bool
    ) throws(CheckpointError) {
        try CheckpointError.wrapping { () throws(OutputError) in
            try folder.write(name, isCancelled: isCancelled) { (writer) throws(OutputError) in
                try writer.write(bytes)
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
    /// - Parameter changed: values to store in place of the checkpoint's
    func storable(_ name: String, changed: Tensor? = nil) throws(CheckpointError) -> [(String, Tensor)] {
        guard let entry = entries[name], let source = source(of: name) else { return [] }
        if case .dequantized(let matrix) = entry.recipe {
            let module = source.name.dropLast("weight".count)
            return [
                (source.name, try catalog.tensor(matrix.packed)),
                ("\(module)scales", try catalog.tensor(matrix.scales)),
                ("\(module)biases", try catalog.tensor(matrix.biases)),
            ]
        }
        let tensor = if let changed { changed } else { try self.tensor(name, shape: entry.shape) }
        let reshaped = try CheckpointError.wrapping { () throws(TensorError) in
            try tensor.reshaped(source.shape)
        }
        return [(source.name, reshaped)]
    }
}
