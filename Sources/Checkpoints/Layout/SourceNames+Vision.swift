/// Names of the vision tower: Apple's `network.N` and timm's `stages.S`, folded or with training branches.
extension SourceNames {
    func visionName(_ parts: [Substring]) -> String? {
        guard parts.count >= 2 else { return nil }
        switch parts[0] {
        case "patch_embed", "stem":
            guard let index = Self.index(parts[1]), let leaf = Self.mobileOneLeaf(parts[2...]) else {
                return nil
            }
            return "stem.\(index).\(leaf)"
        case "conv_exp", "final_conv":
            return Self.finalName(parts.dropFirst())
        case "network":
            guard let index = Self.index(parts[1]), let part = networkPart(index) else { return nil }
            return Self.networkName(part, parts[2...])
        case "stages":
            guard parts.count >= 4, let stage = Self.index(parts[1]) else { return nil }
            return Self.stageName(stage, parts[2], parts[3...])
        default:
            return nil
        }
    }

    private static func networkName(_ part: NetworkPart, _ rest: ArraySlice<Substring>) -> String? {
        let prefix = "stages.\(part.stage)."
        switch part.kind {
        case .downsample: return downsampleLeaf(rest).map { prefix + $0 }
        case .position: return positionLeaf(rest).map { prefix + $0 }
        case .blocks:
            guard let first = rest.first, let block = index(first) else { return nil }
            return blockLeaf(rest.dropFirst()).map { prefix + "blocks.\(block)." + $0 }
        }
    }

    private static func stageName(
        _ stage: Int, _ module: Substring, _ rest: ArraySlice<Substring>
    ) -> String? {
        let prefix = "stages.\(stage)."
        switch module {
        case "downsample": return downsampleLeaf(rest).map { prefix + $0 }
        case "pos_emb": return positionLeaf(rest).map { prefix + $0 }
        case "blocks":
            guard let first = rest.first, let block = index(first) else { return nil }
            return blockLeaf(rest.dropFirst()).map { prefix + "blocks.\(block)." + $0 }
        default: return nil
        }
    }

    private static func downsampleLeaf(_ rest: ArraySlice<Substring>) -> String? {
        guard rest.count >= 3, rest.first == "proj" else { return nil }
        let leaf = rest.dropFirst(2)
        switch rest.dropFirst().first {
        case "0": return largeKernelLeaf(leaf).map { "downsample.large." + $0 }
        case "1": return mobileOneLeaf(leaf).map { "downsample.pointwise." + $0 }
        default: return nil
        }
    }

    private static func positionLeaf(_ rest: ArraySlice<Substring>) -> String? {
        guard rest.count == 2, let module = rest.first, let leaf = rest.last.flatMap(plainLeaf) else {
            return nil
        }
        switch module {
        case "reparam_conv": return "position.reparam.\(leaf)"
        case "pe", "pos_enc": return "position.plain.\(leaf)"
        default: return nil
        }
    }

    private static func finalName(_ rest: ArraySlice<Substring>) -> String? {
        guard rest.first == "se" else { return mobileOneLeaf(rest).map { "final." + $0 } }
        guard rest.count == 3, let module = rest.dropFirst().first, let leaf = rest.last.flatMap(plainLeaf)
        else { return nil }
        switch module {
        case "reduce", "fc1": return "final.squeeze.reduce.\(leaf)"
        case "expand", "fc2": return "final.squeeze.expand.\(leaf)"
        default: return nil
        }
    }

    private static func blockLeaf(_ rest: ArraySlice<Substring>) -> String? {
        guard let module = rest.first else { return nil }
        let leaf = rest.dropFirst()
        switch module {
        case "token_mixer": return mixerLeaf(leaf)
        case "convffn", "mlp": return feedForwardLeaf(leaf)
        case "norm":
            guard leaf.count == 1 else { return nil }
            return leaf.first.flatMap(plainLeaf).map { "norm.\($0)" }
        case "layer_scale", "layer_scale_2", "layerScale", "layerScale2":
            return isScale(leaf) ? "scale.ffn" : nil
        case "layer_scale_1", "layerScale1":
            return isScale(leaf) ? "scale.mixer" : nil
        default: return nil
        }
    }

