internal import StrictJSON

/// A vision transformer's numbers: sizes from the tensors, and from config.json what no tensor shows.
extension VisionTransformerConfiguration {
    static let widthLimit = 16384
    static let hiddenLimit = 65536
    static let layerLimit = 256
    static let headDimensionLimit = 1024
    static let positionLimit = 1 << 16

    /// What transformers' classes assume where a file is silent: files written by it may leave out what equals these.
    private struct Family {
        let modelType: String
        let activation: Activation
        let epsilon: Double
        var heads: Int { 12 }

        static let clip = Family(
            modelType: "clip_vision_model", activation: .quickGelu, epsilon: 1e-5)
        static let siglip = Family(
            modelType: "siglip_vision_model", activation: .tanhGelu, epsilon: 1e-6)
    }

    /// Whether the source names are those of a vision transformer.
    static func fits(_ sources: [String: StoredTensor]) -> Bool { sources["vision.patch.weight"] != nil }

    /// - Parameters:
    ///   - sources: by source name; see ``SourceNames``.
    ///   - root: config.json.
    ///   - section: the tower's own values, in `vision_config` or in a folder of its own.
    ///   - location: where missing tensors are looked for, in errors.
    /// - Throws: `CheckpointError` that names the key or the tensor.
    init(
        sources: [String: StoredTensor], root: ConfigurationReader, section: ConfigurationReader?,
        location: String
    ) throws(CheckpointError) {
        let shapes = TransformerShapes(sources: sources, location: location)
        let hasClassToken = sources["vision.class_token"] != nil
        let family = try Self.family(root, section, hasClassToken: hasClassToken)
        let patch = try shapes.shape("vision.patch.weight", rank: 4)
        let (width, patchSide) = (patch[0], patch[3])
        guard patch[1] == 3, patch[2] == patchSide, (1...512).contains(patchSide),
            (1...Self.widthLimit).contains(width)
        else {
            throw shapes.unsupported(
                "a patch embedding of \(patch)", expected: "[channels, 3, side, side]")
        }
        let hidden = try shapes.shape("vision.layers.0.mlp.expand.weight", rank: 2)[0]
        let positions = try shapes.shape("vision.positions.weight", rank: 2)[0]
        let stored = try shapes.layers(limit: Self.layerLimit)
        guard (1...Self.hiddenLimit).contains(hidden) else {
            throw shapes.unsupported(
                "\(hidden) hidden channels", expected: "at most \(Self.hiddenLimit)")
        }
        guard (1...Self.positionLimit).contains(positions) else {
            throw shapes.unsupported("\(positions) positions", expected: "at most \(Self.positionLimit)")
        }
        let imageSide = try Self.imageSide(
            root, section, patchSide: patchSide, positions: positions - (hasClassToken ? 1 : 0))
        let activation = try section?.string("hidden_act")
        self.init(
            imageSide: imageSide, patchSide: patchSide, width: width, hidden: hidden,
            heads: try Self.heads(root, section, family, width: width),
            layers: try Self.layersTaken(root, section, family, stored: stored), storedLayers: stored,
            activation: try Self.activation(activation, section, family),
            layerNormEpsilon: Float(
                try section?.double("layer_norm_eps", in: 1e-12...1) ?? family.epsilon),
            hasClassToken: hasClassToken, hasPatchBias: sources["vision.patch.bias"] != nil,
            hasPreNorm: sources["vision.pre_norm.weight"] != nil,
            storesPostNorm: sources["vision.post_norm.weight"] != nil,
            keepsClassToken: hasClassToken ? try Self.keepsClassToken(root) : false)
    }

    /// Checks what config.json says about the tower against what the tensors show.
    func check(
        against root: ConfigurationReader, section: ConfigurationReader?
    ) throws(CheckpointError) {
        if let features = try root.integer("mm_hidden_size", in: 1...Self.hiddenLimit), features != width {
            throw root.contradiction("mm_hidden_size", configuration: "\(features)", tensors: "\(width)")
        }
        try root.require("mm_vision_select_feature", isOneOf: ["patch"])
        // Without tiles there is nothing to put together.
        if try !ImagePreprocessing.isTiled(root) {
            try root.require("mm_patch_merge_type", isOneOf: ["flat"])
        }
        guard let section else { return }
        for (key, shown) in [
            ("hidden_size", width), ("intermediate_size", hidden), ("patch_size", patchSide),
        ] {
            if let given = try section.integer(key, in: 1...Self.hiddenLimit), given != shown {
                throw section.contradiction(key, configuration: "\(given)", tensors: "\(shown)")
            }
        }
        try section.require("num_channels", is: .integer(3))
        try section.require("attention_bias", is: .bool(true))
    }

    // MARK: Values that no tensor shows

    private static func family(
        _ root: ConfigurationReader, _ section: ConfigurationReader?, hasClassToken: Bool
    ) throws(CheckpointError) -> Family {
        guard let section, let kind = try section.string("model_type") else {
            return hasClassToken ? .clip : .siglip
        }
        guard let family = [Family.clip, .siglip].first(where: { $0.modelType == kind }) else {
            throw section.unsupported(
                "model_type", expected: "clip_vision_model or siglip_vision_model for this tower", got: kind)
        }
        guard hasClassToken == (family.modelType == Family.clip.modelType) else {
            throw section.contradiction(
                "model_type", configuration: kind,
                tensors: hasClassToken ? "there is a class token" : "there is no class token")
        }
        return family
    }

