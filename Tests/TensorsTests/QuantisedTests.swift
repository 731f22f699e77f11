import CKernels
import Testing

@testable import Tensors

/// Products with weights of 8 and 4 bits, against float64.
///
/// Weights that are integers times a power of two, with the largest integer in every group, lose nothing when they
/// are packed, so that only the quantisation of the activations is left to tolerate.
@Suite struct QuantisedTests {
    typealias Shape = LinearTests.Shape

    static let shapes = [
        Shape(rows: 1, inputs: 1, outputs: 1), Shape(rows: 1, inputs: 896, outputs: 133),
        Shape(rows: 3, inputs: 37, outputs: 5), Shape(rows: 7, inputs: 64, outputs: 32),
        Shape(rows: 12, inputs: 129, outputs: 17), Shape(rows: 97, inputs: 256, outputs: 48),
        Shape(rows: 100, inputs: 1700, outputs: 65), Shape(rows: 5, inputs: 4864, outputs: 20),
    ]

    /// Bound of the normalised squared error that the activations' integers cause, on average over many numbers.
    static let activationError = 2e-4

    /// The same for `count` numbers: an error of a few strays further from the average.
    static func activationError(of count: Int) -> Double {
        count < 200 ? 10 * activationError : activationError
    }

    static func formats(_ random: inout Random) -> [WeightFormat] {
        let group = [32, 64, 128, 256][Int(random.next() % 4)]
        return [.int8(group: group), .int4(group: group)]
    }

    /// Rows of `inputs` numbers times a Hadamard matrix, by its definition: entry (i, j) is −1 to the power of the ones that
    /// i and j have in common. Blocks of 64 numbers of each group, or of 32 where there are no more; what is left stays.
    static func rotated(_ x: [Float], inputs: Int, group: Int) -> [Float] {
        var result = x
        for row in stride(from: 0, to: x.count, by: inputs) {
            for first in stride(from: 0, to: inputs, by: group) {
                let end = min(first + group, inputs)
                var at = first
                while end - at >= 32 {
                    let block = group >= 64 && end - at >= 64 ? 64 : 32
                    for i in 0..<block {
                        result[row + at + i] = (0..<block).reduce(0) { sum, j in
                            sum + (i & j).nonzeroBitCount.signed * x[row + at + j]
                        }
                    }
                    at += block
                }
            }
        }
        return result
    }

    /// Weights [outputs, inputs] that a format holds exactly: integers, rotated back.
    static func exact(
        _ s: Shape, _ format: WeightFormat, _ compute: Compute, _ random: inout Random
    ) throws -> [Float] {
        let limit = Int(compute.kernels.pointee.weight_limit)
        let group = try #require(format.group)
        let top = format.bits == 8 ? limit : -8
        var weights = [Float](repeating: 0, count: s.outputs * s.inputs)
        for output in 0..<s.outputs {
            for first in stride(from: 0, to: s.inputs, by: group) {
                let scale = Float(sign: .plus, exponent: -Int(random.next() % 6), significand: 1) / 64
                let end = min(first + group, s.inputs)
                for k in first..<end {
                    let integer =
                        format.bits == 8
                        ? Int(random.next() % UInt64(2 * limit + 1)) - limit : Int(random.next() % 16) - 8
                    weights[output * s.inputs + k] = scale * Float(integer)
                }
                let place = first + Int(random.next() % UInt64(end - first))
                weights[output * s.inputs + place] = scale * Float(top)
            }
        }
        return rotated(weights, inputs: s.inputs, group: group)
    }

    static func product(_ x: [Float], _ w: [Float], _ s: Shape) -> [Sum] {
        LinearTests.product(x, w, nil, s, .float32)
    }

