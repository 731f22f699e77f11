internal import StrictJSON

/// Brings together what the files say and what the tensors show.
extension ModelConfiguration {
    /// - Parameters:
    ///   - vision: read off the tensors.
    ///   - text: read from config.json and the tensors.
    ///   - storesOutput: whether there is an output projection beside the embedding table.
    ///   - remarks: gets a line where values disagree or are assumed.
    init(
        files: ConfigurationFiles, vision: VisionConfiguration, text: DecoderConfiguration,
        isHuggingFace: Bool, storesOutput: Bool,
        remarks: inout [CheckpointRemark]
    ) throws(CheckpointError) {
        let root = files.root
        try vision.check(against: files)
        files.compareTextWithRoot(remarks: &remarks)
        let preprocessing = try ImagePreprocessing(
            root: root, processor: files.processor, other: files.otherProcessor, isHuggingFace: isHuggingFace,
            vision: vision, remarks: &remarks)
        let ids = try SpecialTokens(files, rows: text.vocabularySize, remarks: &remarks)
        let length = try Self.sequenceLength(root, text: text)
        try files.checkTying(text, storesOutput: storesOutput, remarks: &remarks)
        if preprocessing.tiling != .none, case .visionTransformer(let tower) = vision, tower.keepsClassToken {
            throw root.unsupported(
                "vision_feature_select_strategy", expected: "default, for images in tiles", got: "full")
        }
        let visual = vision.tokens(side: preprocessing.size)
        if length < visual + DecoderConfiguration.positionMinimum {
            remarks.append(
                .changesAnswers(
                    "an image takes \(visual) positions, but the context has \(length): no question about an "
                        + "image fits, unless its side is chosen smaller"))
        }
        self.init(
            vision: vision, text: text, preprocessing: preprocessing,
            imageTokenID: ids.image, endOfSequenceIDs: ids.ends,
            beginOfSequenceID: ids.beginning, maximumSequenceLength: length,
            conversationTemplate: try root.string("conversation_template"), modelType: files.modelType)
    }

    /// Apple's limit on prompt and answer, where config.json has it, within the positions of the decoder.
    private static func sequenceLength(
        _ root: ConfigurationReader, text: DecoderConfiguration
    ) throws(CheckpointError) -> Int {
        let key = "tokenizer_model_max_length"
        // "No limit" is written as 1e30, beyond any integer.
        let declared = try root.double(key, in: Double(DecoderConfiguration.positionMinimum)...1e31)
        return min(declared.flatMap { Int(exactly: $0.rounded(.down)) } ?? .max, text.maximumPositions)
    }
}

extension FastViTHDConfiguration {
    /// Keys of timm's model arguments that change nothing about inference on features.
    private static let harmlessArguments: Set<String> = [
        "inference_mode", "num_classes", "global_pool", "drop_rate", "proj_drop_rate", "drop_path_rate",
        "layer_scale_init_value", "stem_use_scale_branch", "features_only", "img_size",
    ]

