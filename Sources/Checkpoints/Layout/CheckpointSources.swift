internal import Tensors

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The stored tensors of a checkpoint under their source names, and what the names and shapes tell about
/// layout.
struct CheckpointSources {
    /// By source name; see ``SourceNames``.
    let tensors: [String: StoredTensor]
    let order: KernelOrder
    /// mlx-vlm's `vision_model` between tower and network.
    let hasMLXNames: Bool
    /// What a checkpoint with packed weights says about itself.
    let packed: PackedCheckpointMetadata?

    /// - Parameter towerName: of the vision tower, as config.json has it.
    /// - Throws: `CheckpointError.unexpectedTensor` for a name of no layout, `duplicateTensor` for two names of
    ///   one weight, `incompleteCheckpoint` when a whole part of the model is missing.
    init(
        catalog: TensorCatalog, directory: URL, towerName: String? = nil
    ) throws(CheckpointError) {
        try LowRankAdapter.refuseUnmerged(catalog, directory: directory)
        let names = SourceNames(storedNames: catalog.tensors.keys)
        try Self.refuseSecondTower(catalog, names, directory)
        packed = try PackedCheckpointMetadata(catalog)
        var tensors: [String: StoredTensor] = [:]
        var unknown: [StoredTensor] = []
        for stored in catalog.tensors.values {
            let isTower = stored.fileIndex >= catalog.ownFiles
            switch isTower
                ? SeparateVisionTower.meaning(of: stored.name) : names.meaning(of: stored.name)
            {
            case .ignorable: break
            case .unknown: unknown.append(stored)
            case .weight(let name):
                for (name, stored) in try packed?.unfold(name, stored) ?? [(name, stored)] {
                    if let other = tensors.updateValue(stored, forKey: name) {
                        let (first, second) = (min(other.name, stored.name), max(other.name, stored.name))
                        throw .duplicateTensor(tensor: name, first: first, second: second)
                    }
                }
            }
        }
        try Self.checkParts(
            tensors, names: catalog.tensors.keys, directory: directory, towerName: towerName)
        unknown.sort { $0.name < $1.name }
        if let first = unknown.first {
            throw .unexpectedTensor(file: first.file, tensor: first.name, others: unknown.count - 1)
        }
        self.tensors = tensors
        order = try Self.kernelOrder(tensors)
        // Transformers has the same before the names of a vision transformer.
        hasMLXNames =
            !VisionTransformerConfiguration.fits(tensors)
            && catalog.tensors.keys.contains { $0.hasPrefix("vision_tower.vision_model.") }
    }

    private static func refuseSecondTower(
        _ catalog: TensorCatalog, _ names: SourceNames, _ directory: URL
    ) throws(CheckpointError) {
        guard catalog.ownFiles < catalog.files.count else { return }
        for stored in catalog.tensors.values where stored.fileIndex < catalog.ownFiles {
            guard case .weight(let name) = names.meaning(of: stored.name), name.hasPrefix("vision.") else {
                continue
            }
            throw .notACheckpoint(
                path: directory.path, reason: "the checkpoint has a vision tower of its own",
                advice: "leave --tower out")
        }
    }

    private static func checkParts(
        _ tensors: [String: StoredTensor], names: some Sequence<String>, directory: URL, towerName: String?
    ) throws(CheckpointError) {
        func has(_ prefix: String) -> Bool { tensors.keys.contains { $0.hasPrefix(prefix) } }
        func incomplete(_ missing: String, _ advice: String) -> CheckpointError {
            .incompleteCheckpoint(directory: directory.path, missing: missing, advice: advice)
        }
        if !has("vision.") {
            let packages = ((try? FileAccess.names(in: directory)) ?? []).filter {
                $0.hasSuffix(".mlpackage")
            }
            let isExport = !packages.isEmpty || names.contains { $0.contains("linear_0") }
            if !isExport, let towerName, !towerName.lowercased().contains("mobileclip") {
                throw incomplete(
                    "vision tower",
                    "LLaVA's original files leave it out: download \(towerName), the tower that config.json names, and give its "
                        + "folder with --tower")
            }
            throw incomplete(
                "vision tower",
                isExport
                    ? "Apple's exports have it as a CoreML package, which is not read; use the PyTorch checkpoint"
                    : "use a checkpoint with the vision tower inside")
        }
        if !has("decoder.") {
            throw incomplete("language model", "this is an encoder alone; use a whole FastVLM checkpoint")
        }
        if !has("projector.") {
            throw incomplete("projector", "use a whole FastVLM checkpoint")
        }
    }

    /// Depthwise kernels tell the two orders apart: [C, 1, k, k] against [C, k, k, 1] with k > 1. All must
    /// agree.
    private static func kernelOrder(_ tensors: [String: StoredTensor]) throws(CheckpointError) -> KernelOrder
    {
        var votes: [KernelOrder: StoredTensor] = [:]
        for (name, stored) in tensors where name.hasPrefix("vision.") && stored.shape.count == 4 {
            let shape = stored.shape
            if shape[1] == 1, shape[2] == shape[3], shape[2] > 1 {
                votes[.outputInputHeightWidth] = stored
            } else if shape[3] == 1, shape[1] == shape[2], shape[1] > 1 {
                votes[.outputHeightWidthInput] = stored
            }
        }
        if votes[.outputInputHeightWidth] != nil, let turned = votes[.outputHeightWidthInput] {
            throw .unexpectedShape(
                file: turned.file, tensor: turned.name,
                expected: [turned.shape[0], 1, turned.shape[1], turned.shape[2]], got: turned.shape)
        }
        return votes[.outputHeightWidthInput] == nil ? .outputInputHeightWidth : .outputHeightWidthInput
    }
}
