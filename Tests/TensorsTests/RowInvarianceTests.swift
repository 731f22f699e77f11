import Testing

@testable import Tensors

/// A row's result depends on its own operands: not on how many rows stand beside it, on its place among them, or on the
/// number of threads. Reuse of prompts, chunks of a prefill and batches rely on it.
@Suite("A row has the same bits alone and among others") struct RowInvarianceTests {
    static let rows = 41
    static let formats: [WeightFormat] = [.float32, .bfloat16, .int8(group: 64), .int4(group: 32)]

    /// Runs `body` over all rows, then over parts of them from one row on, on 1 to 3 threads, and compares bits.
    private func expectSameRows(
        _ set: InstructionSet, _ what: String, columns: Int, start: [Float],
        _ body: (_ compute: Compute, _ rows: Range<Int>, _ y: Matrix) throws -> Void
    ) throws {
        let computes = try (1...3).map { try Compute(threads: $0, instructionSet: set) }
        let whole = Guarded(Self.rows, columns, values: start)
        try body(computes[0], 0..<Self.rows, whole.matrix)
        for count in [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 15, 16, 17, 31, 32, 33, Self.rows] {
            for first in Set([0, (Self.rows - count) / 3, Self.rows - count]).sorted() {
                let rows = first..<first + count
                for compute in computes {
                    let part = Guarded(Self.rows, columns, values: start)
                    try body(compute, rows, part.matrix.rows(rows))
                    let same = rows.allSatisfy { row in
                        (0..<columns).allSatisfy {
                            part.matrix[row, $0].bitPattern == whole.matrix[row, $0].bitPattern
                        }
                    }
                    #expect(same, "\(what) on \(set): rows \(rows) on \(compute.threads) threads")
                    if !same { return }
                }
            }
        }
    }

    @Test("products of every format", arguments: formats)
    func products(_ format: WeightFormat) throws {
        var random = Random()
        for (inputs, outputs) in [(96, 70), (1283, 40), (2080, 33)] {
            let x = Guarded(Self.rows, inputs, values: random.floats(Self.rows * inputs)).matrix
            let values = random.floats(outputs * inputs, scale: 0.1)
            let (w, b) = (try Tensor(values, shape: [outputs, inputs]), try Vector(random.floats(outputs)))
            let start = random.floats(Self.rows * outputs)
            for set in InstructionSet.available {
                let compute = try Compute(threads: 1, instructionSet: set)
                let packed = try PackedMatrix(w, format: format, compute: compute)
                let gated = try PackedGatedMatrix(gate: w, up: w, format: format, compute: compute)
                let what = "\(format) \(inputs)→\(outputs)"
                try expectSameRows(set, "linear \(what)", columns: outputs, start: start) {
                    $0.linear(x.rows($1), packed, bias: b, activation: .gelu, into: $2)
                }
                try expectSameRows(set, "adding \(what)", columns: outputs, start: start) {
                    $0.linearAdding(x.rows($1), packed, bias: b, scale: b, to: $2)
                }
                try expectSameRows(set, "gated \(what)", columns: outputs, start: start) {
                    $0.gatedLinear(x.rows($1), gated, into: $2)
                }
                try expectSameRows(set, "exact logits \(what)", columns: outputs, start: start) {
                    $0.logits(x.rows($1), packed, isExact: true, into: $2)
                }
            }
        }
    }