    @Test("exact weights give exact products up to the activations' integers", arguments: shapes)
    func exactWeights(_ s: Shape) throws {
        var random = Random()
        let x = random.floats(s.rows * s.inputs)
        let bias = random.floats(s.outputs)
        let scale = random.floats(s.outputs)
        let start = random.floats(s.rows * s.outputs)
        for format in Self.formats(&random) {
            for set in InstructionSet.available {
                let compute = try Compute(threads: 2, instructionSet: set)
                let w = try Self.exact(s, format, compute, &random)
                let sums = Self.product(x, w, s)
                let biased = sums.indices.map { sums[$0] + Double(bias[$0 % s.outputs]) }
                let bound = Self.activationError(of: (s.outputs + 1) / 2 * s.rows)
                let packed = try PackedMatrix(
                    Tensor(w, shape: [s.outputs, s.inputs]), format: format, compute: compute)
                let input = Guarded(s.rows, s.inputs, gap: 3)
                for index in x.indices { input.matrix[index / s.inputs, index % s.inputs] = x[index] }
                let output = Guarded(s.rows, s.outputs, gap: 1)
                compute.linear(
                    input.matrix, packed, bias: try Vector(bias), activation: .silu, into: output.matrix)
                #expect(
                    normalisedError(output.values, biased.map { $0.activated(silu) }) < 4 * bound,
                    "\(set) \(format) seed \(random.seed)")
                let added = Guarded(s.rows, s.outputs, gap: 2, values: start)
                compute.linearAdding(
                    input.matrix, packed, bias: try Vector(bias), scale: try Vector(scale), to: added.matrix)
                let expected = start.indices.map {
                    biased[$0] * Double(scale[$0 % s.outputs]) + Double(start[$0])
                }
                #expect(
                    normalisedError(added.values, expected) < bound, "\(set) \(format) seed \(random.seed)")
                let part = Guarded(s.rows, (s.outputs + 1) / 2)
                compute.logits(input.matrix, packed, into: part.matrix)
                let wanted = part.values.indices.map {
                    sums[$0 / part.matrix.columns * s.outputs + $0 % part.matrix.columns]
                }
                #expect(normalisedError(part.values, wanted) < bound, "\(set) \(format) seed \(random.seed)")
                #expect(output.isIntact && added.isIntact && part.isIntact && input.isIntact)
            }
        }
    }

    @Test(
        "weights alone in integers: products are those of the numbers that they stand for", arguments: shapes)
    func weightsOnly(_ s: Shape) throws {
        var random = Random()
        let x = random.floats(s.rows * s.inputs)
        let bias = random.floats(s.outputs)
        for format in Self.formats(&random) {
            for set in InstructionSet.available {
                let compute = try Compute(threads: 2, instructionSet: set)
                let w = try Tensor(random.floats(s.outputs * s.inputs), shape: [s.outputs, s.inputs])
                let up = try Tensor(random.floats(s.outputs * s.inputs), shape: [s.outputs, s.inputs])
                let packed = try PackedMatrix(w, format: format, compute: compute).weightOnly()
                let sums = Self.product(x, try packed.panels.values().floats(), s)
                let input = Guarded(s.rows, s.inputs, gap: 3)
                for index in x.indices { input.matrix[index / s.inputs, index % s.inputs] = x[index] }
                let output = Guarded(s.rows, s.outputs, gap: 1)
                compute.linear(input.matrix, packed, bias: try Vector(bias), into: output.matrix)
                let expected = sums.indices.map { sums[$0] + Double(bias[$0 % s.outputs]) }
                // Of integers there would be 1e-5 or more.
                #expect(normalisedError(output.values, expected) < 1e-10, "\(set) \(format) \(random.seed)")
                let pair = try PackedGatedMatrix(gate: w, up: up, format: format, compute: compute)
                    .weightOnly()
                let gated = Guarded(s.rows, s.outputs, gap: 2)
                compute.gatedLinear(input.matrix, pair, into: gated.matrix)
                let (gates, ups) = (
                    Self.product(x, try pair.panels.values().floats(), s),
                    Self.product(x, try pair.panels.values(isSecond: true).floats(), s)
                )
                let products = zip(gates, ups).map { $0.activated(silu) * $1 }
                #expect(normalisedError(gated.values, products) < 1e-9, "\(set) \(format) \(random.seed)")
                #expect(output.isIntact && gated.isIntact && input.isIntact)
            }
        }
    }

    @Test("a gated layer takes gate and up from the same panel", arguments: shapes)
    func gated(_ s: Shape) throws {
        var random = Random()
        let x = random.floats(s.rows * s.inputs)
        for format in Self.formats(&random) {
            for set in InstructionSet.available {
                let compute = try Compute(threads: 2, instructionSet: set)
                let gate = try Self.exact(s, format, compute, &random)
                let up = try Self.exact(s, format, compute, &random)
                let expected = zip(Self.product(x, gate, s), Self.product(x, up, s)).map {
                    $0.activated(silu) * $1
                }
                let packed = try PackedGatedMatrix(
                    gate: Tensor(gate, shape: [s.outputs, s.inputs]),
                    up: Tensor(up, shape: [s.outputs, s.inputs]), format: format, compute: compute)
                let output = Guarded(s.rows, s.outputs, gap: 1)
                compute.gatedLinear(Guarded(s.rows, s.inputs, values: x).matrix, packed, into: output.matrix)
                #expect(
                    normalisedError(output.values, expected) < 8 * Self.activationError(of: expected.count),
                    "\(set) \(format) seed \(random.seed)")
                #expect(output.isIntact)
            }
        }
    }

    @Test(
        "the feed-forward network in 8 bits equals its two products",
        arguments: [(5, 33, 300, 33), (50, 96, 384, 96), (300, 64, 520, 48), (9, 256, 1024, 256)])
    func feedForward(rows: Int, channels: Int, hidden: Int, outputs: Int) throws {
        var random = Random()
        let format = Self.formats(&random)[0]
        let up = Shape(rows: rows, inputs: channels, outputs: hidden)
        let down = Shape(rows: rows, inputs: hidden, outputs: outputs)
        let x = random.floats(rows * channels)
        let start = random.floats(rows * outputs)
        let (b1, b2) = (random.floats(hidden), random.floats(outputs))
        let scale = random.floats(outputs)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            let w1 = try Self.exact(up, format, compute, &random)
            let w2 = try Self.exact(down, format, compute, &random)
            let middle = Self.product(x, w1, up).enumerated().map {
                Float(gelu($1.value + Double(b1[$0 % hidden])))
            }
            let sums = Self.product(middle, w2, down)
            let expected = sums.indices.map {
                (sums[$0] + Double(b2[$0 % outputs])) * Double(scale[$0 % outputs]) + Double(start[$0])
            }
            let output = Guarded(rows, outputs, gap: 1, values: start)
            compute.feedForwardAdding(
                Guarded(rows, channels, values: x).matrix,
                expand: try PackedMatrix(
                    Tensor(w1, shape: [hidden, channels]), format: format, compute: compute),
                expandBias: try Vector(b1),
                project: try PackedMatrix(
                    Tensor(w2, shape: [outputs, hidden]), format: format, compute: compute),
                projectBias: try Vector(b2), scale: try Vector(scale), to: output.matrix)
            #expect(
                normalisedError(output.values, expected) < 4 * Self.activationError(of: expected.count),
                "\(set) \(format) seed \(random.seed)")
            #expect(output.isIntact)
        }
    }

    @Test("a row's result in 8 bits is the same among many rows, which are fused, and among few")
    func fusedAndSplit() throws {
        var random = Random()
        let (rows, few, channels, hidden) = (300, 40, 64, 520)
        let x = random.floats(rows * channels)
        let (w1, w2) = (random.floats(hidden * channels), random.floats(hidden * channels))
        let bias = try Vector(random.floats(hidden))
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            func packed(_ w: [Float], _ shape: [Int]) throws -> PackedMatrix {
                try PackedMatrix(Tensor(w, shape: shape), format: .int8(group: 256), compute: compute)
            }
            let (up, down) = (try packed(w1, [hidden, channels]), try packed(w2, [channels, hidden]))
            let results = [rows, few].map { count in
                let output = Guarded(count, channels, values: Array(repeating: 0, count: count * channels))
                compute.feedForwardAdding(
                    Guarded(count, channels, values: Array(x.prefix(count * channels))).matrix,
                    expand: up, expandBias: bias, project: down, projectBias: nil, scale: nil,
                    to: output.matrix)
                return output.values
            }
            #expect(Array(results[0].prefix(few * channels)) == results[1], "\(set) seed \(random.seed)")
        }
    }

    @Test("random weights lose what their bits allow, and outliers only their own group")
    func randomWeights() throws {
        var random = Random()
        let s = Shape(rows: 9, inputs: 512, outputs: 64)
        let x = random.floats(s.rows * s.inputs)
        var w = random.floats(s.outputs * s.inputs)
        let plain = Self.product(x, w, s)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 1, instructionSet: set)
            for (format, bound) in [(WeightFormat.int8(group: 128), 6e-4), (.int4(group: 64), 2e-2)] {
                let packed = try PackedMatrix(
                    Tensor(w, shape: [s.outputs, s.inputs]), format: format, compute: compute)
                let output = Guarded(s.rows, s.outputs)
                compute.linear(Guarded(s.rows, s.inputs, values: x).matrix, packed, into: output.matrix)
                #expect(normalisedError(output.values, plain) < bound, "\(set) \(format) seed \(random.seed)")
            }
        }
        // One weight a thousand times larger than the others spoils the steps of its group only.
        for output in 0..<s.outputs { w[output * s.inputs] = 1000 }
        let quiet = x.enumerated().map { $0.offset % s.inputs < 128 ? 0 : $0.element }
        let others = Self.product(quiet, w, s)
        let compute = try Compute(threads: 1)
        let packed = try PackedMatrix(
            Tensor(w, shape: [s.outputs, s.inputs]), format: .int8(group: 128), compute: compute)
        let output = Guarded(s.rows, s.outputs)
        compute.linear(Guarded(s.rows, s.inputs, values: quiet).matrix, packed, into: output.matrix)
        #expect(normalisedError(output.values, others) < 6e-4, "seed \(random.seed)")
    }

    /// The numbers beside a large one would be lost in its steps if they were not spread over each other.
    @Test("a channel a hundred times as large as the others costs their products little")
    func largeChannel() throws {
        var random = Random()
        let s = Shape(rows: 16, inputs: 512, outputs: 64)
        var x = random.floats(s.rows * s.inputs)
        var w = random.floats(s.outputs * s.inputs)
        // As networks have it, such a channel counts as much as any other.
        for row in 0..<s.rows { x[row * s.inputs + 70] *= 100 }
        for output in 0..<s.outputs { w[output * s.inputs + 70] /= 100 }
        let expected = Self.product(x, w, s)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 1, instructionSet: set)
            let packed = try PackedMatrix(
                Tensor(w, shape: [s.outputs, s.inputs]), format: .int8(group: 128), compute: compute)
            let output = Guarded(s.rows, s.outputs)
            compute.linear(Guarded(s.rows, s.inputs, values: x).matrix, packed, into: output.matrix)
            #expect(normalisedError(output.values, expected) < 8e-3, "\(set) seed \(random.seed)")
        }
    }

    @Test("zeros stay zeros, and what is not finite shows")
    func specialValues() throws {
        var random = Random()
        let s = Shape(rows: 2, inputs: 96, outputs: 24)
        let w = random.floats(s.outputs * s.inputs)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 1, instructionSet: set)
            for format in Self.formats(&random) {
                let none = try PackedMatrix(
                    Tensor([Float](repeating: 0, count: w.count), shape: [s.outputs, s.inputs]),
                    format: format,
                    compute: compute)
                let some = try PackedMatrix(
                    Tensor(w, shape: [s.outputs, s.inputs]), format: format, compute: compute)
                let output = Guarded(s.rows, s.outputs)
                compute.linear(
                    Guarded(s.rows, s.inputs, values: random.floats(s.rows * s.inputs)).matrix, none,
                    into: output.matrix)
                #expect(output.values.allSatisfy { $0 == 0 })
                let zeros = [Float](repeating: 0, count: s.rows * s.inputs)
                compute.linear(Guarded(s.rows, s.inputs, values: zeros).matrix, some, into: output.matrix)
                #expect(output.values.allSatisfy { $0 == 0 })
                var broken = random.floats(s.rows * s.inputs)
                broken[s.inputs + 5] = random.next() % 2 == 0 ? .infinity : .nan
                compute.linear(Guarded(s.rows, s.inputs, values: broken).matrix, some, into: output.matrix)
                #expect(output.values.prefix(s.outputs).allSatisfy { $0.isFinite })
                #expect(output.values.suffix(s.outputs).allSatisfy { !$0.isFinite })
            }
        }
    }
}

extension Int {
    /// 1 for an even number, −1 for an odd one.
    fileprivate var signed: Float { isMultiple(of: 2) ? 1 : -1 }
}
