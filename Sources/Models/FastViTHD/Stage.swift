package import Checkpoints
package import Tensors

/// One stage of the encoder: the downsampling that leads into it (all but the first), the conditional position
/// encoding (stages with attention) and its blocks.
package struct Stage: Sendable {
    private enum Block: Sendable {
        case repMixer(RepMixerBlock)
        case attention(AttentionBlock)
    }

    private let downsample: Downsample?
    /// RepCPE: a 7×7 depthwise convolution with the identity folded in; bias, no activation.
    private let position: DepthwiseWeights?
    private let blocks: [Block]

    package init(_ loader: WeightLoader, index: Int, configuration: FastViTHDConfiguration) throws {
        let channels = configuration.widths[index]
        let hidden = configuration.hiddenWidth(stage: index)
        downsample =
            index == 0
            ? nil
            : try Downsample(
                loader.part("downsample"), inputs: configuration.widths[index - 1], outputs: channels,
                kernel: configuration.largeKernel)
        position =
            configuration.positionEncoding[index]
            ? try loader.depthwise(
                "position", outputs: channels, inputs: channels, kernel: configuration.largeKernel)
            : nil
        blocks = try (0..<configuration.depths[index]).map { number in
            let part = loader.part("blocks.\(number)")
            switch configuration.tokenMixers[index] {
            case .repMixer:
                return .repMixer(
                    try RepMixerBlock(
                        part, channels: channels, hidden: hidden, kernel: configuration.feedForwardKernel))
            case .attention:
                return .attention(
                    try AttentionBlock(
                        part, channels: channels, hidden: hidden, headDimension: configuration.headDimension,
                        kernel: configuration.feedForwardKernel, epsilon: configuration.layerNormEpsilon))
            }
        }
    }

    /// - Parameter input: [height, width, channels of the stage before]; may be overwritten.
    /// - Returns: [⌈height / 2⌉, ⌈width / 2⌉, channels] (same extent for the first stage), in `workspace`.
    package func callAsFunction(
        _ input: FeatureMap, workspace: Workspace, on compute: Compute
    ) throws(TensorError) -> FeatureMap {
        var x = input
        if let downsample {
            try compute.checkCancellation()
            x = try downsample(input, workspace: workspace, on: compute)
        }
        var scratch = try workspace.map(height: x.height, width: x.width, channels: x.channels)
        if let position {
            compute.depthwise(x, position, into: scratch)
            swap(&x, &scratch)
        }
        for block in blocks {
            try compute.checkCancellation()
            switch block {
            case .repMixer(let block): block(&x, scratch: &scratch, on: compute)
            case .attention(let block): try block(x, scratch: scratch, workspace: workspace, on: compute)
            }
        }
        return x
    }
}

/// Patch embedding between stages: a strided 7×7 grouped convolution that doubles the channels, GELU, a 1×1
/// convolution, GELU. (Older FastViT variants have no activation after the large kernel.)
package struct Downsample: Sendable {
    private let outputs: Int
    private let large: DepthwiseWeights
    private let pointwise: Linear

    package init(_ loader: WeightLoader, inputs: Int, outputs: Int, kernel: Int) throws {
        self.outputs = outputs
        large = try loader.depthwise("large", outputs: outputs, inputs: inputs, kernel: kernel, stride: 2)
        pointwise = try loader.pointwise("pointwise", outputs: outputs, inputs: outputs)
    }

    /// - Parameter x: [height, width, inputs]
    /// - Returns: [⌈height / 2⌉, ⌈width / 2⌉, outputs], in `workspace`.
    package func callAsFunction(
        _ x: FeatureMap, workspace: Workspace, on compute: Compute
    ) throws(TensorError) -> FeatureMap {
        let height = FastViTHD.halved(x.height)
        let width = FastViTHD.halved(x.width)
        let y = try workspace.map(height: height, width: width, channels: outputs)
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let convolved = try workspace.map(height: height, width: width, channels: outputs)
        compute.depthwise(x, large, activation: .gelu, into: convolved)
        pointwise(convolved.matrix, activation: .gelu, into: y.matrix, on: compute)
        return y
    }
}
