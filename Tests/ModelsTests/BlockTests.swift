import Checkpoints
import Models
import Tensors
import TestSupport
import Testing

/// Each block against PyTorch's (timm's and transformers') output for the same weights, in float32, on every
/// instruction set that this machine has.
@Suite("Blocks equal PyTorch's")
struct BlockTests {
    static let bound = 1e-5

    /// Runs `body` for each instruction set and each input of a fixture.
    private func check(
        _ name: String, _ body: (WeightLoader, Tensor, Workspace, Compute) throws -> [Float]
    ) throws {
        let file = try TensorFile("models/blocks/\(name).safetensors")
        let cases = try file.cases
        #expect(!cases.isEmpty)
        for instructionSet in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: instructionSet)
            for (number, (input, output)) in cases.enumerated() {
                let loader = WeightLoader(file, format: .float32, compute: compute)
                let got = try body(loader, input, Workspace(), compute)
                #expect(got.count == output.count)
                let error = relativeError(got, output.floats())
                #expect(error <= Self.bound, "\(name), input \(number), \(instructionSet): \(error)")
            }
        }
    }

    /// A layer's output, all slices in order, into poisoned memory.
    private func output(
        of layer: some EncoderLayer, _ input: Tensor, _ workspace: Workspace, _ compute: Compute
    ) throws -> [Float] {
        let x = try workspace.map(input)
        var maps = EncoderMaps(pixels: x)
        maps.scratch = try workspace.map(height: x.height, width: x.width, channels: x.channels)
        let mark = workspace.mark()
        _ = try workspace.poisoned(1 << 20, 1)
        workspace.release(to: mark)
        maps.scratch.buffer.update(repeating: .nan)
        for slice in 0..<layer.slices {
            try layer.run(slice: slice, &maps, workspace: workspace, on: compute)
        }
        return Array(maps.x.buffer)
    }

    @Test("The stem takes three channels to the first width at a quarter of the resolution")
    func stem() throws {
        try check("stem") { loader, input, workspace, compute in
            try output(
                of: Stem(loader.part("vision.stem"), channels: 12), input, workspace, compute)
        }
    }

    @Test("A RepMixer block mixes with 3×3, then adds its scaled feed-forward")
    func repMixer() throws {
        try check("repmixer") { loader, input, workspace, compute in
            let block = try RepMixerBlock(
                loader.part("vision.stages.0.blocks.0"), channels: 20, hidden: 60, kernel: 7)
            return try output(of: block, input, workspace, compute)
        }
    }

    @Test("Downsampling has GELU after both of its convolutions")
    func downsample() throws {
        try check("downsample") { loader, input, workspace, compute in
            let block = try Downsample(
                loader.part("vision.stages.1.downsample"), inputs: 12, outputs: 24, kernel: 7)
            return try output(of: block, input, workspace, compute)
        }
    }

    @Test("The position encoding is one convolution with the identity folded in, without activation")
    func position() throws {
        try check("position") { loader, input, workspace, compute in
            let position = try PositionEncoding(
                loader.part("vision.stages.3"), channels: 20, kernel: 7)
            return try output(of: position, input, workspace, compute)
        }
    }

    @Test("An attention block attends over all positions of the normalised map")
    func attention() throws {
        try check("attention") { loader, input, workspace, compute in
            let block = try AttentionBlock(
                loader.part("vision.stages.3.blocks.0"), channels: 64, hidden: 64, headDimension: 32,
                kernel: 7,
                epsilon: 1e-5)
            return try output(of: block, input, workspace, compute)
        }
    }

    @Test("The final convolution squeezes and excites before its GELU")
    func final() throws {
        try check("final") { loader, input, workspace, compute in
            let configuration = FastViTHDConfiguration(
                depths: [1], widths: [32], mlpRatios: [1], tokenMixers: [.repMixer],
                positionEncoding: [false],
                finalChannels: 64, squeezeReduction: 4)
            let final = try FinalConvolution(loader.part("vision"), configuration: configuration)
            let y = try workspace.poisoned(input.shape[0] * input.shape[1], 64)
            try final(workspace.map(input), into: y, workspace: workspace, on: compute)
            return Array(UnsafeBufferPointer(start: y.pointer, count: y.rows * y.columns))
        }
    }

    @Test("The projector is linear, GELU, linear")
    func projector() throws {
        try check("projector") { loader, input, workspace, compute in
            let projector = try Projector(loader, inputs: 48, outputs: 40)
            let y = try workspace.poisoned(input.shape[0], 40)
            try projector(workspace.matrix(input), into: y, workspace: workspace, on: compute)
            return Array(UnsafeBufferPointer(start: y.pointer, count: y.rows * y.columns))
        }
    }

    @Test(
        "A decoder layer equals transformers' over a prompt and two further positions",
        arguments: ["qwen2", "llama"])
    func decoderLayer(family: String) throws {
        let name = "decoder-\(family)"
        let file = try TensorFile("models/blocks/\(name).safetensors")
        func number(_ key: String) throws -> Double { try #require(file.settings[key]) }
        let inputs = try file["input"]
        let headDimension = Int(try number("headDimension"))
        let configuration = DecoderConfiguration(
            hiddenSize: inputs.shape[1], layers: 1, heads: Int(try number("heads")),
            keyValueHeads: Int(try number("keyValueHeads")), headDimension: headDimension,
            intermediateSize: 80,
            vocabularySize: 1, rmsNormEpsilon: Float(try number("rmsNormEpsilon")),
            ropeTheta: Float(try number("ropeTheta")), maximumPositions: 64, tiedEmbeddings: true,
            hasAttentionBias: family == "qwen2")
        for instructionSet in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: instructionSet)
            let loader = WeightLoader(file, format: .float32, compute: compute)
            let layer = try DecoderLayer(loader.part("decoder.layers.0"), configuration: configuration)
            let rotary = try RotaryTable(
                headDimension: headDimension, theta: try number("ropeTheta"), positions: 64)
            let cache = KeyValueCache(
                KeyValueShape(layers: 1, width: configuration.keyValueWidth, isBFloat16: false))
            let batch = DecoderBatch()
            let workspace = Workspace()
            // The cache carries the first positions over to the later ones.
            for (input, output) in try file.cases {
                try cache.reserve(cache.count + input.shape[0])
                let x = try workspace.matrix(input)
                batch.removeAll()
                batch.append(cache, positions: x.rows, wanted: x.rows)
                try layer(x, batch: batch, index: 0, rotary: rotary, workspace: workspace, on: compute)
                cache.advance(by: x.rows)
                let got = UnsafeBufferPointer(start: x.pointer, count: x.rows * x.columns)
                let error = relativeError(got, output.floats())
                #expect(error <= Self.bound, "\(name), \(instructionSet), up to \(cache.count): \(error)")
            }
        }
    }
}
