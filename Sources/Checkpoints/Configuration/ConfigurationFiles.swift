internal import Foundation
internal import StrictJSON

/// The small files beside the weights that say how to use them.
struct ConfigurationFiles {
    /// config.json.
    let root: ConfigurationReader
    /// The decoder's values: `text_config` where there is one (with the root behind it), else the root.
    let text: ConfigurationReader
    let modelType: String
    /// The image processor's values, from preprocessor_config.json or processor_config.json.
    let processor: ConfigurationReader?
    /// generation_config.json.
    let generation: ConfigurationReader?

    /// The `model_type`s of FastVLM's layouts, with the decoder each implies where nothing names one.
    static let decoderKinds = [
        "llava_qwen2": "qwen2", "llava_llama": "llama", "llava": "llama", "fast_vlm": "qwen2",
        "fastvlm": "qwen2",
    ]

    init(directory: URL) throws(CheckpointError) {
        let url = directory.appending(path: ConfigurationReader.mainFile)
        guard FileManager.default.fileExists(atPath: url.path) else {
            throw .missingFile(path: url.path, expected: "config.json")
        }
        root = try ConfigurationReader(FileAccess.json(url), file: ConfigurationReader.mainFile)
        guard let modelType = try root.string("model_type") else {
            throw root.invalid("model_type", expected: "a string", got: "nothing")
        }
        guard Self.decoderKinds[modelType] != nil else {
            throw root.unsupported(
                "model_type", expected: Self.decoderKinds.keys.sorted().joined(separator: ", "),
                got: modelType)
        }
        self.modelType = modelType
        if let nested = try root.section("text_config", fallingBackHere: true), !nested.isEmpty {
            text = nested
        } else {
            text = root
        }
        processor = try Self.processor(directory)
        let name = "generation_config.json"
        generation = try FileAccess.jsonIfPresent(directory.appending(path: name)).map {
            (document) throws(CheckpointError) in try ConfigurationReader(document, file: name)
        }
        try refuseUnsupported()
    }

    /// The decoder's kind where `text_config` has no `model_type` of a decoder.
    var decoderKind: String { Self.decoderKinds[modelType] ?? modelType }

    private static func processor(_ directory: URL) throws(CheckpointError) -> ConfigurationReader? {
        for name in ["preprocessor_config.json", "processor_config.json"] {
            guard let document = try FileAccess.jsonIfPresent(directory.appending(path: name)) else {
                continue
            }
            let reader = try ConfigurationReader(document, file: name)
            if let nested = try reader.section("image_processor") { return nested }
            if name == "preprocessor_config.json" { return reader }
        }
        return nil
    }

    /// Values that would need another tower, projector or way of splicing.
    private func refuseUnsupported() throws(CheckpointError) {
        if let tower = try root.string("mm_vision_tower"), !tower.lowercased().contains("mobileclip") {
            throw root.unsupported(
                "mm_vision_tower", expected: "a FastViTHD tower (mobileclip_…)", got: tower)
        }
        try root.require("mm_projector_type", isOneOf: ["mlp2x_gelu"])
        try root.require("mm_patch_merge_type", isOneOf: ["flat"])
        try root.require("mm_use_im_start_end", is: .bool(false))
        try root.require("s2", is: .bool(false))
        try root.require("projector_hidden_act", isOneOf: ["gelu"])
        try root.require("multimodal_projector_bias", is: .bool(true))
        try root.require("vision_feature_select_strategy", isOneOf: ["full"])
        try root.require("vision_feature_layer", is: .integer(-1))
        guard let vision = try root.section("vision_config") else { return }
        if let kind = try vision.string("model_type"), kind.contains("clip_vision") || kind.contains("siglip")
        {
            throw vision.unsupported("model_type", expected: "a FastViTHD tower", got: kind)
        }
        // The other members of the family have no activation between the two downsampling convolutions.
        try vision.require("architecture", isOneOf: ["fastvit_mci3", "fastvit_mci4"])
    }
}