    private static func activation(
        _ name: String?, _ section: ConfigurationReader?, _ family: Family
    ) throws(CheckpointError) -> Activation {
        guard let name, let section else { return family.activation }
        guard let known = Activation(rawValue: name) else {
            throw section.unsupported(
                "hidden_act", expected: "quick_gelu, gelu_pytorch_tanh or gelu", got: name)
        }
        return known
    }

    /// Without a vision_config, the published towers are known by their width.
    private static func heads(
        _ root: ConfigurationReader, _ section: ConfigurationReader?, _ family: Family, width: Int
    ) throws(CheckpointError) -> Int {
        let published = [768: 12, 1024: 16, 1152: 16]
        let given = try section?.integer("num_attention_heads", in: 1...1024)
        guard let heads = given ?? (section == nil ? published[width] : family.heads) else {
            throw root.unsupported(
                "mm_vision_tower", expected: "a published CLIP or SigLIP tower, or a vision_config",
                got: "a tower of \(width) channels")
        }
        guard width.isMultiple(of: heads), width / heads <= headDimensionLimit else {
            throw (section ?? root).invalid(
                "num_attention_heads",
                expected: "a divisor of \(width) with a quotient up to \(headDimensionLimit)",
                got: "\(heads)")
        }
        return heads
    }

    /// The block whose output is taken: transformers counts the embeddings as 0 and, from the end, −1 as the last block.
    private static func layersTaken(
        _ root: ConfigurationReader, _ section: ConfigurationReader?, _ family: Family, stored: Int
    ) throws(CheckpointError) -> Int {
        let configured = try section?.integer("num_hidden_layers", in: 1...layerLimit)
        // A checkpoint of this program leaves out what it does not compute.
        if let configured, stored > configured, let section {
            throw section.contradiction(
                "num_hidden_layers", configuration: "\(configured)", tensors: "\(stored)")
        }
        let all = configured ?? stored
        let isOriginal = try root.string("mm_vision_tower") != nil
        // The original's SigLIP drops its last block and takes what is then last, whatever the configuration says.
        let isWholeSigLIP = isOriginal && family.modelType == Family.siglip.modelType
        let key = isOriginal ? "mm_vision_select_layer" : "vision_feature_layer"
        let usual = try root.string("model_type") == "llava_onevision" ? -1 : -2
        let chosen =
            isWholeSigLIP ? (all == 27 ? -2 : -1) : try root.integer(key, in: -all...all) ?? usual
        let taken = chosen < 0 ? all + 1 + chosen : chosen
        guard (1...stored).contains(taken) else {
            throw root.contradiction(
                key, configuration: "the output of block \(taken)", tensors: "\(stored) blocks")
        }
        return taken
    }

    /// `full` keeps the class token, `default` drops it.
    private static func keepsClassToken(_ root: ConfigurationReader) throws(CheckpointError) -> Bool {
        let key = "vision_feature_select_strategy"
        try root.require(key, isOneOf: ["full", "default"])
        return try root.string(key) == "full"
    }

    private static func imageSide(
        _ root: ConfigurationReader, _ section: ConfigurationReader?, patchSide: Int, positions: Int
    ) throws(CheckpointError) -> Int {
        let range = 1...ModelConfiguration.largestImageSide
        var given = try section?.integer("image_size", in: range)
        var key = "image_size"
        if given == nil, let name = try root.string("mm_vision_tower"),
            let number = name.split(separator: "-").last.flatMap({ Int($0) }), range.contains(number)
        {
            (given, key) = (number, "mm_vision_tower")
        }
        // 224 is the default of both classes.
        let side = given ?? 224
        let grid = side / patchSide
        guard grid * grid == positions else {
            throw (key == "image_size" ? section ?? root : root).contradiction(
                key, configuration: "\(side), \(grid) × \(grid) patches of \(patchSide)",
                tensors: "\(positions) positions of patches")
        }
        return side
    }
}

/// Looks into the tower's source names without using them up.
private struct TransformerShapes {
    let sources: [String: StoredTensor]
    let location: String

    func shape(_ name: String, rank: Int) throws(CheckpointError) -> [Int] {
        guard let stored = sources[name] else {
            throw .missingTensor(tensor: name, shape: [], location: location, others: 0)
        }
        guard stored.shape.count == rank else {
            throw .unexpectedShape(
                file: stored.file, tensor: stored.name, expected: [Int](repeating: 1, count: rank),
                got: stored.shape)
        }
        return stored.shape
    }

    /// One more than the highest block.
    func layers(limit: Int) throws(CheckpointError) -> Int {
        let prefix = "vision.layers."
        let count = SourceNames.count(below: prefix, in: sources.keys)
        guard count > 0 else {
            throw .missingTensor(tensor: "\(prefix)0", shape: [], location: location, others: 0)
        }
        guard count <= limit else { throw unsupported("\(count) blocks", expected: "\(limit) at most") }
        return count
    }

    func unsupported(_ what: String, expected: String) -> CheckpointError {
        .unsupportedConfiguration(file: location, key: "vision tower", expected: expected, got: what)
    }
}
