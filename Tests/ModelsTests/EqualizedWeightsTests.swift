import Checkpoints
import Models
import Tensors
import TestSupport
import Testing

@Suite("Channels that were rescaled become what they were before integers are made of them")
struct BalancedWeightsTests {
    static let text = DecoderConfiguration(
        hiddenSize: 64, layers: 2, heads: 6, keyValueHeads: 2, headDimension: 16, intermediateSize: 80,
        vocabularySize: 72, rmsNormEpsilon: 1e-6, ropeTheta: 1e4, maximumPositions: 64,
        tiedEmbeddings: false, hasAttentionBias: true)
    static let tower = FastViTHDConfiguration(
        depths: [1, 1], widths: [32, 64], mlpRatios: [3, 3], tokenMixers: [.repMixer, .attention],
        positionEncoding: [false, true], finalChannels: 128, squeezeReduction: 8)

    static func configuration(isTied: Bool = false) -> ModelConfiguration {
        var text = text
        text.tiedEmbeddings = isTied
        return ModelConfiguration(
            vision: .fastViTHD(tower), text: text,
            preprocessing: ImagePreprocessing(geometry: .pad, size: 64),
            maximumSequenceLength: 64, modelType: "test")
    }

    /// Weights of ordinary size by name: 1 to 2, of either sign.
    struct Weights: WeightSource {
        var tensors: [String: Tensor] = [:]
        var integers: Set<String> = []

        func contains(_ name: String) -> Bool { tensors[name] != nil }
        func tensor(_ name: String, shape: [Int]) throws -> Tensor {
            guard let tensor = tensors[name], tensor.shape == shape else {
                throw CheckpointError.missingTensor(tensor: name, shape: shape, location: "here", others: 0)
            }
            return tensor
        }
        func matrix(_ name: String, shape: [Int]) throws -> MatrixValues {
            let tensor = try tensor(name, shape: shape)
            guard integers.contains(name) else { return .numbers(tensor) }
            let words = try Storage(byteCount: tensor.count / 2)
            let groups = [shape[0], shape[1] / 32]
            let ones = try Tensor([Float](repeating: 1, count: groups[0] * groups[1]), shape: groups)
            return .integers(
                try IntegerMatrix(
                    words: Tensor(.uint32, shape: [shape[0], shape[1] / 8], storage: words), scales: ones,
                    biases: ones, outputs: shape[0], inputs: shape[1], bits: 4, group: 32))
        }

        /// Multiplies rows, or columns, with 2^exponent.
        mutating func scale(_ name: String, rows: [Int] = [], columns: [Int] = [], by exponent: Int) throws {
            guard let tensor = tensors[name] else { return }
            var values = tensor.floats()
            let width = tensor.count / tensor.shape[0]
            let factor = Float(sign: .plus, exponent: exponent, significand: 1)
            for row in rows { for index in 0..<width { values[row * width + index] *= factor } }
            for column in columns {
                for row in 0..<tensor.shape[0] { values[row * width + column] *= factor }
            }
            tensors[name] = try Tensor(values, shape: tensor.shape).stored(as: tensor.dataType)
        }
    }

