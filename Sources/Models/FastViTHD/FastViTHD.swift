package import Checkpoints
package import Tensors

/// The FastViTHD encoder (FastVLM, section 3.2): five stages with strides 4, 8, 16, 32 and 64, convolutional
/// blocks in the first three and attention in the last two, then a 3×3 convolution that doubles the channels.
///
/// Depths, widths and token mixers come from the configuration. At 1024×1024 the published one turns
/// 1,048,576 pixels into 16×16 = 256 tokens of 3,072 channels.
package struct FastViTHD: VisionTower {
    package let configuration: FastViTHDConfiguration
    /// The stem, then what leads into each stage and its blocks.
    let layers: [any EncoderLayer]
    let final: FinalConvolution
    /// Slices of all layers and of the final convolution.
    let slices: Int

    /// - Parameters:
    ///   - loader: at the root of the canonical names; reads `vision.*`
    ///   - progress: told the fraction of the stages loaded; may throw to stop loading
    package init(
        _ loader: WeightLoader, configuration: FastViTHDConfiguration,
        progress: (Double) throws -> Void = { _ in }
    ) throws {
        self.configuration = configuration
        let vision = loader.part("vision")
        var layers: [any EncoderLayer] = [
            try Stem(vision.part("stem"), channels: configuration.widths[0])
        ]
        for index in configuration.widths.indices {
            try progress(Double(index) / Double(configuration.widths.count))
            layers += try Self.stage(
                vision.part("stages.\(index)"), index: index, configuration: configuration)
        }
        self.layers = layers
        final = try FinalConvolution(vision, configuration: configuration)
        slices = layers.reduce(1) { $0 + $1.slices }
    }

    package var featureChannels: Int { configuration.finalChannels }

    package func tokens(height: Int, width: Int) -> Int {
        configuration.tokens(height: height, width: width)
    }

    package func encode(
        _ pixels: FeatureMap, into features: Matrix, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        var run = FastViTHDRun(self, pixels: pixels, features: features, workspace: workspace)
        try run.finish(on: compute)
    }

    package func begin(
        _ pixels: FeatureMap, into features: Matrix, workspace: Workspace
    ) -> any VisionEncoding {
        SlicedEncoding(FastViTHDRun(self, pixels: pixels, features: features, workspace: workspace))
    }

    /// Extent after a strided convolution with "same" padding.
    static func halved(_ extent: Int) -> Int { (extent + 1) / 2 }
}

/// The three convolutions that take 3 channels to the first width at a quarter of the resolution, each followed
/// by GELU (MobileOne blocks, re-parameterised).
package struct Stem: EncoderLayer {
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

    package var slices: Int { 3 }

    /// [height, width, 3] → [⌈height / 4⌉, ⌈width / 4⌉, channels], a convolution per slice.
    package func run(
        slice: Int, _ maps: inout EncoderMaps, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        switch slice {
        case 0:
            let pixels = maps.x
            let (height, width) = (FastViTHD.halved(pixels.height), FastViTHD.halved(pixels.width))
            maps.scratch = try workspace.map(
                height: FastViTHD.halved(height), width: FastViTHD.halved(width), channels: channels)
            // The largest map of the whole encoder makes room for what follows.
            maps.mark = workspace.mark()
            maps.x = try workspace.map(height: height, width: width, channels: channels)
            compute.stem(pixels, dense, activation: .gelu, into: maps.x)
        case 1:
            compute.depthwise(maps.x, depthwise, activation: .gelu, into: maps.scratch)
            maps.swap()
            if let mark = maps.mark { workspace.release(to: mark) }
            maps.scratch = try workspace.map(
                height: maps.x.height, width: maps.x.width, channels: channels)
        default:
            pointwise(maps.x.matrix, activation: .gelu, into: maps.scratch.matrix, on: compute)
            maps.swap()
        }
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
