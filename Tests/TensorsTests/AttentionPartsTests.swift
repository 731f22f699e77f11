import Testing

@testable import Tensors

/// Blocks of a cache for some sequences, NaN until somebody writes them. The memory is never freed, as that of `Guarded`.
struct BlockMemory {
    let width: Int
    let isBFloat16: Bool
    private let layers: Int
    private let memory: UnsafeMutableRawBufferPointer
    private let bases: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private let blocks: Int

    /// - Parameter order: place in memory of each block, all of 0 ..< order.count
    init(order: [Int], layers: Int, width: Int, isBFloat16: Bool) {
        self.layers = layers
        self.width = width
        self.isBFloat16 = isBFloat16
        blocks = order.count
        let bytes = KeyValueBlocks.bytesPerBlock(layers: layers, width: width, isBFloat16: isBFloat16)
        let start = UnsafeMutableRawPointer.allocate(byteCount: order.count * bytes, alignment: 64)
        memory = UnsafeMutableRawBufferPointer(start: start, count: order.count * bytes)
        for index in memory.indices { memory[index] = 0xFF }
        bases = .allocate(capacity: order.count)
        for (index, place) in order.enumerated() {
            (bases + index).initialize(to: start + place * bytes)
        }
    }

    /// Positions from block `first` on.
    func sequence(from first: Int = 0, blocks count: Int? = nil) -> KeyValueBlocks {
        KeyValueBlocks(
            bases: bases + first, count: count ?? blocks - first, width: width, isBFloat16: isBFloat16)
    }

    /// One number, whose place is reckoned here again.
    func number(layer: Int, values: Bool, position: Int, column: Int) -> Float {
        let row = (2 * layer + (values ? 1 : 0)) * 32 + position % 32
        let place = bases[position / 32] + (row * width + column) * (isBFloat16 ? 2 : 4)
        if !isBFloat16 { return place.loadUnaligned(as: Float.self) }
        return Float(bitPattern: UInt32(place.loadUnaligned(as: UInt16.self)) << 16)
    }

    /// How many numbers somebody wrote.
    var written: Int {
        let size = isBFloat16 ? 2 : 4
        return (0..<memory.count / size).count { index in
            memory[index * size..<(index + 1) * size].contains { $0 != 0xFF }
        }
    }
}

@Suite("Attention over blocks, several sequences in a step") struct AttentionPartsTests {
    struct Sequence: Sendable {
        /// New rows of this step, and positions before them.
        let rows: Int
        let before: Int
        var keys: Int { before + rows }
    }

    struct Step: Sendable, CustomTestStringConvertible {
        let sequences: [Sequence]
        let heads: Int
        let keyValueHeads: Int
        let dimension: Int
        var testDescription: String {
            sequences.map { "\($0.rows)+\($0.before)" }.joined(separator: " ")
                + " h\(heads)/\(keyValueHeads) d\(dimension)"
        }
        init(_ sequences: [(Int, Int)], heads: Int, keyValueHeads: Int, dimension: Int) {
            self.sequences = sequences.map { Sequence(rows: $0.0, before: $0.1) }
            self.heads = heads
            self.keyValueHeads = keyValueHeads
            self.dimension = dimension
        }
    }

    static let steps = [
        Step([(1, 0)], heads: 14, keyValueHeads: 2, dimension: 64),
        Step([(1, 299), (1, 31), (1, 32), (1, 530)], heads: 14, keyValueHeads: 2, dimension: 64),
        Step([(40, 0), (1, 63), (3, 30)], heads: 4, keyValueHeads: 2, dimension: 32),
        Step([(1, 256), (70, 250), (1, 255), (9, 24)], heads: 3, keyValueHeads: 1, dimension: 33),
        Step([(2, 31), (5, 0)], heads: 2, keyValueHeads: 2, dimension: 7),
        Step([(33, 300), (1, 5)], heads: 2, keyValueHeads: 1, dimension: 128),
        Step((0..<12).map { (1, 17 * $0) }, heads: 6, keyValueHeads: 2, dimension: 80),
    ]

