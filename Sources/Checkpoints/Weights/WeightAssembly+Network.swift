/// What the three parts of the model need.
extension WeightAssembly {
    mutating func addVision(_ vision: VisionConfiguration) throws(CheckpointError) {
        switch vision {
        case .fastViTHD(let tower): try addFastViTHD(tower)
        case .visionTransformer(let tower): try addVisionTransformer(tower)
        }
    }

    private mutating func addVisionTransformer(
        _ vision: VisionTransformerConfiguration
    ) throws(CheckpointError) {
        let (width, side) = (vision.width, vision.patchSide)
        try plain("vision.patch.weight", shape: [width, 3, side, side])
        if vision.hasPatchBias { try plain("vision.patch.bias", shape: [width]) }
        if vision.hasClassToken { try plain("vision.class_token", shape: [width]) }
        try plain("vision.positions.weight", shape: [vision.positions, width])
        if vision.hasPreNorm { try norm("vision.pre_norm", channels: width) }
        for layer in 0..<vision.storedLayers {
            let prefix = "vision.layers.\(layer)"
            try norm("\(prefix).attention_norm", channels: width)
            for part in ["query", "key", "value", "output"] {
                try linear("\(prefix).attention.\(part)", outputs: width, inputs: width, bias: true)
            }
            try norm("\(prefix).mlp_norm", channels: width)
            try linear("\(prefix).mlp.expand", outputs: vision.hidden, inputs: width, bias: true)
            try linear("\(prefix).mlp.project", outputs: width, inputs: vision.hidden, bias: true)
            // Checked like any other, but its output is not asked for.
            if layer >= vision.layers { forget(under: prefix) }
        }
        if vision.storesPostNorm {
            try norm("vision.post_norm", channels: width)
            if !vision.appliesPostNorm { forget(under: "vision.post_norm") }
        }
    }

    private mutating func norm(_ module: String, channels: Int) throws(CheckpointError) {
        try plain("\(module).weight", shape: [channels])
        try plain("\(module).bias", shape: [channels])
    }

    private mutating func addFastViTHD(_ vision: FastViTHDConfiguration) throws(CheckpointError) {
        let stem = vision.widths[0]
        try mobileOne("vision.stem.0", outputs: stem, inputs: 3, side: 3, shortcut: .perhaps, skip: false)
        try mobileOne("vision.stem.1", outputs: stem, inputs: 1, side: 3, shortcut: .perhaps, skip: false)
        try mobileOne("vision.stem.2", outputs: stem, inputs: stem, side: 1, shortcut: .never, skip: true)
        for stage in 0..<vision.stageCount {
            let prefix = "vision.stages.\(stage)"
            let width = vision.widths[stage]
            if stage > 0 {
                try largeKernel("\(prefix).downsample.large", outputs: width, side: vision.largeKernel)
                try mobileOne(
                    "\(prefix).downsample.pointwise", outputs: width, inputs: width, side: 1,
                    shortcut: .never,
                    skip: true)
            }
            if vision.positionEncoding[stage] {
                try position("\(prefix).position", channels: width, side: vision.largeKernel)
            }
            for block in 0..<vision.depths[stage] {
                try addBlock("\(prefix).blocks.\(block)", vision, stage: stage)
            }
        }
        let (last, features) = (vision.widths[vision.stageCount - 1], vision.finalChannels)
        try mobileOne(
            "vision.final", outputs: features, inputs: 1, side: 3, shortcut: .always, skip: features == last)
        let reduced = vision.squeezeReduction
        try pointwise("vision.final.squeeze.reduce", outputs: reduced, inputs: features)
        try pointwise("vision.final.squeeze.expand", outputs: features, inputs: reduced)
    }

    private mutating func addBlock(
        _ block: String, _ vision: FastViTHDConfiguration, stage: Int
    ) throws(CheckpointError) {
        let width = vision.widths[stage]
        let hidden = vision.hiddenWidth(stage: stage)
        switch vision.tokenMixers[stage] {
        case .repMixer:
            try repMixer("\(block).mixer", channels: width, side: vision.repMixerKernel)
        case .attention:
            try plain("\(block).norm.weight", shape: [width])
            try plain("\(block).norm.bias", shape: [width])
            try linear("\(block).attention.qkv", outputs: 3 * width, inputs: width)
            try linear("\(block).attention.projection", outputs: width, inputs: width, bias: true)
            try channelScale("\(block).scale.mixer", channels: width)
        }
        try normalizedDepthwise("\(block).ffn.depthwise", channels: width, side: vision.feedForwardKernel)
        try pointwise("\(block).ffn.expand", outputs: hidden, inputs: width)
        try pointwise("\(block).ffn.project", outputs: width, inputs: hidden)
        try channelScale("\(block).scale.ffn", channels: width)
    }

    mutating func addProjector(features: Int, hidden: Int) throws(CheckpointError) {
        try linear("projector.0", outputs: hidden, inputs: features, bias: true)
        try linear("projector.1", outputs: hidden, inputs: hidden, bias: true)
    }

    mutating func addDecoder(_ text: DecoderConfiguration) throws(CheckpointError) {
        let hidden = text.hiddenSize
        try linear("decoder.embedding", outputs: text.vocabularySize, inputs: hidden)
        for layer in 0..<text.layers {
            let prefix = "decoder.layers.\(layer)"
            try plain("\(prefix).input_norm.weight", shape: [hidden])
            let bias = text.hasAttentionBias
            try linear("\(prefix).attention.query", outputs: text.queryWidth, inputs: hidden, bias: bias)
            try linear("\(prefix).attention.key", outputs: text.keyValueWidth, inputs: hidden, bias: bias)
            try linear("\(prefix).attention.value", outputs: text.keyValueWidth, inputs: hidden, bias: bias)
            try linear(
                "\(prefix).attention.output", outputs: hidden, inputs: text.queryWidth,
                bias: text.hasAttentionOutputBias)
            try plain("\(prefix).post_norm.weight", shape: [hidden])
            try linear("\(prefix).mlp.gate", outputs: text.intermediateSize, inputs: hidden)
            try linear("\(prefix).mlp.up", outputs: text.intermediateSize, inputs: hidden)
            try linear("\(prefix).mlp.down", outputs: hidden, inputs: text.intermediateSize)
        }
        try plain("decoder.norm.weight", shape: [hidden])
        if sources["decoder.output.weight"] != nil {
            try linear("decoder.output", outputs: text.vocabularySize, inputs: hidden)
            // Checked like any other, but a copy of the embedding table is not a weight of its own.
            if text.tiedEmbeddings { forget("decoder.output.weight") }
        }
        // A packed checkpoint's own copy of a tied table, in the form that a product reads.
        if sources["decoder.scores.weight"] != nil {
            try linear("decoder.scores", outputs: text.vocabularySize, inputs: hidden)
        }
    }
}
