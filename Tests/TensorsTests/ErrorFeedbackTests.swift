import CKernels
import TestSupport
import Testing

@testable import Tensors

/// Integers chosen with feedback of their rounding errors, against the textbook's algorithm in float64: after each weight the
/// others move by what the inverse of H says, and the weight is eliminated from the inverse (Optimal Brain Surgeon, of which
/// GPTQ is the fast form with a Cholesky factor).
@Suite struct ErrorFeedbackTests {
    /// H of rotated, independent inputs, by definition, with its damping.
    private static func moments(_ sizes: ArraySlice<Float>, damping: Double) -> [[Double]] {
        let sizes = sizes.map(Double.init)
        let count = sizes.count
        var h = (0..<count).map { i in
            (0..<count).map { j in
                (0..<count).reduce(0) { sum, k in
                    let sign = ((i & k).nonzeroBitCount + (k & j).nonzeroBitCount).isMultiple(of: 2)
                    return sum + (sign ? sizes[k] : -sizes[k])
                }
            }
        }
        for i in 0..<count { h[i][i] *= 1 + damping }
        return h
    }

    /// Gauss-Jordan; `h` is positive definite.
    private static func inverse(_ h: [[Double]]) -> [[Double]] {
        var a = h
        let count = h.count
        var b = (0..<count).map { i in (0..<count).map { $0 == i ? 1.0 : 0 } }
        for i in 0..<count {
            let pivot = a[i][i]
            for k in 0..<count { a[i][k] /= pivot; b[i][k] /= pivot }
            for j in 0..<count where j != i {
                let factor = a[j][i]
                for k in 0..<count { a[j][k] -= factor * a[i][k]; b[j][k] -= factor * b[i][k] }
            }
        }
        return b
    }

    /// The rotated weights of one block, quantised one by one in the given steps of `group` weights.
    private static func quantised(
        _ weights: [Double], _ h: [[Double]], group: Int, limit: Double
    ) -> [Double] {
        var w = weights
        var inverse = Self.inverse(h)
        var result: [Double] = []
        var scale = 0.0
        for i in w.indices {
            if i.isMultiple(of: group) {
                scale = w[i..<min(i + group, w.count)].reduce(0) { max($0, abs($1)) } / limit
            }
            let q = max(-limit, min(limit, (w[i] / scale).rounded(.toNearestOrEven)))
            result.append(scale * q)
            let error = (w[i] - scale * q) / inverse[i][i]
            for j in (i + 1)..<max(w.count, i + 1) { w[j] -= error * inverse[i][j] }
            let (row, pivot) = (inverse[i], inverse[i][i])
            for j in w.indices {
                let factor = row[j] / pivot
                for k in w.indices { inverse[j][k] -= factor * row[k] }
            }
        }
        return result
    }