    @Test("every sequence has the bits that contiguous keys and values give it alone", arguments: steps)
    func parts(_ step: Step) throws {
        var random = Random()
        let (layers, layer) = (3, 1)
        let (columns, width) = (step.heads * step.dimension, step.keyValueHeads * step.dimension)
        let total = step.sequences.reduce(0) { $0 + $1.rows }
        let q = Guarded(total, columns, gap: 3, values: random.floats(total * columns, scale: 3))
        for isBFloat16 in [false, true] {
            // The blocks of all sequences in falling order: none follows the one before it.
            let counts = step.sequences.map { ($0.keys + 31) / 32 }
            let memory = BlockMemory(
                order: (0..<counts.reduce(0, +)).reversed(), layers: layers, width: width,
                isBFloat16: isBFloat16)
            var parts: [AttentionPart] = []
            var contiguous: [(keys: Matrix, values: Matrix)] = []
            var (row, block) = (0, 0)
            for (sequence, count) in zip(step.sequences, counts) {
                var numbers = (
                    random.floats(sequence.keys * width), random.floats(sequence.keys * width)
                )
                let blocks = memory.sequence(from: block, blocks: count)
                for (first, end) in [(0, sequence.before), (sequence.before, sequence.keys)] {
                    let k = Guarded(sequence.keys, width, gap: 1, values: numbers.0)
                    let v = Guarded(sequence.keys, width, gap: 2, values: numbers.1)
                    blocks.storeKeys(k.matrix.rows(first..<end), layer: layer, from: first)
                    blocks.storeValues(v.matrix.rows(first..<end), layer: layer, from: first)
                }
                if isBFloat16 { numbers = (numbers.0.map(rounded), numbers.1.map(rounded)) }
                contiguous.append(
                    (
                        Guarded(sequence.keys, width, values: numbers.0).matrix,
                        Guarded(sequence.keys, width, values: numbers.1).matrix
                    ))
                parts.append(
                    AttentionPart(
                        rows: row..<row + sequence.rows, blocks: blocks, keys: sequence.keys,
                        causalOffset: sequence.before))
                row += sequence.rows
                block += count
            }
            for set in InstructionSet.available {
                let expected = Guarded(total, columns)
                let alone = try Compute(threads: 1, instructionSet: set)
                for (part, numbers) in zip(parts, contiguous) {
                    alone.attention(
                        queries: q.matrix.rows(part.rows), keys: numbers.keys, values: numbers.values,
                        heads: step.heads, keyValueHeads: step.keyValueHeads, scale: 0.2,
                        causalOffset: part.causalOffset, mayRound: isBFloat16,
                        into: expected.matrix.rows(part.rows))
                }
                #expect(expected.values.allSatisfy { $0.isFinite })
                for threads in 1...3 {
                    let compute = try Compute(threads: threads, instructionSet: set)
                    let y = Guarded(total, columns, gap: 5)
                    parts.withUnsafeBufferPointer {
                        compute.attention(
                            queries: q.matrix, parts: $0, layer: layer, heads: step.heads,
                            keyValueHeads: step.keyValueHeads, scale: 0.2, into: y.matrix)
                    }
                    #expect(
                        bits(y.values) == bits(expected.values),
                        "\(set) bf16 \(isBFloat16) \(threads) threads seed \(random.seed)")
                    #expect(y.isIntact)
                }
            }
        }
        #expect(q.isIntact)
    }

    @Test("a sequence's keys and values may be another's: a shared block is read, not written")
    func shared() throws {
        var random = Random()
        let (width, keys) = (8, 40)
        let memory = BlockMemory(order: [1, 0], layers: 1, width: width, isBFloat16: true)
        let blocks = memory.sequence()
        blocks.storeKeys(
            Guarded(keys, width, values: random.floats(keys * width)).matrix, layer: 0, from: 0)
        blocks.storeValues(
            Guarded(keys, width, values: random.floats(keys * width)).matrix, layer: 0, from: 0)
        let q = Guarded(3, width, values: Array(repeating: random.floats(width), count: 3).flatMap { $0 })
        let places = [(0, keys), (1, 20), (2, keys)]
        let parts = places.map {
            AttentionPart(rows: $0..<$0 + 1, blocks: blocks, keys: $1, causalOffset: $1 - 1)
        }
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            let y = Guarded(3, width)
            parts.withUnsafeBufferPointer {
                compute.attention(
                    queries: q.matrix, parts: $0, layer: 0, heads: 1, keyValueHeads: 1, scale: 1,
                    into: y.matrix)
            }
            let (a, b, c) = (Array(y.matrix.row(0)), Array(y.matrix.row(1)), Array(y.matrix.row(2)))
            #expect(bits(a) == bits(c) && bits(a) != bits(b), "\(set)")
        }
    }

    @Test("rows are stored at their positions, rounded where they are bfloat16, and nothing else is written")
    func store() {
        var random = Random()
        let (layers, width, first, count) = (2, 5, 30, 37)
        #expect(KeyValueBlocks.blockPositions == 32)
        #expect(
            KeyValueBlocks.bytesPerBlock(layers: layers, width: width, isBFloat16: true) == 2 * 2 * 32 * 5 * 2
        )
        for isBFloat16 in [false, true] {
            let memory = BlockMemory(
                order: [2, 0, 1], layers: layers, width: width, isBFloat16: isBFloat16)
            let blocks = memory.sequence()
            #expect(blocks.positions == 96 && blocks.count == 3)
            let numbers = (0..<2 * layers).map { _ in random.floats(count * width) }
            for layer in 0..<layers {
                blocks.storeKeys(
                    Guarded(count, width, gap: 3, values: numbers[2 * layer]).matrix, layer: layer,
                    from: first)
                blocks.storeValues(
                    Guarded(count, width, gap: 1, values: numbers[2 * layer + 1]).matrix, layer: layer,
                    from: first)
            }
            for index in 0..<2 * layers * count * width {
                let (half, rest) = index.quotientAndRemainder(dividingBy: count * width)
                let got = memory.number(
                    layer: half / 2, values: half % 2 == 1, position: first + rest / width,
                    column: rest % width)
                let value = numbers[half][rest]
                #expect(got.bitPattern == (isBFloat16 ? rounded(value) : value).bitPattern)
            }
            #expect(memory.written == 2 * layers * count * width)
        }
    }

    @Test("every sequence's rows are rotated to their own positions")
    func rotate() throws {
        var random = Random()
        // 400 rows of 80 numbers are several tasks, whose borders are not those of the sequences.
        let (dimension, columns) = (16, 80)
        let table = try RotaryTable(headDimension: dimension, theta: 10_000, positions: 500)
        let memory = BlockMemory(order: Array(0..<16), layers: 1, width: dimension, isBFloat16: false)
        for places in [[(1, 3), (2, 498), (1, 0)], [(150, 7), (1, 499), (249, 250)]] {
            let total = places.reduce(0) { $0 + $1.0 }
            let numbers = random.floats(total * columns)
            var parts: [AttentionPart] = []
            for (count, position) in places {
                let first = parts.last?.rows.upperBound ?? 0
                parts.append(
                    AttentionPart(
                        rows: first..<first + count, blocks: memory.sequence(), keys: position + count,
                        causalOffset: position))
            }
            for set in InstructionSet.available {
                let compute = try Compute(threads: 3, instructionSet: set)
                let expected = Guarded(total, columns, values: numbers)
                for part in parts {
                    compute.rotate(
                        expected.matrix.rows(part.rows), headDimension: dimension, table: table,
                        firstPosition: part.causalOffset)
                }
                let x = Guarded(total, columns, gap: 2, values: numbers)
                parts.withUnsafeBufferPointer {
                    compute.rotate(x.matrix, headDimension: dimension, table: table, parts: $0)
                }
                #expect(bits(x.values) == bits(expected.values), "\(set) \(places)")
                #expect(bits(x.values) != bits(numbers) && x.isIntact)
            }
        }
    }
}
