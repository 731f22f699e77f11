package import Tensors

/// A convolutional block: the RepMixer token mixer, at inference one 3×3 depthwise convolution with the identity
/// folded in and no activation, followed by the convolutional feed-forward (FastViT, section 3.2).
package struct RepMixerBlock: EncoderLayer {
    private let mixer: DepthwiseWeights
    private let feedForward: ConvFeedForward

    package init(_ loader: WeightLoader, channels: Int, hidden: Int, kernel: Int) throws {
        mixer = try loader.depthwise("mixer", outputs: channels, inputs: channels, kernel: 3)
        feedForward = try ConvFeedForward(loader, channels: channels, hidden: hidden, kernel: kernel)
    }

    package var slices: Int { 2 }

    /// x ← mixer(x); x ← x + scale ⊙ FFN(x). Shape kept.
    ///
    /// The two maps change roles, so that the mixer's output needs no third one.
    package func run(
        slice: Int, _ maps: inout EncoderMaps, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        if slice == 0 {
            compute.depthwise(maps.x, mixer, into: maps.scratch)
            maps.swap()
        } else {
            feedForward.add(to: maps.x, scratch: maps.scratch, on: compute)
        }
    }
}
