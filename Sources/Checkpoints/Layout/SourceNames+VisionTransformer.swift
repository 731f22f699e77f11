/// Names of a vision transformer: those of transformers' CLIP and SigLIP, `pre_layrnorm` with its missing letter included.
extension SourceNames {
    /// Whether a path below the tower's prefix is a vision transformer's buffer or head, which nothing here uses.
    static func isIgnorableTransformerPart(_ parts: [Substring]) -> Bool {
        parts == ["embeddings", "position_ids"] || parts.first == "head"
    }

    /// - Parameter parts: below the tower's prefix, without `layers`.
    /// - Returns: nil for names that are not a vision transformer's.
    static func transformerName(_ parts: [Substring]) -> String? {
        guard let last = parts.last else { return nil }
        switch parts[0] {
        case "embeddings":
            if parts == ["embeddings", "class_embedding"] { return "class_token" }
            guard parts.count == 3 else { return nil }
            if parts[1] == "patch_embedding", isWeightOrBias(last) { return "patch.\(last)" }
            return parts[1] == "position_embedding" && last == "weight" ? "positions.weight" : nil
        case "pre_layrnorm", "post_layernorm":
            guard parts.count == 2, isWeightOrBias(last) else { return nil }
            return "\(parts[0] == "post_layernorm" ? "post_norm" : "pre_norm").\(last)"
        case "encoder":
            guard parts.count >= 4, let layer = index(parts[1]), linearLeaf(last) != nil,
                let module = transformerModules[parts[2..<parts.count - 1].joined(separator: ".")]
            else { return nil }
            return "layers.\(layer).\(module).\(last)"
        default: return nil
        }
    }

    private static let transformerModules: [String: String] = [
        "layer_norm1": "attention_norm", "layer_norm2": "mlp_norm",
        "self_attn.q_proj": "attention.query", "self_attn.k_proj": "attention.key",
        "self_attn.v_proj": "attention.value", "self_attn.out_proj": "attention.output",
        "mlp.fc1": "mlp.expand", "mlp.fc2": "mlp.project",
    ]

    private static func isWeightOrBias(_ leaf: Substring) -> Bool { leaf == "weight" || leaf == "bias" }
}