    static func weights(_ type: DataType, isTied: Bool, _ generator: inout SeededGenerator) throws -> Weights
    {
        var shapes: [String: [Int]] = ["decoder.norm.weight": [64], "decoder.embedding.weight": [72, 64]]
        if !isTied { shapes["decoder.output.weight"] = [72, 64] }
        for layer in 0..<2 {
            let prefix = "decoder.layers.\(layer)."
            for (name, shape) in [
                ("input_norm.weight", [64]), ("attention.query.weight", [96, 64]),
                ("attention.key.weight", [32, 64]), ("attention.value.weight", [32, 64]),
                ("attention.value.bias", [32]), ("attention.output.weight", [64, 96]),
                ("post_norm.weight", [64]), ("mlp.gate.weight", [80, 64]), ("mlp.up.weight", [80, 64]),
                ("mlp.down.weight", [64, 80]),
            ] { shapes[prefix + name] = shape }
        }
        for (stage, width) in [32, 64].enumerated() {
            let block = "vision.stages.\(stage).blocks.0."
            for (name, shape) in [
                ("ffn.depthwise.weight", [width, 1, 7, 7]), ("ffn.depthwise.bias", [width]),
                ("ffn.expand.weight", [3 * width, width]),
            ] { shapes[block + name] = shape }
        }
        for (name, shape) in [
            ("norm.weight", [64]), ("norm.bias", [64]), ("attention.qkv.weight", [192, 64]),
            ("attention.qkv.bias", [192]), ("attention.projection.weight", [64, 64]),
        ] { shapes["vision.stages.1.blocks.0." + name] = shape }
        var weights = Weights()
        for (name, shape) in shapes.sorted(by: { $0.key < $1.key }) {
            let values = (0..<shape.reduce(1, *)).map { _ in
                Float.random(in: 1..<1.99, using: &generator) * (Bool.random(using: &generator) ? 1 : -1)
            }
            weights.tensors[name] = try Tensor(values, shape: shape).stored(as: type)
        }
        return weights
    }

    /// One rescaling of channels: names of what makes them, from which row, and columns of what reads them.
    struct Site {
        let channels: Int
        let makes: [String]
        var first = 0
        let reads: [String]
        /// The columns that read a channel.
        var columns: @Sendable (Int) -> [Int] = { [$0] }
    }

    /// Written down independently of the code that is tested.
    static func sites(isTied: Bool) -> [Site] {
        var sites: [Site] = []
        if !isTied {
            sites.append(
                Site(channels: 64, makes: ["decoder.norm.weight"], reads: ["decoder.output.weight"]))
        }
        for layer in 0..<2 {
            let (prefix, attention) = ("decoder.layers.\(layer).", "decoder.layers.\(layer).attention.")
            sites.append(
                Site(
                    channels: 64, makes: [prefix + "input_norm.weight"],
                    reads: ["query", "key", "value"].map { "\(attention)\($0).weight" }))
            sites.append(
                Site(
                    channels: 64, makes: [prefix + "post_norm.weight"],
                    reads: ["gate", "up"].map { "\(prefix)mlp.\($0).weight" }))
            sites.append(
                Site(
                    channels: 80, makes: [prefix + "mlp.up.weight"], reads: [prefix + "mlp.down.weight"]))
            // Queries 0, 1 and 2 of 16 numbers each share the first head of values, 3, 4 and 5 the second.
            sites.append(
                Site(
                    channels: 32, makes: [attention + "value.weight", attention + "value.bias"],
                    reads: [attention + "output.weight"]
                ) { channel in
                    let start = channel < 16 ? channel : 48 + channel - 16
                    return [start, start + 16, start + 32]
                })
        }
        for (stage, width) in [32, 64].enumerated() {
            let module = "vision.stages.\(stage).blocks.0.ffn."
            sites.append(
                Site(
                    channels: width, makes: [module + "depthwise.weight", module + "depthwise.bias"],
                    reads: [module + "expand.weight"]))
        }
        let block = "vision.stages.1.blocks.0."
        sites.append(
            Site(
                channels: 64, makes: [block + "norm.weight", block + "norm.bias"],
                reads: [block + "attention.qkv.weight"]))
        sites.append(
            Site(
                channels: 64, makes: [block + "attention.qkv.weight", block + "attention.qkv.bias"],
                first: 128, reads: [block + "attention.projection.weight"]))
        return sites
    }

    struct Case: Sendable {
        let exponent: Int
        let channels: Int
        let type: DataType
    }

    static let cases = [DataType.bfloat16, .float32].flatMap { type in
        [8, 12, -8].flatMap { exponent in
            [2, 8].map { Case(exponent: exponent, channels: $0, type: type) }
        }
    }

