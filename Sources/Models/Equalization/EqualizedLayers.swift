internal import Checkpoints

/// A place of a network where channels are multiplied with one weight and, nothing nonlinear in between, read by others: a
/// power of two can move from the one to the others, and the function stays what it is.
struct EqualizedLayers: Sendable {
    /// What makes the channels: row `first + c` of it is channel c.
    struct Producer: Sendable {
        let name: String
        let shape: [Int]
        var first = 0
    }

    /// A matrix that reads the channels.
    struct Consumer: Sendable {
        let name: String
        let shape: [Int]
        /// The weight that it is when the checkpoint has none of that name.
        var alias: String?
        /// Query heads that share a head of keys and values.
        var sharing = 1
        var headDimension = 1

        /// The channel that an input reads.
        func channel(of input: Int) -> Int {
            input / (headDimension * sharing) * headDimension + input % headDimension
        }
    }

    let channels: Int
    /// The first one's sizes count; the others are biases, which go with it.
    let producers: [Producer]
    let consumers: [Consumer]

    /// The sites of a model.
    /// - Parameter contains: whether the checkpoint has a weight of that name
    static func all(_ configuration: ModelConfiguration, contains: (String) -> Bool) -> [EqualizedLayers] {
        var sites = decoder(configuration.text, contains: contains)
        switch configuration.vision {
        case .fastViTHD(let tower): sites += fastViTHD(tower, contains: contains)
        case .visionTransformer(let tower): sites += visionTransformer(tower, contains: contains)
        }
        return sites
    }

    private static func decoder(
        _ configuration: DecoderConfiguration, contains: (String) -> Bool
    ) -> [EqualizedLayers] {
        let (hidden, intermediate) = (configuration.hiddenSize, configuration.intermediateSize)
        let (queries, keys) = (configuration.queryWidth, configuration.keyValueWidth)
        func norm(_ name: String, _ consumers: [Consumer]) -> EqualizedLayers {
            EqualizedLayers(
                channels: hidden, producers: [Producer(name: name, shape: [hidden])], consumers: consumers)
        }
        // Rows of a tied table are looked up as well, so what scores them is another weight from then on.
        let scores =
            configuration.tiedEmbeddings
            ? Consumer(
                name: "decoder.scores.weight", shape: [configuration.vocabularySize, hidden],
                alias: "decoder.embedding.weight")
            : Consumer(name: "decoder.output.weight", shape: [configuration.vocabularySize, hidden])
        var sites = [norm("decoder.norm.weight", [scores])]
        for number in 0..<configuration.layers {
            let layer = "decoder.layers.\(number)."
            let (attention, mlp) = (layer + "attention.", layer + "mlp.")
            sites.append(
                norm(
                    layer + "input_norm.weight",
                    [("query", queries), ("key", keys), ("value", keys)].map {
                        Consumer(name: "\(attention)\($0).weight", shape: [$1, hidden])
                    }))
            sites.append(
                norm(
                    layer + "post_norm.weight",
                    ["gate", "up"].map {
                        Consumer(name: "\(mlp)\($0).weight", shape: [intermediate, hidden])
                    }))
            sites.append(
                EqualizedLayers(
                    channels: keys,
                    producers: rows("\(attention)value", of: [keys, hidden], contains: contains),
                    consumers: [
                        Consumer(
                            name: "\(attention)output.weight", shape: [hidden, queries],
                            sharing: configuration.heads / configuration.keyValueHeads,
                            headDimension: configuration.headDimension)
                    ]))
            sites.append(
                EqualizedLayers(
                    channels: intermediate,
                    producers: [Producer(name: "\(mlp)up.weight", shape: [intermediate, hidden])],
                    consumers: [Consumer(name: "\(mlp)down.weight", shape: [hidden, intermediate])]))
        }
        return sites
    }

    private static func fastViTHD(
        _ configuration: FastViTHDConfiguration, contains: (String) -> Bool
    ) -> [EqualizedLayers] {
        var sites: [EqualizedLayers] = []
        let kernel = configuration.feedForwardKernel
        for (stage, width) in configuration.widths.enumerated() {
            let hidden = configuration.hiddenWidth(stage: stage)
            for number in 0..<configuration.depths[stage] {
                let block = "vision.stages.\(stage).blocks.\(number)."
                sites.append(
                    EqualizedLayers(
                        channels: width,
                        producers: rows(
                            block + "ffn.depthwise", of: [width, 1, kernel, kernel], contains: contains),
                        consumers: [Consumer(name: block + "ffn.expand.weight", shape: [hidden, width])]))
                guard configuration.tokenMixers[stage] == .attention else { continue }
                let fused = block + "attention.qkv"
                sites.append(
                    EqualizedLayers(
                        channels: width, producers: rows(block + "norm", of: [width], contains: contains),
                        consumers: [Consumer(name: fused + ".weight", shape: [3 * width, width])]))
                // Values are the last third of the fused matrix, in the order that the projection reads.
                sites.append(
                    EqualizedLayers(
                        channels: width,
                        producers: rows(
                            fused, of: [3 * width, width], first: 2 * width, contains: contains),
                        consumers: [
                            Consumer(name: block + "attention.projection.weight", shape: [width, width])
                        ]))
            }
        }
        return sites
    }

    private static func visionTransformer(
        _ configuration: VisionTransformerConfiguration, contains: (String) -> Bool
    ) -> [EqualizedLayers] {
        let (width, hidden) = (configuration.width, configuration.hidden)
        return (0..<configuration.layers).flatMap { number in
            let block = "vision.layers.\(number)."
            return [
                EqualizedLayers(
                    channels: width,
                    producers: rows(block + "attention_norm", of: [width], contains: contains),
                    consumers: ["query", "key", "value"].map {
                        Consumer(name: block + "attention.\($0).weight", shape: [width, width])
                    }),
                EqualizedLayers(
                    channels: width,
                    producers: rows(block + "attention.value", of: [width, width], contains: contains),
                    consumers: [Consumer(name: block + "attention.output.weight", shape: [width, width])]),
                EqualizedLayers(
                    channels: width, producers: rows(block + "mlp_norm", of: [width], contains: contains),
                    consumers: [Consumer(name: block + "mlp.expand.weight", shape: [hidden, width])]),
            ]
        }
    }

    /// A module's weight and, where there is one, its bias.
    private static func rows(
        _ module: String, of shape: [Int], first: Int = 0, contains: (String) -> Bool
    ) -> [Producer] {
        let weight = Producer(name: module + ".weight", shape: shape, first: first)
        guard contains(module + ".bias") else { return [weight] }
        return [weight, Producer(name: module + ".bias", shape: [shape[0]], first: first)]
    }
}
