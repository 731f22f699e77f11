internal import StrictJSON

/// The decoder's numbers: from config.json, completed and checked by the tensors.
extension DecoderConfiguration {
    static let hiddenLimit = 65536
    static let layerLimit = 512
    static let headLimit = 1024
    static let headDimensionLimit = 1024
    static let intermediateLimit = 1 << 20
    static let vocabularyLimit = 2_000_000
    static let positionLimit = 1 << 27
    /// Fewer positions hold no prompt, whatever the template.
    static let positionMinimum = 8

    /// - Parameters:
    ///   - text: the decoder's values.
    ///   - kind: `model_type` where `text` has none of its own.
    ///   - sources: by source name; see ``SourceNames``.
    ///   - isTied: whether there is no output projection, or one that repeats the embedding table.
    ///   - remarks: gets a line for every value that was assumed.
    init(
        _ text: ConfigurationReader, kind defaultKind: String, sources: [String: StoredTensor], isTied: Bool,
        location: String, remarks: inout [CheckpointRemark]
    ) throws(CheckpointError) {
        // A nested configuration names its own kind; the root names the whole model's.
        let named = try text.string("model_type") ?? defaultKind
        let kindName = ConfigurationFiles.decoderKinds[named] == nil ? named : defaultKind
        guard let kind = Kind(rawValue: kindName) else {
            throw text.unsupported("model_type", expected: "a qwen2, llama or mistral decoder", got: kindName)
        }
        self.kind = kind
        try Self.refuseUnsupported(text)
        func assume<Value>(_ value: Value?, _ key: String, _ assumed: Value) -> Value {
            if let value { return value }
            remarks.append(
                .notice("config.json does not give \(key); assuming \(assumed) as \(kind.rawValue) does"))
            return assumed
        }
        let shapes = DecoderShapes(sources: sources, location: location)
        hiddenSize = try Self.agreed(
            text, "hidden_size", in: 1...Self.hiddenLimit, tensors: shapes.length("decoder.norm.weight"))
        vocabularySize = try Self.agreed(
            text, "vocab_size", in: 1...Self.vocabularyLimit, tensors: shapes.rows("decoder.embedding.weight")
        )
        layers = try Self.agreed(text, "num_hidden_layers", in: 1...Self.layerLimit, tensors: shapes.layers())
        intermediateSize = try Self.agreed(
            text, "intermediate_size", in: 1...Self.intermediateLimit,
            tensors: shapes.rows("decoder.layers.0.mlp.gate.weight"))
        heads = assume(
            try text.integer("num_attention_heads", in: 1...Self.headLimit), "num_attention_heads",
            kind.usualHeads
        )
        let keyValueHeads = try text.integer("num_key_value_heads", in: 1...Self.headLimit)
        self.keyValueHeads =
            kind == .llama
            ? keyValueHeads ?? heads
            : assume(keyValueHeads, "num_key_value_heads", kind.usualKeyValueHeads)
        headDimension = try Self.headDimension(text, hidden: hiddenSize, heads: heads)
        rmsNormEpsilon = Float(
            assume(try text.double("rms_norm_eps", in: 1e-12...1), "rms_norm_eps", 1e-6))
        let theta = try RotarySettings(text).theta(remarks: &remarks)
        // Llama's files rely on this value, Qwen2's never had it.
        if theta == nil, kind == .qwen2 {
            remarks.append(
                .changesAnswers(
                    "config.json does not give rope_theta; assuming 10000 as transformers does, where published "
                        + "Qwen2 models have 1000000"))
            ropeTheta = 10_000
        } else {
            ropeTheta = Float(assume(theta, "rope_theta", 10_000))
        }
        let positions = assume(
            try text.integer(
                "max_position_embeddings", in: Self.positionMinimum...Self.positionLimit),
            "max_position_embeddings",
            kind.usualPositions)
        maximumPositions = try Self.positions(positions, kind, text, remarks: &remarks)
        tiedEmbeddings = isTied
        hasAttentionBias = sources["decoder.layers.0.attention.query.bias"] != nil
        hasAttentionOutputBias = sources["decoder.layers.0.attention.output.bias"] != nil
        try check(text, shapes: shapes)
    }

    /// Mistral's attention sees a window of positions, by default 4,096; within it, it is the usual one.
    private static func positions(
        _ positions: Int, _ kind: Kind, _ text: ConfigurationReader, remarks: inout [CheckpointRemark]
    ) throws(CheckpointError) -> Int {
        let key = "sliding_window"
        guard kind == .mistral, !text.has(key) || text.value(key) != nil else { return positions }
        let window = try text.integer(key, in: positionMinimum...positionLimit) ?? 4096
        guard window < positions else { return positions }
        remarks.append(
            .changesAnswers(
                "\(text.place(key)) is \(window)\(text.has(key) ? "" : ", as the key is missing"): longer contexts need "
                    + "an attention that is not supported, so the context has \(window) positions"))
        return window
    }

