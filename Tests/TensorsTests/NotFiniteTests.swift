import Testing

@testable import Tensors

/// What is not a number must not become one in silence, on any instruction set.
@Suite("NaN and infinity") struct NotFiniteTests {
    @Test("stay what they are through activations and the sigmoid, in every lane")
    func activations() throws {
        for set in InstructionSet.available {
            let compute = try Compute(threads: 1, instructionSet: set)
            for columns in [1, 7, 16, 35] {
                for place in 0..<columns {
                    for value in [Float.nan, -.nan, .infinity, -.infinity] {
                        var x = [Float](repeating: 0.5, count: columns)
                        x[place] = value
                        let sigmoid = Guarded(1, columns, values: x)
                        compute.sigmoid(sigmoid.matrix)
                        let got = sigmoid.matrix[0, place]
                        #expect(
                            value.isNaN ? got.isNaN : abs(got - (value > 0 ? 1 : 0)) < 1e-30,
                            "\(set) sigmoid(\(value)) = \(got)")
                        for activation in [
                            Activation.gelu, .coarseGelu, .silu, .relu, .quickGelu, .tanhGelu,
                        ] {
                            let y = Guarded(1, columns, values: x)
                            compute.activate(y.matrix, activation)
                            let got = y.matrix[0, place]
                            if value.isNaN { #expect(got.isNaN, "\(set) \(activation)(NaN) = \(got)") }
                            if value > 0 { #expect(got == .infinity, "\(set) \(activation)(∞) = \(got)") }
                            if value < 0, activation != .coarseGelu {
                                #expect(got == 0, "\(set) \(activation)(−∞) = \(got)")
                            }
                            let others = (0..<columns).filter { $0 != place }
                            #expect(
                                others.allSatisfy {
                                    y.matrix[0, $0].isFinite && sigmoid.matrix[0, $0].isFinite
                                })
                        }
                    }
                }
            }
        }
    }

    @Test(
        "in a row make all that depends on it NaN, and leave other rows as they are",
        arguments: RowInvarianceTests.formats)
    func products(_ format: WeightFormat) throws {
        var random = Random()
        let (rows, inputs, outputs) = (9, 131, 40)
        let w = try Tensor(random.floats(outputs * inputs), shape: [outputs, inputs])
        let x = random.floats(rows * inputs)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            let packed = try PackedMatrix(w, format: format, compute: compute)
            let clean = Guarded(rows, outputs)
            compute.linear(Guarded(rows, inputs, values: x).matrix, packed, into: clean.matrix)
            for place in [0, 1, 15, 63, 64, 128, 130] {
                for value in [Float.nan, .infinity, -.infinity] {
                    let row = place % rows
                    var hostile = x
                    hostile[row * inputs + place] = value
                    let y = Guarded(rows, outputs)
                    compute.linear(Guarded(rows, inputs, values: hostile).matrix, packed, into: y.matrix)
                    for i in 0..<rows where i != row {
                        #expect(
                            bits(Array(y.matrix.row(i))) == bits(Array(clean.matrix.row(i))),
                            "\(set) row \(i)")
                    }
                    // Integers cannot hold infinity: the row shows it as NaN.
                    let isRight = y.matrix.row(row).allSatisfy {
                        format.group == nil && value.isInfinite ? !$0.isFinite : $0.isNaN
                    }
                    #expect(
                        isRight, "\(set) \(format): \(value) at \(place) gave \(Array(y.matrix.row(row)))")
                }
            }
        }
    }

    @Test("of a key or value reach the queries that see it, and no others")
    func attention() throws {
        var random = Random()
        let (count, dimension) = (40, 32)
        let q = random.floats(count * dimension)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 1, instructionSet: set)
            func run(_ k: [Float], _ v: [Float]) -> Matrix {
                let y = Guarded(count, dimension)
                compute.attention(
                    queries: Guarded(count, dimension, values: q).matrix,
                    keys: Guarded(count, dimension, values: k).matrix,
                    values: Guarded(count, dimension, values: v).matrix, heads: 1, keyValueHeads: 1,
                    scale: 0.2,
                    causalOffset: 0, into: y.matrix)
                return y.matrix
            }
            let (k, v) = (random.floats(count * dimension), random.floats(count * dimension))
            let clean = run(k, v)
            for place in [0, 1, 5, 6, 17, 39] {
                var hostile = k
                hostile[place * dimension + 3] = .nan
                let keys = run(hostile, v)
                hostile = v
                hostile[place * dimension + 3] = .nan
                let values = run(k, hostile)
                for i in 0..<count {
                    #expect(
                        keys.row(i).allSatisfy { $0.isNaN == (i >= place) }, "\(set) key \(place), query \(i)"
                    )
                    for d in 0..<dimension {
                        let isHit = i >= place && d == 3
                        #expect(
                            isHit ? values[i, d].isNaN : values[i, d].bitPattern == clean[i, d].bitPattern,
                            "\(set) value \(place), query \(i), \(d)")
                    }
                }
            }
        }
    }
}

