/// The one vocabulary into which the names of every layout are translated before weights are assembled.
///
/// A source name is a canonical module path followed by what is stored there: `vision.stem.1` has either
/// `reparam.weight` (folded already) or `branch.0.conv.weight`, `branch.0.bn.running_mean`, `shortcut…`,
/// `skip…` (training branches). Where nothing has to be folded, source and canonical names agree.
struct SourceNames {
    /// What a stored name means.
    enum Meaning: Equatable {
        /// The weight with this source name.
        case weight(String)
        /// Known and not needed: counters, buffers that are computed, the classifier of the tower.
        case ignorable
        case unknown
    }

    /// Stage and purpose of every `network.N` of Apple's naming.
    private let network: [Int: NetworkPart]
    /// Apple's MLX exporter counts the projector's layers from 0 (with the activation as 1), others from 1.
    private let projectorStartsAtZero: Bool

    init(storedNames: some Sequence<String>) {
        var kinds: [Int: NetworkPart.Kind] = [:]
        var startsAtZero = false
        for name in storedNames {
            let parts = Self.parts(name)
            if parts.contains("linear_0") { startsAtZero = true }
            if let vision = Self.visionPath(parts), vision.count >= 3, vision[0] == "network",
                let index = Self.index(vision[1]), let kind = NetworkPart.Kind(vision[2])
            {
                kinds[index] = kind
            }
        }
        network = NetworkPart.stages(of: kinds)
        projectorStartsAtZero = startsAtZero
    }

    /// Translates one stored name.
    func meaning(of name: String) -> Meaning {
        if name.hasPrefix(PackedCheckpointMetadata.namePrefix) {
            return .weight(String(name.dropFirst(PackedCheckpointMetadata.namePrefix.count)))
        }
        let parts = Self.parts(name)
        guard !parts.isEmpty else { return .unknown }
        if parts.last == "num_batches_tracked" { return .ignorable }
        if let vision = Self.visionPath(parts) {
            if Self.isIgnorableTransformerPart(vision) { return .ignorable }
            return (visionName(vision) ?? Self.transformerName(vision)).map { .weight("vision." + $0) }
                ?? .unknown
        }
        if parts == ["image_newline"] || parts == ["model", "image_newline"] {
            return .weight("projector.newline")
        }
        if let projector = Self.projectorPath(parts) {
            return projectorName(projector).map { .weight("projector." + $0) } ?? .unknown
        }
        let text = Self.textPath(parts)
        if text.last == "inv_freq", text.contains("rotary_emb") { return .ignorable }
        return Self.textName(text).map { .weight("decoder." + $0) } ?? .unknown
    }

    // MARK: Prefixes

    private static func parts(_ name: String) -> [Substring] {
        name.split(separator: ".", omittingEmptySubsequences: false)
    }

    /// What follows the tower's prefix, without mlx-swift's `layers` and mlx-vlm's `blocks` of the stem; nil
    /// for other parts of the model.
    private static func visionPath(_ parts: [Substring]) -> [Substring]? {
        var rest = parts[...]
        if rest.starts(with: ["image_encoder", "model"]) {
            rest = rest.dropFirst(2)
        } else {
            if rest.first == "model" { rest = rest.dropFirst() }
            guard rest.first == "vision_tower" else { return nil }
            rest = rest.dropFirst()
            for prefix in [
                ["vision_tower", "model"], ["vision_tower", "vision_model"], ["vision_model"],
                ["timm_model"],
            ] as [[Substring]] where rest.starts(with: prefix) {
                rest = rest.dropFirst(prefix.count)
                break
            }
        }
        var path = rest.filter { $0 != "layers" }
        if path.starts(with: ["patch_embed", "blocks"]) { path.remove(at: 1) }
        return path
    }

    private static func projectorPath(_ parts: [Substring]) -> [Substring]? {
        var rest = parts[...]
        if rest.first == "model" { rest = rest.dropFirst() }
        guard rest.first == "mm_projector" || rest.first == "multi_modal_projector" else { return nil }
        return rest.filter { $0 != "layers" }
    }