    /// Values that would need another network.
    private static func refuseUnsupported(_ text: ConfigurationReader) throws(CheckpointError) {
        try text.require("hidden_act", isOneOf: ["silu", "swish"])
        // The kinds of the layers, where they are listed, win over the switch.
        if text.value("layer_types") == nil { try text.require("use_sliding_window", is: .bool(false)) }
        try text.require("mlp_bias", is: .bool(false))
        try text.require("partial_rotary_factor", is: .integer(1))
        try text.require("pretraining_tp", is: .integer(1))
        try RotarySettings(text).refuseUnsupported()
        for kind in try text.list("layer_types", limit: layerLimit) ?? []
        where kind != .string("full_attention") {
            throw text.unsupported("layer_types", expected: "full_attention", got: kind.summary)
        }
    }

    /// A number that the configuration gives and the tensors show; either may be silent, not both.
    private static func agreed(
        _ text: ConfigurationReader, _ key: String, in range: ClosedRange<Int>, tensors: Int
    ) throws(CheckpointError) -> Int {
        if let configured = try text.integer(key, in: range), configured != tensors {
            throw text.contradiction(key, configuration: "\(configured)", tensors: "\(tensors)")
        }
        guard range.contains(tensors) else {
            throw text.unsupported(
                key, expected: "\(range.lowerBound) to \(range.upperBound)", got: "\(tensors)")
        }
        return tensors
    }

    private static func headDimension(
        _ text: ConfigurationReader, hidden: Int, heads: Int
    ) throws(CheckpointError) -> Int {
        if let explicit = try text.integer("head_dim", in: 2...headDimensionLimit) {
            guard explicit.isMultiple(of: 2) else {
                throw text.invalid(
                    "head_dim", expected: "an even number, for rotary positions", got: "\(explicit)")
            }
            return explicit
        }
        guard hidden.isMultiple(of: heads), (hidden / heads).isMultiple(of: 2),
            hidden / heads <= headDimensionLimit
        else {
            throw text.invalid(
                "num_attention_heads", expected: "a divisor of hidden_size \(hidden) with an even quotient",
                got: "\(heads)")
        }
        return hidden / heads
    }

    private func check(_ text: ConfigurationReader, shapes: DecoderShapes) throws(CheckpointError) {
        guard heads.isMultiple(of: keyValueHeads) else {
            throw text.invalid(
                "num_key_value_heads", expected: "a divisor of num_attention_heads \(heads)",
                got: "\(keyValueHeads)")
        }
        for (key, rows, width) in [
            ("num_attention_heads", try shapes.rows("decoder.layers.0.attention.query.weight"), queryWidth),
            ("num_key_value_heads", try shapes.rows("decoder.layers.0.attention.key.weight"), keyValueWidth),
        ] where rows != width {
            throw text.contradiction(
                key, configuration: "\(width / headDimension) heads of \(headDimension), \(width) rows",
                tensors: "\(rows) rows")
        }
        if let declared = try text.bool("attention_bias"), declared != hasAttentionBias {
            throw text.contradiction(
                "attention_bias", configuration: "\(declared)",
                tensors: hasAttentionBias ? "biases" : "no biases")
        }
    }
}

/// What transformers' classes assume where a file is silent: files written by it may leave out what equals these.
extension DecoderConfiguration.Kind {
    fileprivate var usualHeads: Int { 32 }
    fileprivate var usualKeyValueHeads: Int { self == .mistral ? 8 : 32 }
    fileprivate var usualPositions: Int {
        switch self {
        case .qwen2: 32768
        case .llama: 2048
        case .mistral: 131_072
        }
    }
}

/// Looks into the decoder's source names without using them up.
private struct DecoderShapes {
    let sources: [String: StoredTensor]
    let location: String

    /// One more than the highest layer.
    func layers() throws(CheckpointError) -> Int {
        let prefix = "decoder.layers."
        let count = SourceNames.count(below: prefix, in: sources.keys)
        guard count > 0 else {
            throw .missingTensor(tensor: "decoder.layers.0", shape: [], location: location, others: 0)
        }
        return count
    }

    /// Rows of a matrix; they are the same when it is quantised.
    func rows(_ name: String) throws(CheckpointError) -> Int { try extent(name, rank: 2) }

    func length(_ name: String) throws(CheckpointError) -> Int { try extent(name, rank: 1) }

    private func extent(_ name: String, rank: Int) throws(CheckpointError) -> Int {
        guard let stored = sources[name] else {
            throw .missingTensor(tensor: name, shape: [], location: location, others: 0)
        }
        guard stored.shape.count == rank, let extent = stored.shape.first else {
            throw .unexpectedShape(
                file: stored.file, tensor: stored.name, expected: [Int](repeating: 1, count: rank),
                got: stored.shape)
        }
        return extent
    }
}
