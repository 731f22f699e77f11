import CKernels
import Testing

@testable import Tensors

/// Integers of other programs, and panels that are stored.
@Suite struct IntegerMatrixTests {
    /// A random matrix in MLX's affine form, with its values as numbers.
    struct Affine {
        let matrix: IntegerMatrix
        let values: [Float]

        init(_ s: QuantisedTests.Shape, bits: Int, group: Int, _ random: inout Random) throws {
            let count = s.outputs * s.inputs
            let top = UInt64(1) << UInt64(bits)
            let integers = (0..<count).map { _ in UInt32(random.next() % top) }
            let groups = s.inputs / group
            let scales = random.floats(s.outputs * groups, scale: 0.1)
            let biases = random.floats(s.outputs * groups, scale: 0.5)
            let perWord = 32 / bits
            let words = try Storage(byteCount: count / perWord * 4)
            for word in 0..<count / perWord {
                var value: UInt32 = 0
                for index in 0..<perWord {
                    value |= integers[word * perWord + index] << UInt32(index * bits)
                }
                words.mutableBytes.storeBytes(of: value.littleEndian, toByteOffset: word * 4, as: UInt32.self)
            }
            matrix = try IntegerMatrix(
                words: Tensor(.uint32, shape: [s.outputs, s.inputs / perWord], storage: words),
                scales: Tensor(scales, shape: [s.outputs, groups]),
                biases: Tensor(biases, shape: [s.outputs, groups]), outputs: s.outputs, inputs: s.inputs,
                bits: bits, group: group)
            values = (0..<count).map { index in
                let place = index / s.inputs * groups + index % s.inputs / group
                return scales[place] * Float(integers[index]) + biases[place]
            }
        }
    }

    static let shapes = [
        QuantisedTests.Shape(rows: 4, inputs: 128, outputs: 9),
        QuantisedTests.Shape(rows: 1, inputs: 896, outputs: 133),
        QuantisedTests.Shape(rows: 7, inputs: 128, outputs: 33),
        QuantisedTests.Shape(rows: 13, inputs: 384, outputs: 48),
        QuantisedTests.Shape(rows: 100, inputs: 1664, outputs: 65),
    ]

