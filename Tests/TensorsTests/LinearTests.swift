import Testing

@testable import Tensors

@Suite struct LinearTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        let rows: Int
        let inputs: Int
        let outputs: Int
        var testDescription: String { "\(rows)×\(inputs)→\(outputs)" }
    }

    static let shapes = [
        Shape(rows: 1, inputs: 1, outputs: 1), Shape(rows: 1, inputs: 7, outputs: 33),
        Shape(rows: 1, inputs: 300, outputs: 130), Shape(rows: 1, inputs: 1001, outputs: 65),
        Shape(rows: 2, inputs: 64, outputs: 16), Shape(rows: 3, inputs: 17, outputs: 31),
        Shape(rows: 5, inputs: 2, outputs: 48), Shape(rows: 6, inputs: 96, outputs: 96),
        Shape(rows: 7, inputs: 129, outputs: 1), Shape(rows: 8, inputs: 900, outputs: 40),
        Shape(rows: 11, inputs: 513, outputs: 50), Shape(rows: 13, inputs: 33, outputs: 100),
        Shape(rows: 97, inputs: 45, outputs: 70), Shape(rows: 200, inputs: 27, outputs: 96),
        Shape(rows: 101, inputs: 1283, outputs: 19), Shape(rows: 40, inputs: 1024, outputs: 24),
    ]

    /// x·Wᵀ + bias in float64 on weights as they are stored.
    static func product(_ x: [Float], _ w: [Float], _ bias: [Float]?, _ s: Shape, _ p: WeightFormat)
        -> [Sum]
    {
        let weights = w.map { Double(p == .bfloat16 ? rounded($0) : $0) }
        return (0..<s.rows * s.outputs).map { index in
            let (row, output) = (index / s.outputs, index % s.outputs)
            var sum = Sum()
            for k in 0..<s.inputs { sum += Double(x[row * s.inputs + k]) * weights[output * s.inputs + k] }
            return sum + (bias.map { Double($0[output]) } ?? 0)
        }
    }

    @Test("a linear layer equals float64 loops, with and without bias and activation", arguments: shapes)
    func linear(_ s: Shape) throws {
        var random = Random()
        let x = random.floats(s.rows * s.inputs)
        let w = random.floats(s.outputs * s.inputs, scale: 1 / Float(s.inputs).squareRoot())
        let b = random.floats(s.outputs)
        let input = Guarded(s.rows, s.inputs, gap: 3, values: x)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            for format in [WeightFormat.float32, .bfloat16] {
                let packed = try PackedMatrix(
                    Tensor(w, shape: [s.outputs, s.inputs]), format: format, compute: compute)
                #expect(packed.outputs == s.outputs && packed.inputs == s.inputs)
                let plain = Self.product(x, w, nil, s, format)
                let biased = Self.product(x, w, b, s, format)
                let output = Guarded(s.rows, s.outputs, gap: 5)
                compute.linear(input.matrix, packed, into: output.matrix)
                #expect(
                    normalisedError(output.values, plain) < tolerance(set, format),
                    "\(set) \(format) seed \(random.seed)")
                for activation in [Activation.none, .gelu, .silu, .relu, .quickGelu, .tanhGelu] {
                    let result = Guarded(s.rows, s.outputs)
                    compute.linear(
                        input.matrix, packed, bias: try Vector(b), activation: activation, into: result.matrix
                    )
                    #expect(
                        normalisedError(result.values, biased.map { $0.activated { apply(activation, $0) } })
                            < tolerance(set, format),
                        "\(set) \(format) \(activation) seed \(random.seed)")
                    #expect(result.isIntact)
                }
                #expect(output.isIntact && input.isIntact)
            }
        }
    }

    @Test("adding a linear layer scales it and keeps what was there", arguments: shapes)
    func linearAdding(_ s: Shape) throws {
        var random = Random()
        let x = random.floats(s.rows * s.inputs)
        let w = random.floats(s.outputs * s.inputs, scale: 1 / Float(s.inputs).squareRoot())
        let b = random.floats(s.outputs)
        let scale = random.floats(s.outputs)
        let start = random.floats(s.rows * s.outputs)
        let input = Guarded(s.rows, s.inputs, values: x)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            for format in [WeightFormat.float32, .bfloat16] {
                let packed = try PackedMatrix(
                    Tensor(w, shape: [s.outputs, s.inputs]), format: format, compute: compute)
                let sums = Self.product(x, w, b, s, format)
                let output = Guarded(s.rows, s.outputs, gap: 1, values: start)
                compute.linearAdding(
                    input.matrix, packed, bias: try Vector(b), scale: try Vector(scale), to: output.matrix)
                let expected = sums.indices.map {
                    sums[$0] * Double(scale[$0 % s.outputs]) + Double(start[$0])
                }
                #expect(
                    normalisedError(output.values, expected) < tolerance(set, format),
                    "\(set) \(format) seed \(random.seed)")
                let unscaled = Guarded(s.rows, s.outputs, values: start)
                compute.linearAdding(input.matrix, packed, to: unscaled.matrix)
                let bare = Self.product(x, w, nil, s, format)
                #expect(
                    normalisedError(unscaled.values, bare.indices.map { bare[$0] + Double(start[$0]) })
                        < tolerance(set, format))
                #expect(output.isIntact && unscaled.isIntact)
            }
        }
    }

    @Test("a gated layer multiplies silu of one product with the other", arguments: shapes)
    func gated(_ s: Shape) throws {
        var random = Random()
        let x = random.floats(s.rows * s.inputs)
        let gate = random.floats(s.outputs * s.inputs, scale: 2 / Float(s.inputs).squareRoot())
        let up = random.floats(s.outputs * s.inputs, scale: 1 / Float(s.inputs).squareRoot())
        let input = Guarded(s.rows, s.inputs, values: x)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            for format in [WeightFormat.float32, .bfloat16] {
                let packed = try PackedGatedMatrix(
                    gate: Tensor(gate, shape: [s.outputs, s.inputs]),
                    up: Tensor(up, shape: [s.outputs, s.inputs]), format: format, compute: compute)
                let output = Guarded(s.rows, s.outputs, gap: 2)
                compute.gatedLinear(input.matrix, packed, into: output.matrix)
                let expected = zip(
                    Self.product(x, gate, nil, s, format), Self.product(x, up, nil, s, format)
                ).map { $0.activated(silu) * $1 }
                #expect(
                    normalisedError(output.values, expected) < tolerance(set, format) * 4,
                    "\(set) \(format) seed \(random.seed)")
                #expect(output.isIntact)
            }
        }
    }

    static let networks = [
        Shape(rows: 1, inputs: 5, outputs: 20), Shape(rows: 9, inputs: 24, outputs: 96),
        Shape(rows: 50, inputs: 33, outputs: 131), Shape(rows: 200, inputs: 48, outputs: 700),
        Shape(rows: 30, inputs: 200, outputs: 1200),
    ]

    /// `outputs` is the hidden width here.
    @Test(
        "a fused feed-forward network equals two products with gelu between, in place too",
        arguments: networks)
    func feedForward(_ s: Shape) throws {
        var random = Random()
        let channels = s.inputs
        let hidden = s.outputs
        let x = random.floats(s.rows * channels)
        let w1 = random.floats(hidden * channels, scale: 1 / Float(channels).squareRoot())
        let w2 = random.floats(channels * hidden, scale: 1 / Float(hidden).squareRoot())
        let b1 = random.floats(hidden)
        let b2 = random.floats(channels)
        let scale = random.floats(channels)
        let start = random.floats(s.rows * channels)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            for format in [WeightFormat.float32, .bfloat16] {
                let middle = Self.product(x, w1, b1, s, format).map { Float(gelu($0.value)) }
                let back = Shape(rows: s.rows, inputs: hidden, outputs: channels)
                let sums = Self.product(middle, w2, b2, back, format)
                let expected = sums.indices.map {
                    sums[$0] * Double(scale[$0 % channels]) + Double(start[$0])
                }
                let expand = try PackedMatrix(
                    Tensor(w1, shape: [hidden, channels, 1, 1]), format: format, compute: compute)
                let project = try PackedMatrix(
                    Tensor(w2, shape: [channels, hidden, 1, 1]), format: format, compute: compute)
                let input = Guarded(s.rows, channels, gap: 7, values: x)
                let output = Guarded(s.rows, channels, gap: 1, values: start)
                compute.feedForwardAdding(
                    input.matrix, expand: expand, expandBias: try Vector(b1), project: project,
                    projectBias: try Vector(b2), scale: try Vector(scale), to: output.matrix)
                #expect(
                    normalisedError(output.values, expected) < tolerance(set, format),
                    "\(set) \(format) seed \(random.seed)")
                #expect(output.isIntact && input.isIntact)

                let place = Guarded(s.rows, channels, values: x)
                compute.feedForwardAdding(
                    place.matrix, expand: expand, expandBias: try Vector(b1), project: project,
                    projectBias: try Vector(b2), scale: try Vector(scale), to: place.matrix)
                let inPlace = sums.indices.map { sums[$0] * Double(scale[$0 % channels]) + Double(x[$0]) }
                #expect(normalisedError(place.values, inPlace) < tolerance(set, format))
            }
        }
    }

    @Test("a feed-forward network without biases and scale adds its bare result")
    func feedForwardBare() throws {
        var random = Random()
        let s = Shape(rows: 14, inputs: 20, outputs: 37)
        let x = random.floats(s.rows * s.inputs)
        let w1 = random.floats(s.outputs * s.inputs, scale: 0.2)
        let w2 = random.floats(s.inputs * s.outputs, scale: 0.2)
        let middle = Self.product(x, w1, nil, s, .float32).map { Float(gelu($0.value)) }
        let sums = Self.product(
            middle, w2, nil, Shape(rows: s.rows, inputs: s.outputs, outputs: s.inputs), .float32)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 1, instructionSet: set)
            let output = Guarded(s.rows, s.inputs, values: x)
            compute.feedForwardAdding(
                Guarded(s.rows, s.inputs, values: x).matrix,
                expand: try PackedMatrix(
                    Tensor(w1, shape: [s.outputs, s.inputs]), format: .float32, compute: compute),
                expandBias: nil,
                project: try PackedMatrix(
                    Tensor(w2, shape: [s.inputs, s.outputs]), format: .float32, compute: compute),
                projectBias: nil, scale: nil, to: output.matrix)
            let expected = zip(x, sums).map { $1 + Double($0) }
            #expect(normalisedError(output.values, expected) < 1e-7)
        }
    }

    @Test("weights of any stored type, at any byte offset, pack to the same numbers")
    func storedTypes() throws {
        var random = Random()
        let (outputs, inputs) = (21, 19)
        // Numbers that all three types represent exactly.
        let w = (0..<outputs * inputs).map { _ in Float(Int(random.next() % 255) - 127) / 64 }
        let x = random.floats(3 * inputs)
        let s = Shape(rows: 3, inputs: inputs, outputs: outputs)
        let expected = Self.product(x, w, nil, s, .float32)
        for type in [DataType.float32, .bfloat16, .float16] {
            for offset in [0, 2, 5] {
                let storage = try Storage(byteCount: offset + w.count * type.byteWidth)
                for (index, value) in w.enumerated() {
                    let place = offset + index * type.byteWidth
                    switch type {
                    case .float32:
                        storage.mutableBytes.storeBytes(of: value, toByteOffset: place, as: Float.self)
                    case .bfloat16:
                        storage.mutableBytes.storeBytes(
                            of: UInt16(value.bitPattern >> 16), toByteOffset: place, as: UInt16.self)
                    default:
                        storage.mutableBytes.storeBytes(
                            of: half(value), toByteOffset: place, as: UInt16.self)
                    }
                }
                let tensor = try Tensor(type, shape: [outputs, inputs], storage: storage, byteOffset: offset)
                for set in InstructionSet.available {
                    let compute = try Compute(threads: 2, instructionSet: set)
                    for format in [WeightFormat.float32, .bfloat16] {
                        let packed = try PackedMatrix(tensor, format: format, compute: compute)
                        let output = Guarded(3, outputs)
                        compute.linear(Guarded(3, inputs, values: x).matrix, packed, into: output.matrix)
                        #expect(
                            normalisedError(output.values, expected) < tolerance(set, format),
                            "\(type) at \(offset) as \(format) on \(set)")
                    }
                }
            }
        }
    }

    /// For numbers that float16 represents exactly and that are not subnormal.
    private func half(_ value: Float) -> UInt16 {
        let pattern = value.bitPattern
        if value == 0 { return 0 }
        let exponent = Int(pattern >> 23 & 0xFF) - 112
        return UInt16(pattern >> 16 & 0x8000) | UInt16(exponent << 10) | UInt16(pattern >> 13 & 0x3FF)
    }

    @Test("weights that are no matrix of floating-point numbers are refused")
    func refused() throws {
        let compute = try Compute(threads: 1)
        let three = try Tensor([Float](repeating: 1, count: 8), shape: [2, 2, 2])
        let one = try Tensor([Float](repeating: 1, count: 8), shape: [8])
        let whole = try Tensor(.int8, shape: [2, 2], storage: Storage(byteCount: 4))
        let empty = try Tensor([], shape: [0, 4])
        for tensor in [three, one, whole, empty] {
            #expect(throws: TensorError.self) {
                try PackedMatrix(tensor, format: .float32, compute: compute)
            }
            #expect(throws: TensorError.self) { try EmbeddingTable(tensor) }
        }
        #expect(throws: TensorError.self) {
            try PackedGatedMatrix(
                gate: Tensor([1, 2], shape: [1, 2]), up: Tensor([1, 2], shape: [2, 1]), format: .float32,
                compute: compute)
        }
    }
}