    @Test("Every weight is the original's, to the bit", arguments: cases)
    func restored(example: Case) throws {
        var generator = SeededGenerator("\(example)")
        let original = try Self.weights(example.type, isTied: false, &generator)
        var changed = original
        var count = 0
        for site in Self.sites(isTied: false) {
            for channel in (0..<site.channels).shuffled(using: &generator).prefix(example.channels) {
                for name in site.makes {
                    try changed.scale(name, rows: [site.first + channel], by: example.exponent)
                }
                for name in site.reads {
                    try changed.scale(name, columns: site.columns(channel), by: -example.exponent)
                }
                count += 1
            }
        }
        let balanced = EqualizedWeights(changed, configuration: Self.configuration())
        for (name, tensor) in original.tensors {
            let got = try balanced.tensor(name, shape: tensor.shape)
            #expect(got.dataType == tensor.dataType && got.floats() == tensor.floats(), "\(name)")
        }
        #expect(balanced.exponents == [Int](repeating: example.exponent, count: count))
        // Asked again, and as a matrix, it is the same.
        let name = "decoder.layers.0.mlp.up.weight"
        guard case .numbers(let again) = try balanced.matrix(name, shape: [80, 64]) else {
            Issue.record("no numbers")
            return
        }
        #expect(again.floats() == original.tensors[name]?.floats())
        let vectors = try balanced.changedVectors()
        #expect(
            Set(vectors.keys)
                == Set(
                    Self.sites(isTied: false).flatMap(\.makes).filter {
                        original.tensors[$0]?.shape.count != 2
                    }
                ))
        for (name, tensor) in vectors { #expect(tensor.floats() == original.tensors[name]?.floats()) }
    }

    @Test("A table that is tied is looked up as it is and multiplied with as it should be")
    func tied() throws {
        var generator = SeededGenerator()
        let original = try Self.weights(.bfloat16, isTied: true, &generator)
        let (table, scores) = ("decoder.embedding.weight", "decoder.scores.weight")
        let configuration = Self.configuration(isTied: true)
        #expect(!EqualizedWeights(original, configuration: configuration).contains(scores))
        var changed = original
        try changed.scale("decoder.norm.weight", rows: [5], by: 10)
        try changed.scale(table, columns: [5], by: -10)
        let balanced = EqualizedWeights(changed, configuration: configuration)
        #expect(balanced.contains(scores))
        let wanted = original.tensors[table]?.floats()
        #expect(try balanced.tensor(scores, shape: [72, 64]).floats() == wanted)
        #expect(try balanced.tensor(table, shape: [72, 64]).floats() == changed.tensors[table]?.floats())
        #expect(balanced.origin(of: scores) == changed.origin(of: table))
    }

    @Test("Nothing is touched where one side alone is out, or both by little")
    func untouched() throws {
        var generator = SeededGenerator()
        let original = try Self.weights(.bfloat16, isTied: false, &generator)
        var (gains, columns, little) = (original, original, original)
        for site in Self.sites(isTied: false) {
            for name in site.makes {
                try gains.scale(name, rows: [site.first + 3], by: 8)
                try little.scale(name, rows: [site.first + 3], by: 1)
            }
            for name in site.reads {
                try columns.scale(name, columns: site.columns(3), by: -8)
                try little.scale(name, columns: site.columns(3), by: -1)
            }
        }
        // Both are large: the channel matters.
        var meant = gains
        for site in Self.sites(isTied: false) {
            for name in site.reads { try meant.scale(name, columns: site.columns(3), by: 4) }
        }
        for weights in [original, gains, columns, little, meant] {
            let balanced = EqualizedWeights(weights, configuration: Self.configuration())
            for (name, tensor) in weights.tensors {
                #expect(try balanced.tensor(name, shape: tensor.shape).floats() == tensor.floats(), "\(name)")
            }
            #expect(balanced.exponents == [])
        }
    }

