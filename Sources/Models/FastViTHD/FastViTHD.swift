package import Checkpoints
package import Tensors

/// The FastViTHD encoder (FastVLM, section 3.2): five stages with strides 4, 8, 16, 32 and 64, convolutional
/// blocks in the first three and attention in the last two, then a 3×3 convolution that doubles the channels.
///
/// Depths, widths and token mixers come from the configuration. At 1024×1024 the published one turns
/// 1,048,576 pixels into 16×16 = 256 tokens of 3,072 channels.
package struct FastViTHD: Sendable {
    package let configuration: FastViTHDConfiguration
    private let stem: Stem
    private let stages: [Stage]
    private let final: FinalConvolution

    /// - Parameters:
    ///   - loader: at the root of the canonical names; reads `vision.*`
    ///   - progress: told the fraction of the stages loaded; may throw to stop loading
    package init(
        _ loader: WeightLoader, configuration: FastViTHDConfiguration,
        progress: (Double) throws -> Void = { _ in }
    ) throws {
        self.configuration = configuration
        let vision = loader.part("vision")
        stem = try Stem(vision.part("stem"), channels: configuration.widths[0])
        stages = try configuration.widths.indices.map { index in
            try progress(Double(index) / Double(configuration.widths.count))
            return try Stage(vision.part("stages.\(index)"), index: index, configuration: configuration)
        }
        final = try FinalConvolution(vision, configuration: configuration)
    }

    /// Output channels per token.
    package var featureChannels: Int { configuration.finalChannels }

    /// Tokens per side for an image of `side` pixels: each of the strided layers gives ceil(n / 2).
    package func tokensPerSide(_ side: Int) -> Int {
        (0..<(stages.count + 1)).reduce(side) { extent, _ in (extent + 1) / 2 }
    }

    /// - Parameters:
    ///   - pixels: [height, width, 3], rescaled and normalised
    ///   - features: [tokens, featureChannels], overwritten; tokens in row-major order of the final map
    /// - Throws: `TensorError.cancelled` between operations, `allocationFailed`.
    package func encode(
        _ pixels: FeatureMap, into features: Matrix, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        var x = try workspace.map(
            height: Self.halved(Self.halved(pixels.height)), width: Self.halved(Self.halved(pixels.width)),
            channels: configuration.widths[0])
        try stem(pixels, into: x, workspace: workspace, on: compute)
        for stage in stages {
            x = try stage(x, workspace: workspace, on: compute)
        }
        try final(x, into: features, workspace: workspace, on: compute)
    }

    /// Extent after a strided convolution with "same" padding.
    static func halved(_ extent: Int) -> Int { (extent + 1) / 2 }
}

/// The three convolutions that take 3 channels to the first width at a quarter of the resolution, each followed
/// by GELU (MobileOne blocks, re-parameterised).
package struct Stem: Sendable {
    private let channels: Int
    private let dense: StemWeights
    private let depthwise: DepthwiseWeights
    private let pointwise: Linear

    package init(_ loader: WeightLoader, channels: Int) throws {
        self.channels = channels
        dense = try StemWeights(
            weight: loader.taps("0.weight", shape: [channels, 3, 3, 3]),
            bias: loader.bias("0.bias", count: channels), stride: 2,
            format: loader.sensitiveFormat, compute: loader.compute)
        depthwise = try loader.depthwise("1", outputs: channels, inputs: channels, kernel: 3, stride: 2)
        pointwise = try loader.pointwise("2", outputs: channels, inputs: channels)
    }

    /// - Parameters:
    ///   - pixels: [height, width, 3]
    ///   - y: [⌈height / 4⌉, ⌈width / 4⌉, channels], overwritten
    package func callAsFunction(
        _ pixels: FeatureMap, into y: FeatureMap, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let half = try workspace.map(
            height: FastViTHD.halved(pixels.height), width: FastViTHD.halved(pixels.width), channels: channels
        )
        let quarter = try workspace.map(height: y.height, width: y.width, channels: channels)
        compute.stem(pixels, dense, activation: .gelu, into: half)
        try compute.checkCancellation()
        compute.depthwise(half, depthwise, activation: .gelu, into: quarter)
        try compute.checkCancellation()
        pointwise(quarter.matrix, activation: .gelu, into: y.matrix, on: compute)
    }
}

/// The 3×3 depthwise convolution with multiplier 2 after the last stage, squeeze-and-excite, then GELU.
package struct FinalConvolution: Sendable {
    private let channels: Int
    private let reduced: Int
    private let convolution: DepthwiseWeights
    private let reduce: Linear
    private let expand: Linear

    /// - Parameter loader: at `vision`; reads `final.*`.
    package init(_ loader: WeightLoader, configuration: FastViTHDConfiguration) throws {
        channels = configuration.finalChannels
        reduced = configuration.squeezeReduction
        convolution = try loader.depthwise(
            "final", outputs: channels, inputs: configuration.widths[configuration.widths.count - 1],
            kernel: 3)
        reduce = try loader.linear(
            "final.squeeze.reduce", outputs: reduced, inputs: channels,
            isSensitive: true)
        expand = try loader.linear(
            "final.squeeze.expand", outputs: channels, inputs: reduced,
            isSensitive: true)
    }

    /// - Parameters:
    ///   - x: [height, width, channels / 2]
    ///   - features: [height × width, channels], overwritten
    package func callAsFunction(
        _ x: FeatureMap, into features: Matrix, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let y = FeatureMap(
            pointer: features.pointer, height: x.height, width: x.width, channels: channels)
        let gate = try workspace.matrix(1, channels)
        let squeezed = try workspace.matrix(1, reduced)
        compute.depthwise(x, convolution, into: y)
        // MobileOne order: convolution → squeeze-and-excite → activation.
        compute.channelMeans(y, into: gate)
        reduce(gate, activation: .relu, into: squeezed, on: compute)
        expand(squeezed, into: gate, on: compute)
        compute.sigmoid(gate)
        compute.multiplyChannels(y, by: gate, activation: .gelu)
    }
}
