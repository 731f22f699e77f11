internal import Checkpoints
package import Tensors

extension FastViTHD {
    /// The layers of one stage: the downsampling that leads into it (all but the first), the conditional position
    /// encoding (stages with attention) and its blocks.
    static func stage(
        _ loader: WeightLoader, index: Int, configuration: FastViTHDConfiguration
    ) throws -> [any EncoderLayer] {
        let channels = configuration.widths[index]
        let hidden = configuration.hiddenWidth(stage: index)
        var layers: [any EncoderLayer] = []
        if index > 0 {
            layers.append(
                try Downsample(
                    loader.part("downsample"), inputs: configuration.widths[index - 1], outputs: channels,
                    kernel: configuration.largeKernel))
        }
        if configuration.positionEncoding[index] {
            layers.append(
                try PositionEncoding(loader, channels: channels, kernel: configuration.largeKernel))
        }
        for number in 0..<configuration.depths[index] {
            let part = loader.part("blocks.\(number)")
            switch configuration.tokenMixers[index] {
            case .repMixer:
                layers.append(
                    try RepMixerBlock(
                        part, channels: channels, hidden: hidden, kernel: configuration.feedForwardKernel))
            case .attention:
                layers.append(
                    try AttentionBlock(
                        part, channels: channels, hidden: hidden, headDimension: configuration.headDimension,
                        kernel: configuration.feedForwardKernel, epsilon: configuration.layerNormEpsilon))
            }
        }
        return layers
    }
}

/// Patch embedding between stages: a strided 7×7 grouped convolution that doubles the channels, GELU, a 1×1
/// convolution, GELU. (Older FastViT variants have no activation after the large kernel.)
package struct Downsample: EncoderLayer {
    private let outputs: Int
    private let large: DepthwiseWeights
    private let pointwise: Linear

    package init(_ loader: WeightLoader, inputs: Int, outputs: Int, kernel: Int) throws {
        self.outputs = outputs
        large = try loader.depthwise("large", outputs: outputs, inputs: inputs, kernel: kernel, stride: 2)
        pointwise = try loader.pointwise("pointwise", outputs: outputs, inputs: outputs)
    }

    package var slices: Int { 1 }

    /// [height, width, inputs] → [⌈height / 2⌉, ⌈width / 2⌉, outputs].
    package func run(
        slice: Int, _ maps: inout EncoderMaps, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        let height = FastViTHD.halved(maps.x.height)
        let width = FastViTHD.halved(maps.x.width)
        let convolved = try workspace.map(height: height, width: width, channels: outputs)
        let y = try workspace.map(height: height, width: width, channels: outputs)
        compute.depthwise(maps.x, large, activation: .gelu, into: convolved)
        pointwise(convolved.matrix, activation: .gelu, into: y.matrix, on: compute)
        (maps.x, maps.scratch) = (y, convolved)
    }
}

/// RepCPE: a depthwise 7×7 convolution with the identity folded in; bias, no activation.
package struct PositionEncoding: EncoderLayer {
    private let convolution: DepthwiseWeights

    /// - Parameter loader: at the stage; reads `position`.
    package init(_ loader: WeightLoader, channels: Int, kernel: Int) throws {
        convolution = try loader.depthwise("position", outputs: channels, inputs: channels, kernel: kernel)
    }

    package var slices: Int { 1 }

    /// x ← x + positions(x), shape kept.
    package func run(
        slice: Int, _ maps: inout EncoderMaps, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        compute.depthwise(maps.x, convolution, into: maps.scratch)
        maps.swap()
    }
}
