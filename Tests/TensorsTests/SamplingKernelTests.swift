import Foundation
import Testing

@testable import Tensors

@Suite("Kernels of sampling")
struct SamplingKernelTests {
    static let depth: Float = 28

    /// Masses, their sum, and the tokens of a range of exponents, all by one instruction set.
    private struct Results: Equatable {
        var masses: [UInt64]
        var sum: UInt64
        var ids: [UInt32]
        var exponents: [UInt32]

        init(_ kernels: SamplingKernels, _ scores: [Float], inverse: Float, low: Float, high: Float) {
            var masses = [UInt64](repeating: .max, count: scores.count)
            var ids = [UInt32](repeating: .max, count: scores.count)
            var exponents = [Float](repeating: .nan, count: scores.count)
            var found = 0
            sum = scores.withUnsafeBufferPointer { values in
                let scores = SamplingKernels.Scores(values, highest: values.max() ?? 0, inverse: inverse)
                masses.withUnsafeMutableBufferPointer {
                    kernels.masses(scores, above: -depth, into: $0)
                }
                ids.withUnsafeMutableBufferPointer { ids in
                    exponents.withUnsafeMutableBufferPointer {
                        found = kernels.select(scores, above: low, through: high, ids: ids, exponents: $0)
                    }
                }
                return kernels.mass(scores, above: -depth)
            }
            self.masses = masses
            self.ids = Array(ids.prefix(found))
            self.exponents = exponents.prefix(found).map(\.bitPattern)
        }
    }

    @Test("masses are e^x · 2^40 over the whole range", arguments: InstructionSet.available)
    func exponential(set: InstructionSet) throws {
        let kernels = try #require(SamplingKernels(set))
        let exponents = (0...28_100).map { -Float($0) / 1000 }
        let results = Results(kernels, exponents, inverse: 1, low: -1, high: 0)
        for (x, mass) in zip(exponents, results.masses) {
            let exact = x > -Self.depth ? exp(Double(x)) * 0x1p40 : 0
            #expect(abs(Double(mass) - exact) <= 0.51 + 4e-7 * exact, "\(x)")
        }
        #expect(results.masses[0] == 1 << 40)
        #expect(results.sum == results.masses.reduce(0, +))
        #expect(kernels.mass(at: -1.5, above: -Self.depth) == results.masses[1500])
    }

    @Test("tokens at the bounds of a range: the lower one is outside, the upper one inside")
    func bounds() throws {
        for set in InstructionSet.available {
            let kernels = try #require(SamplingKernels(set))
            let scores: [Float] = [4, 3, 2, 1, 0, -.infinity, 4, 3, 2, 1, 0]
            let results = Results(kernels, scores, inverse: 2, low: -6, high: -2)
            #expect(results.ids == [1, 2, 7, 8], "\(set)")
            #expect(results.exponents.map(Float.init(bitPattern:)) == [-2, -4, -2, -4], "\(set)")
            #expect(results.masses[5] == 0, "\(set)")
        }
    }

    @Test("no scores have no mass and no tokens")
    func empty() throws {
        for set in InstructionSet.available {
            let results = Results(try #require(SamplingKernels(set)), [], inverse: 1, low: -1, high: 0)
            #expect(results.sum == 0 && results.ids.isEmpty)
        }
    }

    @Test("every instruction set gives the same bits, tails, ties and infinities too")
    func sameBits() throws {
        var random = Random()
        let scalar = try #require(SamplingKernels(.scalar))
        for count in Array(1...70) + [997, 1024, 3001] {
            for inverse in [1, 0.2, 3, 1e-6, 8.5e37] as [Float] {
                var scores = random.floats(count, scale: 6)
                for index in scores.indices where index % 5 == 3 { scores[index] = -.infinity }
                for index in scores.indices where index % 7 == 2 { scores[index] = scores[0] }
                let (low, high) = (-9 - Float(count % 3), -Float(count % 4))
                let expected = Results(scalar, scores, inverse: inverse, low: low, high: high)
                for set in InstructionSet.available {
                    let kernels = try #require(SamplingKernels(set))
                    #expect(
                        Results(kernels, scores, inverse: inverse, low: low, high: high) == expected,
                        "\(set), \(count) scores, \(inverse), seed \(random.seed)")
                }
            }
        }
    }
}