    /// Without `model.`, `language_model.`, `language_model.model.` or `model.language_model.`.
    private static func textPath(_ parts: [Substring]) -> [Substring] {
        var rest = parts[...]
        if rest.first == "model" { rest = rest.dropFirst() }
        if rest.first == "language_model" {
            rest = rest.dropFirst()
            if rest.first == "model" { rest = rest.dropFirst() }
        }
        return Array(rest)
    }

    // MARK: Projector and decoder

    private func projectorName(_ parts: [Substring]) -> String? {
        guard parts.count == 3, let leaf = Self.linearLeaf(parts[2]) else { return nil }
        let layers: [Substring: Int] =
            if parts[0] == "mm_projector" {
                ["0": 0, "2": 1]
            } else if projectorStartsAtZero {
                ["linear_0": 0, "linear_2": 1]
            } else {
                ["linear_1": 0, "linear_2": 1]
            }
        return layers[parts[1]].map { "\($0).\(leaf)" }
    }

    private static let decoderModules: [String: String] = [
        "input_layernorm": "input_norm", "post_attention_layernorm": "post_norm",
        "self_attn.q_proj": "attention.query", "self_attn.k_proj": "attention.key",
        "self_attn.v_proj": "attention.value", "self_attn.o_proj": "attention.output",
        "mlp.gate_proj": "mlp.gate", "mlp.up_proj": "mlp.up", "mlp.down_proj": "mlp.down",
    ]

    private static func textName(_ parts: [Substring]) -> String? {
        guard parts.count >= 2, let leaf = linearLeaf(parts[parts.count - 1]) else { return nil }
        if parts.count == 2 {
            let modules: [Substring: String] = [
                "embed_tokens": "embedding", "norm": "norm", "lm_head": "output",
            ]
            return modules[parts[0]].map { "\($0).\(leaf)" }
        }
        guard parts.count >= 4, parts[0] == "layers", let layer = index(parts[1]),
            let module = decoderModules[parts[2..<parts.count - 1].joined(separator: ".")]
        else { return nil }
        return "layers.\(layer).\(module).\(leaf)"
    }

    /// What a linear layer may store; scales and biases are MLX's quantisation.
    static func linearLeaf(_ leaf: Substring) -> Substring? {
        ["weight", "bias", "scales", "biases"].contains(leaf) ? leaf : nil
    }

    /// A plain decimal index: no sign, no leading zero, of sensible size.
    static func index(_ text: Substring) -> Int? {
        guard let value = Int(text), value >= 0, value < 100_000, String(value) == text else { return nil }
        return value
    }

    /// The N of `<prefix>N.…`; nil for any other name.
    static func index(below prefix: String, in name: String) -> Int? {
        guard name.hasPrefix(prefix) else { return nil }
        let rest = name.dropFirst(prefix.count)
        return rest.firstIndex(of: ".").flatMap { index(rest[..<$0]) }
    }

    /// One more than the highest N of `<prefix>N.…` among names; 0 where there is none.
    static func count(below prefix: String, in names: some Sequence<String>) -> Int {
        names.lazy.compactMap { index(below: prefix, in: $0) }.reduce(0) { max($0, $1 + 1) }
    }

    func networkPart(_ index: Int) -> NetworkPart? { network[index] }
}

/// One entry of Apple's flat `network` list: downsampling, positional encoding and blocks follow one another.
struct NetworkPart: Equatable {
    enum Kind: Equatable {
        case downsample, position, blocks

        /// From the name that follows `network.N.`.
        init?(_ following: Substring) {
            switch following {
            case "proj": self = .downsample
            case "reparam_conv", "pe": self = .position
            case _ where SourceNames.index(following) != nil: self = .blocks
            default: return nil
            }
        }
    }

    let kind: Kind
    let stage: Int

    /// A stage ends with its blocks; what stands before them belongs to the same stage.
    static func stages(of kinds: [Int: Kind]) -> [Int: NetworkPart] {
        var parts: [Int: NetworkPart] = [:]
        var stage = 0
        for (index, kind) in kinds.sorted(by: { $0.key < $1.key }) {
            parts[index] = NetworkPart(kind: kind, stage: stage)
            if kind == .blocks { stage += 1 }
        }
        return parts
    }
}
