internal import StrictJSON

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The small files beside the weights that say how to use them.
struct ConfigurationFiles {
    /// config.json.
    let root: ConfigurationReader
    /// The decoder's values: `text_config` where there is one, else the root. Transformers' own layouts never look at
    /// the root then; in MLX's and Apple's the root is behind it.
    let text: ConfigurationReader
    /// Whether `text` is a section of its own.
    let hasTextSection: Bool
    let modelType: String
    /// The image processor's values: `image_processor` of processor_config.json, else preprocessor_config.json.
    let processor: ConfigurationReader?
    /// The other one where both are there; nothing reads it but the comparison.
    let otherProcessor: ConfigurationReader?
    /// generation_config.json.
    let generation: ConfigurationReader?
    /// The vision tower's values, where a file has them.
    let vision: ConfigurationReader?

    /// The `model_type`s of the layouts that are read, with the decoder each implies where nothing names one.
    static let decoderKinds = [
        "llava_qwen2": "qwen2", "llava_llama": "llama", "llava": "llama", "fast_vlm": "qwen2",
        "fastvlm": "qwen2", "llava_onevision": "qwen2", "llava_next": "llama", "llava_mistral": "mistral",
    ]

    /// Those that are classes of transformers.
    private static let ownKinds: Set<String> = ["fast_vlm", "llava", "llava_next", "llava_onevision"]

    /// - Parameter tower: a vision tower of another folder; its image processor counts where this folder has none.
    init(directory: URL, tower: SeparateVisionTower? = nil) throws(CheckpointError) {
        let url = directory.appending(path: ConfigurationReader.mainFile)
        root = try ConfigurationReader(FileAccess.json(url), file: ConfigurationReader.mainFile)
        try QuantizationMethod.refuseForeign(root, directory: directory)
        modelType = try Self.modelType(root)
        if let nested = try root.section(
            "text_config", fallingBackHere: !Self.ownKinds.contains(modelType)), !nested.isEmpty
        {
            text = nested
            hasTextSection = true
        } else {
            text = root
            hasTextSection = false
        }
        let (own, other) = try Self.processors(directory)
        (processor, otherProcessor) = (own ?? tower?.processor, other)
        vision = if let tower { tower.section } else { try root.section("vision_config") }
        let name = "generation_config.json"
        generation = try FileAccess.jsonIfPresent(directory.appending(path: name)).map {
            (document) throws(CheckpointError) in try ConfigurationReader(document, file: name)
        }
        try Self.refuseUnsupported(root)
    }

    private static func modelType(_ root: ConfigurationReader) throws(CheckpointError) -> String {
        guard let modelType = try root.string("model_type") else {
            throw root.invalid("model_type", expected: "a string", got: "nothing")
        }
        guard decoderKinds[modelType] != nil else {
            throw root.unsupported(
                "model_type", expected: decoderKinds.keys.sorted().joined(separator: ", "),
                got: modelType)
        }
        return modelType
    }

    /// Looks at config.json alone, of a model that is not on this machine yet.
    /// - Throws: for what no other file could make right.
    static func check(root bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
        let root = try ConfigurationReader(
            FileAccess.json(
                bytes, file: ConfigurationReader.mainFile, limits: FileAccess.configurationLimits),
            file: ConfigurationReader.mainFile)
        _ = try modelType(root)
        if let tower = try root.string("mm_vision_tower"),
            !["mobileclip", "clip-vit", "siglip"].contains(where: tower.lowercased().contains)
        {
            throw root.unsupported(
                "mm_vision_tower", expected: "a FastViTHD (mobileclip_…), CLIP or SigLIP tower", got: tower)
        }
        try refuseUnsupported(root)
    }

    /// Whether the files are those of a class of transformers, not of the original programs: `llava` is the name of both.
    func isTransformers(_ vision: VisionConfiguration) -> Bool {
        if case .visionTransformer = vision, modelType == "llava" { return !root.has("mm_vision_tower") }
        return modelType != "llava" && Self.ownKinds.contains(modelType)
    }

    /// The decoder's kind where `text_config` has no `model_type` of a decoder.
    var decoderKind: String { Self.decoderKinds[modelType] ?? modelType }

    /// Where an image processor is described, the one that counts first.
    static let processorFiles = ["processor_config.json", "preprocessor_config.json"]

    /// Transformers 5 writes the image processor into processor_config.json, which wins over the older file.
    static func processors(
        _ directory: URL
    ) throws(CheckpointError) -> (used: ConfigurationReader?, other: ConfigurationReader?) {
        var found: [ConfigurationReader] = []
        for name in processorFiles {
            guard let document = try FileAccess.jsonIfPresent(directory.appending(path: name)) else {
                continue
            }
            let reader = try ConfigurationReader(document, file: name)
            let nested = try reader.section("image_processor")
            if name == "preprocessor_config.json" {
                // A file that has nothing of its own is a processor_config.json under the older name.
                let isOuter = reader.has("image_processor_type") || reader.has("size")
                found.append(isOuter ? reader : nested ?? reader)
            } else if let nested {
                found.append(nested)
            }
        }
        return (found.first, found.dropFirst().first)
    }

    /// Values that would need another projector or way of splicing.
    private static func refuseUnsupported(_ root: ConfigurationReader) throws(CheckpointError) {
        try root.require("mm_projector_type", isOneOf: ["mlp2x_gelu"])
        try root.require("mm_use_im_start_end", is: .bool(false))
        try root.require("s2", is: .bool(false))
        try root.require("projector_hidden_act", isOneOf: ["gelu"])
        try root.require("multimodal_projector_bias", is: .bool(true))
    }
}