    @Test("A site with a matrix of integers stays as it is")
    func integers() throws {
        var generator = SeededGenerator()
        var weights = try Self.weights(.bfloat16, isTied: false, &generator)
        let attention = "decoder.layers.0.attention."
        let (value, output) = (attention + "value.weight", attention + "output.weight")
        try weights.scale(value, rows: [3], by: 8)
        try weights.scale(output, columns: [3, 19, 35], by: -8)
        weights.integers = [output]
        let balanced = EqualizedWeights(weights, configuration: Self.configuration())
        #expect(try balanced.tensor(value, shape: [32, 64]).floats() == weights.tensors[value]?.floats())
        guard case .integers = try balanced.matrix(output, shape: [64, 96]) else {
            Issue.record("no integers")
            return
        }
        #expect(balanced.exponents == [])
        weights.integers = []
        let other = EqualizedWeights(weights, configuration: Self.configuration())
        #expect(try other.tensor(value, shape: [32, 64]).floats() != weights.tensors[value]?.floats())
    }

    @Test("float16 becomes float32 where it is changed, and is packed beside a matrix that is not")
    func half() throws {
        var generator = SeededGenerator()
        let original = try Self.weights(.float16, isTied: false, &generator)
        var changed = original
        let (gate, up) = ("decoder.layers.1.mlp.gate.weight", "decoder.layers.1.mlp.up.weight")
        try changed.scale(up, rows: [7, 30], by: 12)
        try changed.scale("decoder.layers.1.mlp.down.weight", columns: [7, 30], by: -12)
        func pack(_ source: any WeightSource) throws -> [UInt8] {
            let recorder = PanelRecorder()
            let loader = WeightLoader(
                source, format: .int8(group: 64), compute: try Compute(threads: 1), recorder: recorder)
            _ = try loader.gated(gate, up, outputs: 80, inputs: 64)
            let panels = try #require(recorder.panels[gate])
            return Array(try panels.tensor().bytes)
        }
        let balanced = EqualizedWeights(changed, configuration: Self.configuration())
        #expect(try pack(balanced) == pack(original))
        #expect(balanced.exponents == [12, 12])
    }

    @Test("What is missing or damaged is reported as without balancing")
    func damaged() throws {
        var generator = SeededGenerator()
        var weights = try Self.weights(.float32, isTied: false, &generator)
        let (norm, key) = ("decoder.layers.0.input_norm.weight", "decoder.layers.0.attention.key.weight")
        try weights.scale(norm, rows: [3], by: 8)
        weights.tensors[key] = nil
        var values = try #require(weights.tensors["vision.stages.1.blocks.0.norm.weight"]).floats()
        values[0] = .nan
        weights.tensors["vision.stages.1.blocks.0.norm.weight"] = try Tensor(values, shape: [64])
        let loader = WeightLoader(
            EqualizedWeights(weights, configuration: Self.configuration()), format: .int8(group: 64),
            compute: try Compute(threads: 1))
        _ = try loader.vector(norm, count: 64)
        #expect(throws: CheckpointError.self) {
            _ = try loader.linear("decoder.layers.0.attention.key", outputs: 32, inputs: 64)
        }
        #expect(throws: CheckpointError.self) {
            _ = try loader.vector("vision.stages.1.blocks.0.norm.weight", count: 64)
        }
    }
}

extension Tensor {
    /// The numbers in another type, rounded towards zero.
    fileprivate func stored(as type: DataType) throws -> Tensor {
        guard type != .float32 else { return self }
        let storage = try Storage(byteCount: 2 * count)
        for (index, value) in floats().enumerated() {
            let bits = value.bitPattern
            // Numbers of these tests are in the normal range of float16.
            let half =
                type == .bfloat16
                ? bits >> 16 : bits >> 16 & 0x8000 | (bits >> 23 & 0xFF &- 112) << 10 | bits >> 13 & 0x3FF
            storage.mutableBytes.storeBytes(
                of: UInt16(truncatingIfNeeded: half), toByteOffset: 2 * index, as: UInt16.self)
        }
        return try Tensor(type, shape: shape, storage: storage)
    }
}
