/// The vision tower: a convolutional stem, stages that halve the side and (usually) double the channels, and
/// a last expansion with squeeze-and-excitation.
///
/// Read from the tensors, because the published configurations name the architecture but not its numbers.
package struct FastViTHDConfiguration: Sendable, Equatable {
    /// How a block mixes positions.
    package enum TokenMixer: String, Sendable, Equatable {
        /// A folded depthwise 3×3 convolution.
        case repMixer = "repmixer"
        /// Multi-head self-attention over all positions.
        case attention
    }

    /// Blocks per stage.
    package var depths: [Int]
    /// Channels per stage.
    package var widths: [Int]
    /// Width of the feed-forward layer as a multiple of the stage's channels; see ``hiddenWidth(stage:)``.
    package var mlpRatios: [Float]
    package var tokenMixers: [TokenMixer]
    /// Whether a stage begins with a (folded) conditional positional encoding: a depthwise 7×7 convolution.
    package var positionEncoding: [Bool]
    /// Channels of the feature map, after the last expansion.
    package var finalChannels: Int
    /// Channels inside squeeze-and-excitation.
    package var squeezeReduction: Int

    package init(
        depths: [Int], widths: [Int], mlpRatios: [Float], tokenMixers: [TokenMixer], positionEncoding: [Bool],
        finalChannels: Int, squeezeReduction: Int
    ) {
        self.depths = depths
        self.widths = widths
        self.mlpRatios = mlpRatios
        self.tokenMixers = tokenMixers
        self.positionEncoding = positionEncoding
        self.finalChannels = finalChannels
        self.squeezeReduction = squeezeReduction
    }

    package var stageCount: Int { depths.count }
    /// Channels of one attention head.
    package var headDimension: Int { 32 }
    /// Side of the downsampling and positional kernels.
    package var largeKernel: Int { 7 }
    /// Side of the depthwise kernel inside the feed-forward layer.
    package var feedForwardKernel: Int { 7 }
    package var repMixerKernel: Int { 3 }
    package var layerNormEpsilon: Float { 1e-5 }
    /// Pixels per feature: 4 by the stem, 2 by every stage but the first.
    package var stride: Int { 4 << (stageCount - 1) }

    /// Visual tokens of an image, in pixels: each of the strided layers, two in the stem, gives ⌈n / 2⌉.
    package func tokens(height: Int, width: Int) -> Int {
        let halvings = 0..<(stageCount + 1)
        return halvings.reduce(height) { extent, _ in (extent + 1) / 2 }
            * halvings.reduce(width) { extent, _ in (extent + 1) / 2 }
    }

    /// Channels inside the feed-forward layer of a stage.
    package func hiddenWidth(stage: Int) -> Int { Int((Float(widths[stage]) * mlpRatios[stage]).rounded()) }

    /// The ratio that gives `hidden` whether a reader rounds or truncates `width × ratio`.
    static func mlpRatio(hidden: Int, width: Int) -> Float {
        let ratio = Float(hidden) / Float(width)
        return Int(Float(width) * ratio) < hidden ? ratio.nextUp : ratio
    }
}
