import Foundation
import Testing

@testable import Tensors

@Suite struct AttentionTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        let queries: Int
        let keys: Int
        let heads: Int
        let keyValueHeads: Int
        let dimension: Int
        let causalOffset: Int?
        var testDescription: String {
            "\(queries)×\(keys) h\(heads)/\(keyValueHeads) d\(dimension) "
                + (causalOffset.map { "causal+\($0)" } ?? "full")
        }
    }

    static let shapes = [
        Shape(queries: 1, keys: 1, heads: 1, keyValueHeads: 1, dimension: 32, causalOffset: nil),
        Shape(queries: 50, keys: 50, heads: 3, keyValueHeads: 3, dimension: 32, causalOffset: nil),
        Shape(queries: 256, keys: 256, heads: 2, keyValueHeads: 2, dimension: 32, causalOffset: nil),
        Shape(queries: 1, keys: 301, heads: 14, keyValueHeads: 2, dimension: 64, causalOffset: 300),
        Shape(queries: 3, keys: 20, heads: 4, keyValueHeads: 2, dimension: 64, causalOffset: 17),
        Shape(queries: 143, keys: 143, heads: 4, keyValueHeads: 2, dimension: 64, causalOffset: 0),
        Shape(queries: 70, keys: 200, heads: 2, keyValueHeads: 1, dimension: 128, causalOffset: 130),
        Shape(queries: 33, keys: 333, heads: 2, keyValueHeads: 2, dimension: 72, causalOffset: nil),
        Shape(queries: 17, keys: 131, heads: 2, keyValueHeads: 2, dimension: 80, causalOffset: nil),
        Shape(queries: 12, keys: 64, heads: 2, keyValueHeads: 2, dimension: 96, causalOffset: 52),
        Shape(queries: 9, keys: 37, heads: 3, keyValueHeads: 1, dimension: 10, causalOffset: 5),
        Shape(queries: 2, keys: 9, heads: 2, keyValueHeads: 1, dimension: 7, causalOffset: nil),
        Shape(queries: 5, keys: 600, heads: 2, keyValueHeads: 2, dimension: 33, causalOffset: 595),
    ]

    static func expected(
        _ q: [Float], _ k: [Float], _ v: [Float], _ s: Shape, scale: Double
    ) -> [Double] {
        let width = s.heads * s.dimension
        let kvWidth = s.keyValueHeads * s.dimension
        var result = [Double](repeating: 0, count: s.queries * width)
        for head in 0..<s.heads {
            let kvHead = head / (s.heads / s.keyValueHeads)
            for i in 0..<s.queries {
                let visible = s.causalOffset.map { $0 + i + 1 } ?? s.keys
                var scores: [Double] = []
                for j in 0..<visible {
                    var dot = 0.0
                    for d in 0..<s.dimension {
                        let a = q[i * width + head * s.dimension + d]
                        let b = k[j * kvWidth + kvHead * s.dimension + d]
                        dot += Double(a) * Double(b)
                    }
                    scores.append(scale * dot)
                }
                let largest = scores.max() ?? 0
                let weights = scores.map { exp($0 - largest) }
                let total = weights.reduce(0, +)
                for d in 0..<s.dimension {
                    var sum = 0.0
                    for j in 0..<visible {
                        sum += weights[j] * Double(v[j * kvWidth + kvHead * s.dimension + d])
                    }
                    result[i * width + head * s.dimension + d] = sum / total
                }
            }
        }
        return result
    }

    @Test("attention equals float64 loops: causal, grouped, offset, strided", arguments: shapes)
    func attention(_ s: Shape) throws {
        var random = Random()
        let width = s.heads * s.dimension
        let kvWidth = s.keyValueHeads * s.dimension
        for spread in [Float(1), 6] {
            let q = random.floats(s.queries * width, scale: spread)
            let k = random.floats(s.keys * kvWidth)
            let v = random.floats(s.keys * kvWidth)
            let scale = 1 / Double(s.dimension).squareRoot()
            let reference = Self.expected(q, k, v, s, scale: Double(Float(scale)))
            for set in InstructionSet.available {
                let compute = try Compute(threads: 2, instructionSet: set)
                let queries = Guarded(s.queries, width, gap: 2 * width, values: q)
                let keys = Guarded(s.keys, kvWidth, gap: 3, values: k)
                let values = Guarded(s.keys, kvWidth, gap: 1, values: v)
                let output = Guarded(s.queries, width, gap: 4)
                compute.attention(
                    queries: queries.matrix, keys: keys.matrix, values: values.matrix, heads: s.heads,
                    keyValueHeads: s.keyValueHeads, scale: Float(scale), causalOffset: s.causalOffset,
                    into: output.matrix)
                #expect(
                    normalisedError(output.values, reference) < 1e-9,
                    "\(set) spread \(spread) seed \(random.seed)")
                #expect(output.isIntact && queries.isIntact && keys.isIntact && values.isIntact)
                // In place of the queries.
                compute.attention(
                    queries: queries.matrix, keys: keys.matrix, values: values.matrix, heads: s.heads,
                    keyValueHeads: s.keyValueHeads, scale: Float(scale), causalOffset: s.causalOffset,
                    into: queries.matrix)
                #expect(bits(queries.values) == bits(output.values))
            }
        }
    }

    @Test(
        "keys and values in bfloat16 give what their rounded numbers give",
        arguments: shapes.filter { $0.causalOffset != nil })
    func half(_ s: Shape) throws {
        var random = Random()
        let kvWidth = s.keyValueHeads * s.dimension
        let q = random.floats(s.queries * s.heads * s.dimension)
        let (k, v) = (random.floats(s.keys * kvWidth), random.floats(s.keys * kvWidth))
        // Round to nearest even, in another way than the kernels do.
        func rounded(_ x: Float) -> Float {
            if x == 0 { return x }  // Its exponent is Int.min; random numbers are zero now and then.
            let step = Float(sign: .plus, exponent: x.exponent - 7, significand: 1)
            return (x / step).rounded(.toNearestOrEven) * step
        }
        let scale = 1 / Double(s.dimension).squareRoot()
        let reference = Self.expected(
            q, k.map(rounded), v.map(rounded), s, scale: Double(Float(scale)))
        let memory = BlockMemory(
            order: (0..<(s.keys + 31) / 32).reversed(), layers: 1, width: kvWidth, isBFloat16: true)
        let blocks = memory.sequence()
        blocks.storeKeys(Guarded(s.keys, kvWidth, gap: 2, values: k).matrix, layer: 0, from: 0)
        blocks.storeValues(Guarded(s.keys, kvWidth, gap: 1, values: v).matrix, layer: 0, from: 0)
        let parts = [
            AttentionPart(
                rows: 0..<s.queries, blocks: blocks, keys: s.keys, causalOffset: s.causalOffset ?? 0)
        ]
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            let output = Guarded(s.queries, s.heads * s.dimension, gap: 4)
            parts.withUnsafeBufferPointer {
                compute.attention(
                    queries: Guarded(s.queries, s.heads * s.dimension, values: q).matrix, parts: $0,
                    layer: 0, heads: s.heads, keyValueHeads: s.keyValueHeads, scale: Float(scale),
                    into: output.matrix)
            }
            // Some round queries and the softmax's weights too, to 8 bits.
            let most = [.avx512bf16, .avx512amx].contains(set) ? 2e-5 : 1e-9
            #expect(normalisedError(output.values, reference) < most, "\(set) seed \(random.seed)")
            #expect(output.isIntact)
        }
    }

    @Test("scores far apart neither overflow nor vanish")
    func extremes() throws {
        let (keys, dimension) = (40, 8)
        let q: [Float] = .init(repeating: 1000, count: dimension)
        let k = (0..<keys * dimension).map { Float($0 / dimension == 23 ? 10 : -10) }
        let v = (0..<keys * dimension).map { Float($0 / dimension) }
        for set in InstructionSet.available {
            let compute = try Compute(threads: 1, instructionSet: set)
            for rows in [1, 9] {
                let output = Guarded(rows, dimension)
                compute.attention(
                    queries: Guarded(
                        rows, dimension, values: Array(repeating: q, count: rows).flatMap { $0 }
                    ).matrix,
                    keys: Guarded(keys, dimension, values: k).matrix,
                    values: Guarded(keys, dimension, values: v).matrix, heads: 1, keyValueHeads: 1, scale: 1,
                    causalOffset: nil, into: output.matrix)
                #expect(output.values.allSatisfy { $0 == 23 }, "\(set)")
            }
        }
    }

    @Test("rotation turns each pair of halves by its angle")
    func rotate() throws {
        var random = Random()
        let (tokens, heads, first) = (5, 3, 11)
        for dimension in [2, 10, 16, 64, 80] {
            let x = random.floats(tokens * heads * dimension)
            let table = try RotaryTable(headDimension: dimension, theta: 1_000_000, positions: 16)
            var expected = [Double](repeating: 0, count: x.count)
            for token in 0..<tokens {
                for head in 0..<heads {
                    let start = (token * heads + head) * dimension
                    for i in 0..<dimension / 2 {
                        let angle = Double(first + token) * pow(1_000_000, -2 * Double(i) / Double(dimension))
                        let (a, b) = (Double(x[start + i]), Double(x[start + i + dimension / 2]))
                        expected[start + i] = a * cos(angle) - b * sin(angle)
                        expected[start + i + dimension / 2] = b * cos(angle) + a * sin(angle)
                    }
                }
            }
            for set in InstructionSet.available {
                let compute = try Compute(threads: 2, instructionSet: set)
                let matrix = Guarded(tokens, heads * dimension, gap: 3, values: x)
                compute.rotate(matrix.matrix, headDimension: dimension, table: table, firstPosition: first)
                #expect(normalisedError(matrix.values, expected) < 1e-12, "\(set) \(dimension)")
                #expect(matrix.isIntact)
            }
        }
        #expect(throws: TensorError.self) { try RotaryTable(headDimension: 3, theta: 10, positions: 1) }
        #expect(throws: TensorError.self) { try RotaryTable(headDimension: 4, theta: 0, positions: 1) }
        #expect(throws: TensorError.self) { try RotaryTable(headDimension: 4, theta: 10, positions: .max) }
    }
}
