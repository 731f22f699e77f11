import Checkpoints
import Models
import Tensors
import TestSupport
import Testing

/// Fewer visual tokens between projector and decoder.
@Suite("Reduction of visual tokens")
struct TokenReductionTests {
    private func reduce(_ tokens: [[Float]], _ method: TokenReduction.Method, to count: Int) throws
        -> [[Float]]
    {
        let workspace = Workspace()
        let columns = tokens[0].count
        let matrix = try workspace.matrix(tokens.count, columns)
        for (row, values) in tokens.enumerated() {
            for (column, value) in values.enumerated() { matrix[row, column] = value }
        }
        let result = try TokenReducer(TokenReduction(method, tokens: count))(matrix)
        let all = result.floats()
        return (0..<result.shape[0]).map { Array(all[$0 * columns..<($0 + 1) * columns]) }
    }

    private func random(_ count: Int, _ columns: Int) -> [[Float]] {
        var generator = SeededGenerator()
        return (0..<count).map { _ in
            (0..<columns).map { _ in Float.random(in: -1...1, using: &generator) }
        }
    }

    @Test("2×2 pooling gives the means of four neighbours")
    func pooling() throws {
        let map = (0..<16).map { [Float($0), 1] }
        #expect(try reduce(map, .average, to: 4) == [[2.5, 1], [4.5, 1], [10.5, 1], [12.5, 1]])
        #expect(try reduce(map, .average, to: 1) == [[7.5, 1]])
    }

    /// torch 2.14.1: `adaptive_avg_pool2d(arange(25.).view(1, 1, 5, 5), 3)`; and to 2.
    @Test("Where places share their border, the means are those of PyTorch's adaptive pooling")
    func adaptive() throws {
        let map = (0..<25).map { [Float($0)] }
        #expect(
            try reduce(map, .average, to: 9).map { $0[0] } == [3, 4.5, 6, 10.5, 12, 13.5, 18, 19.5, 21])
        #expect(try reduce(map, .average, to: 4).map { $0[0] } == [6, 8, 16, 18])
    }

    @Test("Merging makes one of equal tokens and leaves the odd one alone, in the order of the image")
    func merging() throws {
        let (a, b): ([Float], [Float]) = ([1, 0, 0], [0, 1, 0])
        #expect(
            try reduce([a, a, b, a, [0, 0, 2], a], .merge, to: 3) == [
                a, b, [0, 0, 2],
            ])
        // What is merged counts as often as it stands for: the mean of three, not of two.
        let near: [[Float]] = [[1, 0.3], [1, 0], [1, 0], [0, 1]]
        let two = try reduce(near, .merge, to: 2)
        #expect(two.count == 2 && abs(two[0][1] - 0.1) < 1e-6 && two[1] == [0, 1], "\(two)")
    }

    @Test("Selection keeps what differs most and averages the rest into what it is most like")
    func selection() throws {
        let tokens: [[Float]] = [[1, 0, 0], [1, 0.2, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0.2]]
        let kept = try reduce(tokens, .select, to: 3)
        #expect(kept.count == 3)
        let expected: [[Float]] = [[1, 0.1, 0], [0, 1, 0.1], [0, 0, 1]]
        for (one, other) in zip(kept, expected) {
            for (value, right) in zip(one, other) { #expect(abs(value - right) < 1e-6, "\(kept)") }
        }
    }

    @Test(
        "As many as were asked for, and the mean of all for one; no more than there are",
        arguments: TokenReduction.Method.allCases)
    func counts(method: TokenReduction.Method) throws {
        let tokens = random(64, 20)
        for count in [1, 4, 16, 36, 49] {
            #expect(try reduce(tokens, method, to: count).count == count)
        }
        let mean = try reduce(tokens, method, to: 1)[0]
        for column in 0..<20 {
            let right = tokens.reduce(0) { $0 + $1[column] } / 64
            #expect(abs(mean[column] - right) < 1e-5)
        }
        for count in [64, 1000] { #expect(try reduce(tokens, method, to: count) == tokens) }
    }

    @Test("Tokens of zeros and tokens without a number end as well", arguments: [Float(0), .nan, .infinity])
    func odd(value: Float) throws {
        let tokens = [[Float]](repeating: [Float](repeating: value, count: 3), count: 9)
        for method in TokenReduction.Method.allCases {
            #expect(try reduce(tokens, method, to: 4).count == 4)
        }
    }

    @Test("It ends in its midst when it is cancelled", arguments: [TokenReduction.Method.merge, .select])
    func cancelled(method: TokenReduction.Method) throws {
        let tokens = random(64, 20)
        let workspace = Workspace()
        let matrix = try workspace.matrix(tokens.count, 20)
        for (row, values) in tokens.enumerated() {
            for (column, value) in values.enumerated() { matrix[row, column] = value }
        }
        var calls = 0
        #expect(throws: TensorError.cancelled) {
            _ = try TokenReducer(TokenReduction(method, tokens: 8))(
                matrix,
                check: { () throws(TensorError) in
                    calls += 1
                    if calls == 5 { throw .cancelled }
                })
        }
        #expect(calls == 5)
    }

    @Test("Words for it are read and written; wrong ones are not")
    func words() {
        for text in ["average:36", "merge:1", "select:100000"] {
            #expect(TokenReduction(text)?.description == text)
        }
        for wrong in ["", "merge", "merge:", "merge:0", "merge:-4", "pool:4", "merge:4:4", "merge:4.5"] {
            #expect(TokenReduction(wrong) == nil, "\(wrong)")
        }
    }
}