@Suite("What packing sees of weights") struct WeightsSeenTests {
    private func tensor(_ values: [Float], _ type: DataType, _ shape: [Int]) throws -> Tensor {
        let storage = try Storage(byteCount: values.count * type.byteWidth)
        for (index, value) in values.enumerated() {
            let bits = value.bitPattern
            switch type {
            case .bfloat16:
                storage.mutableBytes.storeBytes(
                    of: UInt16(bits >> 16), toByteOffset: 2 * index, as: UInt16.self)
            case .float16:
                // 1, 0, infinity and NaN
                let half: UInt16 = value.isNaN ? 0x7E00 : value == 0 ? 0 : value.isInfinite ? 0x7C00 : 0x3C00
                storage.mutableBytes.storeBytes(of: half, toByteOffset: 2 * index, as: UInt16.self)
            default: storage.mutableBytes.storeBytes(of: value, toByteOffset: 4 * index, as: Float.self)
            }
        }
        return try Tensor(type, shape: shape, storage: storage)
    }

    @Test("NaN and infinity at any place, in every type and format", arguments: RowInvarianceTests.formats)
    func notFinite(_ format: WeightFormat) throws {
        let (outputs, inputs) = (37, 70)
        let ones = [Float](repeating: 1, count: outputs * inputs)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            for type in [DataType.float32, .bfloat16, .float16] {
                let whole = try tensor(ones, type, [outputs, inputs])
                #expect(try PackedMatrix(whole, format: format, compute: compute).seen?.hasNotFinite == false)
                for place in [0, 69, 70, 1000, outputs * inputs - 1] {
                    for value in [Float.nan, .infinity] {
                        var values = ones
                        values[place] = value
                        let hostile = try tensor(values, type, [outputs, inputs])
                        let packed = try PackedMatrix(hostile, format: format, compute: compute)
                        #expect(packed.seen?.hasNotFinite == true, "\(set) \(type) \(value) at \(place)")
                        let gated = try PackedGatedMatrix(
                            gate: whole, up: hostile, format: format, compute: compute)
                        #expect(gated.seen.map(\.hasNotFinite) == [false, true], "\(set) \(type)")
                        #expect(WeightsSeen(hostile, compute: compute)?.hasNotFinite == true)
                    }
                }
            }
        }
    }

    @Test("outputs of zeros at the end, whole matrices too", arguments: RowInvarianceTests.formats)
    func zeros(_ format: WeightFormat) throws {
        let (outputs, inputs) = (64, 70)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            for (filled, endsInZeros) in [
                (0, true), (1, true), (32, true), (48, true), (49, false), (64, false),
            ] {
                // One number is enough to make an output count, zeros before the last one are nothing.
                var values = [Float](repeating: 0, count: outputs * inputs)
                if filled > 0 { values[(filled - 1) * inputs + 5] = -1e-3 }
                let packed = try PackedMatrix(
                    Tensor(values, shape: [outputs, inputs]), format: format, compute: compute)
                let seen = try #require(packed.seen)
                #expect(seen.filledOutputs == filled && seen.endsInZeros == endsInZeros, "\(set) \(filled)")
                #expect(!seen.hasNotFinite)
            }
        }
    }

    @Test("integers of other programs: scales that are not finite, outputs of zeros", arguments: [4, 8])
    func integers(_ bits: Int) throws {
        let (outputs, inputs) = (40, 128)
        func matrix(_ scale: Float, filled: Int) throws -> IntegerMatrix {
            let words = try Storage(byteCount: outputs * inputs * bits / 8)
            for index in 0..<filled * inputs * bits / 8 { words.mutableBytes[index] = 0x53 }
            var scales = [Float](repeating: 0.1, count: outputs * 2)
            scales[50] = scale
            return try IntegerMatrix(
                words: Tensor(.uint32, shape: [outputs, inputs * bits / 32], storage: words),
                scales: Tensor(scales, shape: [outputs, 2]),
                biases: Tensor([Float](repeating: -1, count: outputs * 2), shape: [outputs, 2]),
                outputs: outputs,
                inputs: inputs, bits: bits, group: 64)
        }
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            guard compute.keepsIntegers(bits: bits) else { continue }
            #expect(try PackedMatrix(matrix(.nan, filled: 40), compute: compute).seen?.hasNotFinite == true)
            #expect(
                try PackedMatrix(matrix(.infinity, filled: 40), compute: compute).seen?.hasNotFinite == true)
            let seen = try #require(try PackedMatrix(matrix(0.2, filled: 10), compute: compute).seen)
            #expect(!seen.hasNotFinite && seen.filledOutputs == 10 && seen.endsInZeros)
        }
    }
}