    private static func mixerLeaf(_ rest: ArraySlice<Substring>) -> String? {
        guard let module = rest.first else { return nil }
        let leaf = rest.dropFirst()
        switch module {
        case "qkv", "proj":
            guard leaf.count == 1, let last = leaf.first.flatMap(linearLeaf) else { return nil }
            return "attention.\(module == "qkv" ? "qkv" : "projection").\(last)"
        case "reparam_conv":
            guard leaf.count == 1 else { return nil }
            return leaf.first.flatMap(plainLeaf).map { "mixer.reparam.\($0)" }
        case "norm", "mixer": return mobileOneLeaf(leaf).map { "mixer.\(module).\($0)" }
        case "layer_scale", "layerScale": return isScale(leaf) ? "mixer.layer_scale" : nil
        default: return nil
        }
    }

    private static func feedForwardLeaf(_ rest: ArraySlice<Substring>) -> String? {
        guard let module = rest.first else { return nil }
        let leaf = rest.dropFirst()
        switch module {
        case "conv": return normalizedConvolutionLeaf(leaf).map { "ffn.depthwise.\($0)" }
        case "fc1", "fc2":
            guard leaf.count == 1, let last = leaf.first.flatMap(plainLeaf) else { return nil }
            return "ffn.\(module == "fc1" ? "expand" : "project").\(last)"
        default: return nil
        }
    }

    // MARK: Folded and unfolded convolutions

    /// `reparam_conv`, or the branches of a MobileOne block in Apple's or timm's words.
    private static func mobileOneLeaf(_ rest: ArraySlice<Substring>) -> String? {
        guard let module = rest.first else { return nil }
        let leaf = rest.dropFirst()
        switch module {
        case "reparam_conv":
            guard leaf.count == 1 else { return nil }
            return leaf.first.flatMap(plainLeaf).map { "reparam.\($0)" }
        case "rbr_conv", "conv_kxk":
            guard let branch = leaf.first.flatMap(index) else { return nil }
            return normalizedConvolutionLeaf(leaf.dropFirst()).map { "branch.\(branch).\($0)" }
        case "rbr_scale", "conv_scale":
            return normalizedConvolutionLeaf(leaf).map { "shortcut.\($0)" }
        case "rbr_skip", "identity":
            guard leaf.count == 1 else { return nil }
            return leaf.first.flatMap(normalizationLeaf).map { "skip.\($0)" }
        default: return nil
        }
    }

    private static func largeKernelLeaf(_ rest: ArraySlice<Substring>) -> String? {
        guard let module = rest.first else { return nil }
        let leaf = rest.dropFirst()
        switch module {
        case "lkb_reparam", "reparam_conv":
            guard leaf.count == 1 else { return nil }
            return leaf.first.flatMap(plainLeaf).map { "reparam.\($0)" }
        case "lkb_origin", "large_conv": return normalizedConvolutionLeaf(leaf).map { "large.\($0)" }
        case "small_conv": return normalizedConvolutionLeaf(leaf).map { "small.\($0)" }
        default: return nil
        }
    }

    /// `conv.weight` or `bn.*`.
    private static func normalizedConvolutionLeaf(_ rest: ArraySlice<Substring>) -> String? {
        guard rest.count == 2, let module = rest.first, let leaf = rest.last else { return nil }
        switch module {
        case "conv": return leaf == "weight" ? "conv.weight" : nil
        case "bn": return normalizationLeaf(leaf).map { "bn.\($0)" }
        default: return nil
        }
    }

    private static func normalizationLeaf(_ leaf: Substring) -> Substring? {
        ["weight", "bias", "running_mean", "running_var"].contains(leaf) ? leaf : nil
    }

    private static func plainLeaf(_ leaf: Substring) -> Substring? {
        leaf == "weight" || leaf == "bias" ? leaf : nil
    }

    /// `layer_scale` itself (Apple) or `layer_scale.gamma` (timm).
    private static func isScale(_ rest: ArraySlice<Substring>) -> Bool {
        rest.isEmpty || (rest.count == 1 && rest.first == "gamma")
    }
}