    @Test("feed-forward networks, fused or as two products", arguments: formats.dropLast())
    func feedForward(_ format: WeightFormat) throws {
        var random = Random()
        let (channels, hidden, many) = (72, 300, 700)
        let w1 = try Tensor(random.floats(hidden * channels, scale: 0.1), shape: [hidden, channels])
        let w2 = try Tensor(random.floats(channels * hidden, scale: 0.1), shape: [channels, hidden])
        let bias = try Vector(random.floats(hidden))
        let values = random.floats(many * channels)
        for set in InstructionSet.available {
            var whole: [Float] = []
            for threads in 1...3 {
                let compute = try Compute(threads: threads, instructionSet: set)
                let up = try PackedMatrix(w1, format: format, compute: compute)
                let down = try PackedMatrix(w2, format: format, compute: compute)
                func run(_ rows: Range<Int>) -> [Float] {
                    let y = Guarded(
                        rows.count, channels,
                        values: Array(values[rows.lowerBound * channels..<rows.upperBound * channels]))
                    compute.feedForwardAdding(
                        y.matrix, expand: up, expandBias: bias, project: down, projectBias: nil, scale: nil,
                        to: y.matrix)
                    return y.values
                }
                if whole.isEmpty { whole = run(0..<many) }
                // Rests of 1, 2, 3 … rows after whole chunks, and rows that go by two products.
                for count in [many, many - 1, 613, 361, 289, 258, 257, 256, 100, 34, 33, 3, 2, 1] {
                    for first in Set([0, many - count]).sorted() {
                        let same =
                            bits(run(first..<first + count))
                            == bits(Array(whole[first * channels..<(first + count) * channels]))
                        #expect(same, "\(set) \(format): rows \(first)+\(count) on \(threads) threads")
                    }
                }
            }
        }
    }

    @Test("attention of few queries and of many", arguments: [41, 300, 600])
    func attention(_ keyCount: Int) throws {
        var random = Random()
        let (heads, keyHeads, dimension) = (4, 2, 64)
        let q = Guarded(Self.rows, heads * dimension, values: random.floats(Self.rows * heads * dimension))
            .matrix
        let width = keyHeads * dimension
        let k = Guarded(keyCount, width, values: random.floats(keyCount * width)).matrix
        let v = Guarded(keyCount, width, values: random.floats(keyCount * width)).matrix
        let start = [Float](repeating: 0, count: Self.rows * heads * dimension)
        let offset = keyCount - Self.rows
        for set in InstructionSet.available {
            for isCausal in [true, false] {
                try expectSameRows(
                    set, "attention\(isCausal ? " causal" : "") \(keyCount)", columns: heads * dimension,
                    start: start
                ) {
                    $0.attention(
                        queries: q.rows($1), keys: k, values: v, heads: heads, keyValueHeads: keyHeads,
                        scale: 0.125, causalOffset: isCausal ? offset + $1.lowerBound : nil, into: $2)
                }
            }
            for isBFloat16 in [false, true] {
                let memory = BlockMemory(
                    order: (0..<(keyCount + 31) / 32).reversed(), layers: 1, width: width,
                    isBFloat16: isBFloat16)
                let blocks = memory.sequence()
                blocks.storeKeys(k, layer: 0, from: 0)
                blocks.storeValues(v, layer: 0, from: 0)
                try expectSameRows(
                    set, "attention over blocks\(isBFloat16 ? " of bf16" : "") \(keyCount)",
                    columns: heads * dimension, start: start
                ) { compute, rows, y in
                    let part = AttentionPart(
                        rows: 0..<rows.count, blocks: blocks, keys: keyCount,
                        causalOffset: offset + rows.lowerBound)
                    withUnsafePointer(to: part) {
                        compute.attention(
                            queries: q.rows(rows), parts: UnsafeBufferPointer(start: $0, count: 1), layer: 0,
                            heads: heads, keyValueHeads: keyHeads, scale: 0.125, into: y)
                    }
                }
            }
        }
    }

    @Test("norms and rotation")
    func rowOperations() throws {
        var random = Random()
        let columns = 88
        let x = Guarded(Self.rows, columns, values: random.floats(Self.rows * columns)).matrix
        let w = try Vector(random.floats(columns))
        let table = try RotaryTable(headDimension: 22, theta: 10_000, positions: 64)
        let start = [Float](repeating: 0, count: Self.rows * columns)
        for set in InstructionSet.available {
            try expectSameRows(set, "layer norm", columns: columns, start: start) {
                $0.layerNorm(x.rows($1), weight: w, bias: w, epsilon: 1e-5, into: $2)
            }
            try expectSameRows(set, "root mean square norm", columns: columns, start: start) {
                $0.rmsNorm(x.rows($1), weight: w, epsilon: 1e-5, into: $2)
            }
            try expectSameRows(set, "rotation", columns: columns, start: random.floats(Self.rows * columns)) {
                $0.rotate($2, headDimension: 22, table: table, firstPosition: $1.lowerBound)
            }
        }
    }
}
