package import Tensors

/// A convolutional block: the RepMixer token mixer, at inference one 3×3 depthwise convolution with the identity
/// folded in and no activation, followed by the convolutional feed-forward (FastViT, section 3.2).
package struct RepMixerBlock: Sendable {
    private let mixer: DepthwiseWeights
    private let feedForward: ConvFeedForward

    package init(_ loader: WeightLoader, channels: Int, hidden: Int, kernel: Int) throws {
        mixer = try loader.depthwise("mixer", outputs: channels, inputs: channels, kernel: 3)
        feedForward = try ConvFeedForward(loader, channels: channels, hidden: hidden, kernel: kernel)
    }

    /// x ← mixer(x); x ← x + scale ⊙ FFN(x).
    ///
    /// The two maps change roles, so that the mixer's output needs no third one.
    /// - Parameters:
    ///   - x: [height, width, channels], updated
    ///   - scratch: same shape, overwritten
    package func callAsFunction(_ x: inout FeatureMap, scratch: inout FeatureMap, on compute: Compute) {
        compute.depthwise(x, mixer, into: scratch)
        swap(&x, &scratch)
        feedForward.add(to: x, scratch: scratch, on: compute)
    }
}