    /// Checks what config.json says about the tower against what the tensors show.
    func check(against root: ConfigurationReader) throws(CheckpointError) {
        if let tower = try root.string("mm_vision_tower"), !tower.lowercased().contains("mobileclip") {
            throw root.unsupported(
                "mm_vision_tower", expected: "a FastViTHD tower (mobileclip_…)", got: tower)
        }
        // Without tiles there is nothing to put together.
        if try !ImagePreprocessing.isTiled(root) {
            try root.require("mm_patch_merge_type", isOneOf: ["flat"])
        }
        try root.require("vision_feature_select_strategy", isOneOf: ["full"])
        try root.require("vision_feature_layer", is: .integer(-1))
        if let features = try root.integer("mm_hidden_size", in: 1...Self.hiddenLimit),
            features != finalChannels
        {
            throw root.contradiction(
                "mm_hidden_size", configuration: "\(features)", tensors: "\(finalChannels)")
        }
        guard let section = try root.section("vision_config") else { return }
        if let kind = try section.string("model_type"),
            kind.contains("clip_vision") || kind.contains("siglip")
        {
            throw section.unsupported("model_type", expected: "a FastViTHD tower", got: kind)
        }
        // The other members of the family have no activation between the two downsampling convolutions.
        try section.require("architecture", isOneOf: ["fastvit_mci3", "fastvit_mci4"])
        // Only timm's wrapper means the features by it; MLX's configurations carry an unrelated 1024.
        if try section.string("architecture") != nil,
            let features = try section.integer("hidden_size", in: 1...Self.hiddenLimit),
            features != finalChannels
        {
            throw section.contradiction(
                "hidden_size", configuration: "\(features)", tensors: "\(finalChannels)")
        }
        guard let arguments = try section.section("model_args") else { return }
        try checkDimensions(arguments)
        try arguments.require("lkc_use_act", is: .bool(true))
        try arguments.require("repmixer_kernel_size", is: .integer(repMixerKernel))
        try arguments.require("down_patch_size", is: .integer(largeKernel))
        try arguments.require("down_stride", is: .integer(2))
        try arguments.require("in_chans", is: .integer(3))
        try arguments.require("act_layer", isOneOf: ["gelu"])
        try arguments.require("fork_feat", is: .bool(false))
        let known: Set<String> = [
            "layers", "embed_dims", "mlp_ratios", "token_mixers", "downsamples", "se_downsamples",
            "cls_ratio",
            "lkc_use_act", "repmixer_kernel_size", "down_patch_size", "down_stride", "in_chans", "act_layer",
            "fork_feat",
        ]
        for key in arguments.keys
        where !known.contains(key) && !Self.harmlessArguments.contains(key) && arguments.value(key) != nil {
            throw arguments.unsupported(key, expected: "FastViTHD's own arguments", got: key)
        }
    }

    private func checkDimensions(_ arguments: ConfigurationReader) throws(CheckpointError) {
        let limit = Self.stageLimit
        if let layers = try arguments.integers("layers", in: 1...Self.depthLimit, limit: limit),
            layers != depths
        {
            throw arguments.contradiction("layers", configuration: "\(layers)", tensors: "\(depths)")
        }
        if let given = try arguments.integers("embed_dims", in: 1...Self.widthLimit, limit: limit),
            given != widths
        {
            throw arguments.contradiction("embed_dims", configuration: "\(given)", tensors: "\(widths)")
        }
        if let ratios = try arguments.doubles("mlp_ratios", in: 0...1024, limit: limit) {
            let given = zip(ratios, widths).map { Int($0 * Double($1)) }
            let hidden = depths.indices.map { hiddenWidth(stage: $0) }
            guard given == hidden, ratios.count == depths.count else {
                throw arguments.contradiction(
                    "mlp_ratios", configuration: "\(ratios)", tensors: "\(mlpRatios)")
            }
        }
        if let mixers = try arguments.list("token_mixers", limit: limit),
            mixers != tokenMixers.map({ .string($0.rawValue) })
        {
            throw arguments.contradiction(
                "token_mixers", configuration: JSONValue.array(mixers).summary,
                tensors: "\(tokenMixers.map(\.rawValue))")
        }
        if let ratio = try arguments.double("cls_ratio", in: 0...1024), let last = widths.last,
            Int(ratio * Double(last)) != finalChannels
        {
            throw arguments.contradiction(
                "cls_ratio", configuration: "\(ratio) × \(last)", tensors: "\(finalChannels)")
        }
        for (key, expected) in [
            ("downsamples", depths.indices.map { JSONValue.bool($0 > 0) }),
            ("se_downsamples", depths.map { _ in JSONValue.bool(false) }),
        ] {
            if let given = try arguments.list(key, limit: limit), given != expected {
                throw arguments.unsupported(
                    key, expected: JSONValue.array(expected).summary, got: JSONValue.array(given).summary)
            }
        }
    }
}
