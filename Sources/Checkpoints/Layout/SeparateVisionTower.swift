#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// A vision tower in a folder of its own, for checkpoints of LLaVA's original programs: LLaVA-1.5's files leave it out and
/// name the CLIP model that it comes from.
///
/// The folder is one of transformers' CLIP or SigLIP, whole (`text_model` is passed over) or the vision model alone.
struct SeparateVisionTower {
    let directory: URL
    /// The tower's values: `vision_config`, or the whole of its config.json.
    let section: ConfigurationReader
    /// Its image processor's values.
    let processor: ConfigurationReader?

    /// - Parameter folder: as for a checkpoint, the snapshot of a Hugging Face cache among them.
    /// - Throws: `CheckpointError` for a folder that holds something else.
    init(directory folder: URL) throws(CheckpointError) {
        directory = try CheckpointFolder.resolve(folder)
        let name = "\(directory.lastPathComponent)/\(ConfigurationReader.mainFile)"
        let root = try ConfigurationReader(
            FileAccess.json(directory.appending(path: ConfigurationReader.mainFile)), file: name)
        let whole = ["clip", "siglip"], alone = ["clip_vision_model", "siglip_vision_model"]
        let kind = try root.string("model_type") ?? "nothing"
        if whole.contains(kind) {
            guard let section = try root.section("vision_config") else {
                throw root.invalid("vision_config", expected: "an object", got: "nothing")
            }
            self.section = section
        } else if alone.contains(kind) {
            section = root
        } else {
            throw root.unsupported(
                "model_type", expected: (whole + alone).joined(separator: ", ") + " for a vision tower",
                got: kind)
        }
        processor = try ConfigurationFiles.processors(directory).used
    }

    /// What a stored name of the tower's files means.
    static func meaning(of name: String) -> SourceNames.Meaning {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false)
        // The other half of CLIP and SigLIP, and what compares the two.
        let others: Set<Substring> = [
            "text_model", "text_projection", "visual_projection", "logit_scale", "logit_bias",
        ]
        if let first = parts.first, others.contains(first) { return .ignorable }
        if parts.first == "vision_model" { parts.removeFirst() }
        parts.removeAll { $0 == "layers" }
        guard !parts.isEmpty else { return .unknown }
        if SourceNames.isIgnorableTransformerPart(parts) { return .ignorable }
        return SourceNames.transformerName(parts).map { .weight("vision." + $0) } ?? .unknown
    }

    /// Checks that it is the tower that config.json names, as far as the name tells.
    /// - Parameter root: of the checkpoint
    func check(_ vision: VisionConfiguration, against root: ConfigurationReader) throws(CheckpointError) {
        if root.has("vision_config") {
            throw root.unsupported(
                "vision_config", expected: "no such key beside a vision tower of its own folder", got: "one")
        }
        guard case .visionTransformer(let tower) = vision, let name = try root.string("mm_vision_tower"),
            let side = name.split(separator: "-").last.flatMap({ Int($0) }), side != tower.imageSide
        else { return }
        throw root.contradiction(
            "mm_vision_tower", configuration: name,
            tensors: "the tower in \(directory.lastPathComponent) takes images of \(tower.imageSide)")
    }
}

extension VisionTransformerConfiguration {
    /// What config.json says of a tower, for a checkpoint that stores it beside a configuration that does not.
    var configurationText: String {
        let values: [(String, String)] = [
            ("model_type", hasClassToken ? "\"clip_vision_model\"" : "\"siglip_vision_model\""),
            ("hidden_size", "\(width)"), ("intermediate_size", "\(hidden)"),
            ("num_hidden_layers", "\(storedLayers)"), ("num_attention_heads", "\(heads)"),
            ("image_size", "\(imageSide)"), ("patch_size", "\(patchSide)"),
            ("hidden_act", "\"\(activation.rawValue)\""), ("layer_norm_eps", "\(layerNormEpsilon)"),
        ]
        return "{" + values.map { "\"\($0)\": \($1)" }.joined(separator: ", ") + "}"
    }
}