    @Test("8-bit integers are those of the textbook", arguments: [(64, 64), (64, 32), (96, 128), (160, 32)])
    func textbook(inputs: Int, group: Int) throws {
        var random = Random()
        let outputs = 24
        let w = random.floats(outputs * inputs)
        // Inputs of very different sizes, one of them never seen.
        var sizes = random.floats(inputs).map { 1 + 100 * $0 * $0 * $0 * $0 }
        sizes[3] = 0
        let moments = InputMoments(inputs: inputs)
        // One row per input, which is all that it has: rows count alike, so a size is a number of rows.
        for (index, size) in sizes.enumerated() {
            let x = Guarded(1, inputs)
            for column in 0..<inputs { x.matrix[0, column] = 0 }
            x.matrix[0, index] = 3
            for _ in 0..<Int(size) { moments.add(x.matrix) }
        }
        let whole = sizes.map { Float(Int($0)) }
        let format = WeightFormat.int8(group: group)
        let feedback = try #require(moments.feedback(for: format, damping: 0.1))
        let rotated = Self.rotated(w, inputs: inputs, group: group)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            let limit = Double(compute.kernels.pointee.weight_limit)
            let packed = try PackedMatrix(
                Tensor(w, shape: [outputs, inputs]), format: format, feedback: feedback, compute: compute)
            // Numbers of the packed matrix, rotated as the weights were, are steps times integers.
            let found = Self.rotated(
                try packed.panels.values().floats(), inputs: inputs, group: group)
            var different = 0
            for output in 0..<outputs {
                var at = 0
                while at < inputs {
                    let block = group >= 64 && inputs - at >= 64 ? 64 : 32
                    let row = rotated[(output * inputs + at)..<(output * inputs + at + block)]
                    // A group that goes on in the next block has its step from all of it.
                    let first = at / group * group
                    let all = rotated[
                        (output * inputs + first)..<(output * inputs + min(first + group, inputs))]
                    let top = all.reduce(0) { max($0, abs($1)) }
                    let scaled = row.map { Double($0) }
                    let h = Self.moments(whole[at..<at + block], damping: 0.1)
                    let expected =
                        group <= block
                        ? Self.quantised(scaled, h, group: group, limit: limit)
                        : Self.quantised(
                            scaled + [Double(top)], Self.extended(h), group: 1 << 20, limit: limit
                        )
                        .dropLast()
                    for (k, value) in expected.enumerated() {
                        let step = Double(top) / limit
                        if abs(Double(found[output * inputs + at + k]) - value) > 0.4 * step {
                            different += 1
                        }
                    }
                    at += block
                }
            }
            // A weight in the middle between two integers may go either way, and then moves some after it.
            #expect(different * 50 <= outputs * inputs, "\(set): \(different) seed \(random.seed)")
        }
    }

    /// Divided by the size of each block, as packing does.
    private static func rotated(_ x: [Float], inputs: Int, group: Int) -> [Float] {
        QuantisedTests.rotated(x, inputs: inputs, group: group).enumerated().map { index, value in
            let place = index % inputs
            return value / (group >= 64 && place < inputs / 64 * 64 ? 64 : 32)
        }
    }

    /// With one more weight that has nothing to do with the others.
    private static func extended(_ h: [[Double]]) -> [[Double]] {
        h.map { $0 + [0] } + [[Double](repeating: 0, count: h.count) + [1]]
    }

    @Test("products of inputs of different sizes lose less, in 4 bits most", arguments: [4, 8])
    func errors(bits: Int) throws {
        var random = Random()
        let (rows, inputs, outputs) = (64, 256, 48)
        let w = random.floats(outputs * inputs)
        let sizes = (0..<inputs).map { _ in random.floats(1)[0] }.map { 0.05 + 4 * $0 * $0 * $0 * $0 }
        let x = random.floats(rows * inputs).enumerated().map { $1 * sizes[$0 % inputs] }
        let moments = InputMoments(inputs: inputs)
        moments.add(Guarded(rows, inputs, values: x).matrix)
        let shape = QuantisedTests.Shape(rows: rows, inputs: inputs, outputs: outputs)
        // Other numbers of the same sizes.
        let others = random.floats(rows * inputs).enumerated().map { $1 * sizes[$0 % inputs] }
        let expected = QuantisedTests.product(others, w, shape)
        let format: WeightFormat = bits == 4 ? .int4(group: 64) : .int8(group: 128)
        let feedback = try #require(moments.feedback(for: format))
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            let losses = try [Optional<ErrorFeedback>.none, feedback].map { feedback in
                let packed = try PackedMatrix(
                    Tensor(w, shape: [outputs, inputs]), format: format, feedback: feedback, compute: compute)
                // Of the weights alone.
                return normalisedError(
                    QuantisedTests.product(others, try packed.panels.values().floats(), shape).map {
                        Float($0.value)
                    },
                    expected)
            }
            #expect(losses[1] < 0.6 * losses[0], "\(set) \(losses) seed \(random.seed)")
        }
    }

    @Test("inputs that were never seen, or are not finite, change nothing")
    func unseen() throws {
        var random = Random()
        let (inputs, outputs) = (100, 20)
        let w = try Tensor(random.floats(outputs * inputs), shape: [outputs, inputs])
        let compute = try Compute(threads: 1)
        let moments = InputMoments(inputs: inputs)
        moments.add(Guarded(1, inputs, values: [Float](repeating: .nan, count: inputs)).matrix)
        moments.add(Guarded(1, inputs, values: [Float](repeating: 0, count: inputs)).matrix)
        for format in [WeightFormat.int8(group: 128), .int4(group: 64)] {
            let plain = try PackedMatrix(w, format: format, compute: compute)
            let fed = try PackedMatrix(
                w, format: format, feedback: moments.feedback(for: format), compute: compute)
            let (a, b) = (try plain.panels.values().floats(), try fed.panels.values().floats())
            #expect(normalisedError(a, b.map { Double($0) }) < 1e-3)
        }
        #expect(moments.feedback(for: .bfloat16) == nil)
    }
}
