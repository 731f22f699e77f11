import Foundation
import Testing

@testable import Tensors

@Suite struct RowsTests {
    @Test("norms equal float64 loops, in place too", arguments: [1, 7, 8, 33, 96, 896])
    func norms(_ columns: Int) throws {
        var random = Random()
        let rows = 9
        let x = random.floats(rows * columns).map { $0 + 3 }
        let w = random.floats(columns)
        let b = random.floats(columns)
        var layer: [Double] = []
        var root: [Double] = []
        for row in 0..<rows {
            let values = x[row * columns..<(row + 1) * columns].map(Double.init)
            let mean = values.reduce(0, +) / Double(columns)
            let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(columns)
            let square = values.reduce(0) { $0 + $1 * $1 } / Double(columns)
            for c in 0..<columns {
                layer.append(
                    (values[c] - mean) / (variance + 1e-5).squareRoot() * Double(w[c]) + Double(b[c]))
                root.append(values[c] / (square + 1e-6).squareRoot() * Double(w[c]))
            }
        }
        let (weight, bias) = (try Vector(w), try Vector(b))
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            let input = Guarded(rows, columns, gap: 1, values: x)
            let output = Guarded(rows, columns, gap: 2)
            compute.layerNorm(input.matrix, weight: weight, bias: bias, epsilon: 1e-5, into: output.matrix)
            #expect(normalisedError(output.values, layer) < 1e-10, "\(set) seed \(random.seed)")
            let second = Guarded(rows, columns)
            compute.rmsNorm(input.matrix, weight: weight, epsilon: 1e-6, into: second.matrix)
            #expect(normalisedError(second.values, root) < 1e-11, "\(set) seed \(random.seed)")
            compute.rmsNorm(input.matrix, weight: weight, epsilon: 1e-6, into: input.matrix)
            #expect(bits(input.values) == bits(second.values))
            #expect(input.isIntact && output.isIntact && second.isIntact)
        }
    }

    @Test(
        "gelu is within its bound (relative to max(1, |x|)) of the exact one on every bfloat16 number, and keeps NaN",
        arguments: [(Activation.gelu, 5e-7), (.coarseGelu, 2e-4)])
    func geluEverywhere(activation: Activation, bound: Double) throws {
        let inputs = (0..<65536).map { Float(bitPattern: UInt32($0) << 16) }.filter { $0.isFinite }
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            let matrix = Guarded(1, inputs.count, values: inputs)
            compute.activate(matrix.matrix, activation)
            var worst = 0.0
            for (x, y) in zip(inputs, matrix.values) {
                let error = abs(Double(y) - gelu(Double(x))) / max(1, abs(Double(x)))
                worst = max(worst, error.isNaN ? .infinity : error)
            }
            #expect(worst <= bound, "\(set): \(worst)")
            print("\(activation) on \(set): largest error \(worst)")
            let hostile = Guarded(1, 3, values: [.nan, 4, .nan])
            compute.activate(hostile.matrix, activation)
            #expect(hostile.values.map(\.isNaN) == [true, false, true], "\(set)")
        }
    }

    @Test("silu, CLIP's and SigLIP's gelu, sigmoid and relu are right everywhere")
    func activations() throws {
        let inputs = (0..<65536).map { Float(bitPattern: UInt32($0) << 16) }.filter { $0.isFinite }
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            // Where the exponent is a product, its rounding is part of the error.
            let bounds: [(Activation, Double)] = [
                (.silu, 3e-7), (.relu, 3e-7), (.none, 3e-7), (.quickGelu, 2e-6), (.tanhGelu, 4e-6),
            ]
            for (activation, bound) in bounds {
                let matrix = Guarded(1, inputs.count, values: inputs)
                compute.activate(matrix.matrix, activation)
                for (x, y) in zip(inputs, matrix.values) {
                    let expected = apply(activation, Double(x))
                    let error = abs(Double(y) - expected)
                    if !(error <= bound * max(abs(expected), 1e-3)) {
                        Issue.record("\(set) \(activation)(\(x)) = \(y), expected \(expected)")
                        return
                    }
                }
            }
            let matrix = Guarded(1, inputs.count, values: inputs)
            compute.sigmoid(matrix.matrix)
            for (x, y) in zip(inputs, matrix.values) {
                let expected = 1 / (1 + exp(-Double(x)))
                if !(abs(Double(y) - expected) <= 3e-7 * max(expected, 1e-3)) {
                    Issue.record("\(set) sigmoid(\(x)) = \(y), expected \(expected)")
                    return
                }
            }
        }
    }

    @Test("addition adds row by row")
    func addition() throws {
        var random = Random()
        let (rows, columns) = (37, 51)
        let x = random.floats(rows * columns)
        let y = random.floats(rows * columns)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            let sum = Guarded(rows, columns, gap: 2, values: y)
            compute.add(Guarded(rows, columns, gap: 9, values: x).matrix, to: sum.matrix)
            #expect(sum.values == zip(x, y).map { $0 + $1 })
            #expect(sum.isIntact)
        }
    }

    @Test("rows are gathered as they are stored, in place", arguments: [5, 16, 33, 200])
    func table(_ channels: Int) throws {
        var random = Random()
        let rows = 83
        let values = random.floats(rows * channels).map(rounded)
        let wide = try Tensor(values, shape: [rows, channels])
        // A bfloat16 table at an odd address, as a file may hold it.
        let storage = try Storage(byteCount: 1 + 2 * values.count)
        for (index, value) in values.enumerated() {
            storage.mutableBytes.storeBytes(
                of: UInt16(value.bitPattern >> 16), toByteOffset: 1 + 2 * index, as: UInt16.self)
        }
        let narrow = try Tensor(.bfloat16, shape: [rows, channels], storage: storage, byteOffset: 1)
        for tensor in [wide, narrow] {
            let table = try EmbeddingTable(tensor)
            #expect(table.rows == rows && table.channels == channels)
            guard case .numbers(let kept, _) = table.values else {
                Issue.record("a table of numbers holds something else")
                continue
            }
            #expect(kept.storage === tensor.storage)
            for set in InstructionSet.available {
                let compute = try Compute(threads: 2, instructionSet: set)
                let ids = [0, rows - 1, 3, 3]
                let gathered = Guarded(ids.count, channels, gap: 1)
                compute.gather(ids, from: table, into: gathered.matrix)
                #expect(gathered.values == ids.flatMap { values[$0 * channels..<($0 + 1) * channels] })
                #expect(gathered.isIntact)
            }
        }
    }
}
