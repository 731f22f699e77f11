internal import Tensors

/// ConvFFN (FastViT): a 7×7 depthwise convolution with its BatchNorm folded in, then expand → GELU → project,
/// scaled per channel and added to the input. About 90 % of the encoder's arithmetic is here.
struct ConvFeedForward: Sendable {
    let depthwise: DepthwiseWeights
    let expand: Linear
    let project: Linear
    /// Layer scale [channels] of this branch.
    let scale: Vector

    /// - Parameters:
    ///   - loader: at the block; reads `ffn.*` and `scale.ffn`
    ///   - hidden: channels between expand and project
    init(_ loader: WeightLoader, channels: Int, hidden: Int, kernel: Int) throws {
        let part = loader.part("ffn")
        depthwise = try part.depthwise("depthwise", outputs: channels, inputs: channels, kernel: kernel)
        expand = try part.linear("expand", outputs: hidden, inputs: channels, isFused: true)
        project = try part.linear("project", outputs: channels, inputs: hidden, isFused: true)
        scale = try loader.vector("scale.ffn", count: channels)
    }

    /// x += scale ⊙ FFN(x).
    /// - Parameters:
    ///   - x: [height, width, channels], updated in place
    ///   - scratch: same shape, overwritten
    func add(to x: FeatureMap, scratch: FeatureMap, on compute: Compute) {
        // No activation between the depthwise convolution and expand.
        compute.depthwise(x, depthwise, into: scratch)
        compute.feedForwardAdding(
            scratch.matrix, expand: expand.weight, expandBias: expand.bias,
            project: project.weight, projectBias: project.bias, scale: scale, to: x.matrix)
    }
}