    @Test("are multiplied as they are", arguments: shapes, [4, 8])
    func products(_ s: QuantisedTests.Shape, bits: Int) throws {
        var random = Random()
        let x = random.floats(s.rows * s.inputs)
        let group = [32, 64, 128][Int(random.next() % 3)]
        let one = try Affine(s, bits: bits, group: group, &random)
        let two = try Affine(s, bits: bits, group: group, &random)
        let expected = QuantisedTests.product(x, one.values, s)
        let gated = zip(expected, QuantisedTests.product(x, two.values, s)).map { $0.activated(silu) * $1 }
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            guard compute.keepsIntegers(bits: bits) else { continue }
            let input = Guarded(s.rows, s.inputs, values: x)
            let output = Guarded(s.rows, s.outputs, gap: 1)
            let packed = try PackedMatrix(one.matrix, compute: compute)
            compute.linear(input.matrix, packed, into: output.matrix)
            #expect(
                normalisedError(output.values, expected) < QuantisedTests.activationError(of: expected.count),
                "\(set) groups of \(group) seed \(random.seed)")
            let pair = try #require(
                try PackedGatedMatrix(gate: one.matrix, up: two.matrix, compute: compute))
            let product = Guarded(s.rows, s.outputs, gap: 2)
            compute.gatedLinear(input.matrix, pair, into: product.matrix)
            #expect(
                normalisedError(product.values, gated) < 8 * QuantisedTests.activationError(of: gated.count),
                "\(set) groups of \(group) seed \(random.seed)")
            #expect(output.isIntact && product.isIntact)
            // And come back as the numbers they stand for.
            let stored = packed.panels
            #expect(difference(try stored.values().floats(), one.values) < 1e-5)
            let both = pair.panels
            #expect(difference(try both.values().floats(), one.values) < 1e-5)
            #expect(difference(try both.values(isSecond: true).floats(), two.values) < 1e-5)
        }
    }

    private func difference(_ got: [Float], _ expected: [Float]) -> Float {
        guard got.count == expected.count else { return .infinity }
        return zip(got, expected).reduce(0) { max($0, abs($1.0 - $1.1)) }
    }

    @Test("of another number of bits, groups or shape are refused")
    func refused() throws {
        var random = Random()
        let s = QuantisedTests.Shape(rows: 1, inputs: 128, outputs: 5)
        let four = try Affine(s, bits: 4, group: 32, &random).matrix
        let other = try Affine(s, bits: 4, group: 64, &random).matrix
        let compute = try Compute(threads: 1)
        #expect(try PackedGatedMatrix(gate: four, up: other, compute: compute) == nil)
        let words = try Tensor(
            .uint32, shape: [5, 16], storage: try Storage(byteCount: 5 * 16 * 4))
        let scales = try Tensor([Float](repeating: 1, count: 20), shape: [5, 4])
        for (bits, group, inputs) in [(5, 32, 128), (4, 48, 128), (4, 32, 64), (8, 32, 128), (4, 32, 0)] {
            #expect(throws: TensorError.self) {
                _ = try IntegerMatrix(
                    words: words, scales: scales, biases: scales, outputs: 5, inputs: inputs, bits: bits,
                    group: group)
            }
        }
    }

    @Test("Stored panels multiply with the same bits", arguments: QuantisedTests.shapes)
    func stored(_ s: QuantisedTests.Shape) throws {
        var random = Random()
        let x = random.floats(s.rows * s.inputs)
        for format in QuantisedTests.formats(&random) {
            for set in InstructionSet.available {
                let compute = try Compute(threads: 2, instructionSet: set)
                let values = try QuantisedTests.exact(s, format, compute, &random)
                let packed = try PackedMatrix(
                    Tensor(values, shape: [s.outputs, s.inputs]), format: format, compute: compute)
                let panels = packed.panels
                #expect(try panels.values().floats() == values, "\(set) \(format) seed \(random.seed)")
                let again = try #require(PackedMatrix(panels, compute: compute))
                let (one, two) = (Guarded(s.rows, s.outputs), Guarded(s.rows, s.outputs))
                let input = Guarded(s.rows, s.inputs, values: x)
                compute.linear(input.matrix, packed, into: one.matrix)
                compute.linear(input.matrix, again, into: two.matrix)
                #expect(one.values == two.values, "\(set) \(format) seed \(random.seed)")
                #expect(PackedGatedMatrix(panels, compute: compute) == nil)
            }
        }
    }

    @Test("Panels for other kernels, beyond their storage or off a cache line are not used")
    func misfits() throws {
        let compute = try Compute(threads: 1, instructionSet: .scalar)
        let width = compute.kernels.pointee.panel_width
        func layout(
            _ outputs: Int = 40, _ inputs: Int = 96, _ format: WeightFormat = .int8(group: 32), width: Int,
            limit: Int = 127, zero: Int? = nil
        ) -> PanelLayout? {
            PanelLayout(
                outputs: outputs, inputs: inputs, isGated: false, format: format, hasMinima: false,
                isRotated: false, panelWidth: width, weightLimit: limit, weightZero: zero ?? limit + 1)
        }
        let good = try #require(layout(width: width))
        let storage = try Storage(byteCount: good.byteCount + 64)
        #expect(PackedPanels(layout: good, storage: storage, byteOffset: 64) != nil)
        #expect(PackedPanels(layout: good, storage: storage, byteOffset: 32) == nil)
        #expect(PackedPanels(layout: good, storage: storage, byteOffset: 128) == nil)
        #expect(PackedPanels(layout: good, storage: storage, byteOffset: -64) == nil)
        #expect(PackedPanels(layout: good, storage: storage, byteOffset: Int.max / 64 * 64) == nil)
        for other in [
            layout(width: 4 * width), layout(width: width, limit: 63), layout(width: width, zero: 0),
        ] {
            let layout = try #require(other)
            let room = try Storage(byteCount: layout.byteCount)
            let panels = try #require(PackedPanels(layout: layout, storage: room, byteOffset: 0))
            #expect(PackedMatrix(panels, compute: compute) == nil)
        }
        #expect(layout(0, width: width) == nil)
        #expect(layout(40, -1, width: width) == nil)
        #expect(layout(1 << 40, width: width) == nil)
        #expect(layout(1 << 32, 1 << 32, width: width) == nil)
        #expect(layout(40, 96, .int8(group: 48), width: width) == nil)
        #expect(layout(40, 96, .bfloat16, width: width) == nil)
        #expect(layout(width: 5) == nil)
        #expect(layout(width: width, limit: 100) == nil)
        #expect(layout(width: width, zero: 5) == nil)
    }

    @Test(
        "rows of a table are gathered as numbers, the table stays integers", arguments: [4, 8], [32, 64, 128])
    func embedding(bits: Int, group: Int) throws {
        var random = Random()
        let s = QuantisedTests.Shape(rows: 1, inputs: 384, outputs: 61)
        let affine = try Affine(s, bits: bits, group: group, &random)
        let table = EmbeddingTable(affine.matrix)
        #expect(table.rows == s.outputs && table.channels == s.inputs)
        // Integers and two float32 numbers a group.
        #expect(table.byteCount == s.outputs * (s.inputs * bits / 8 + s.inputs / group * 8))
        for set in InstructionSet.available {
            let ids = [60, 0, 17, 17, 59]
            let gathered = Guarded(ids.count, s.inputs, gap: 3)
            try Compute(threads: 2, instructionSet: set).gather(ids, from: table, into: gathered.matrix)
            let expected = ids.flatMap { affine.values[$0 * s.inputs..<($0 + 1) * s.inputs] }
            #expect(gathered.values.map(\.bitPattern) == expected.map(\.bitPattern), "\(set)")
            #expect(gathered.isIntact)
        }
    }
}
