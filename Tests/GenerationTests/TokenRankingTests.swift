import AllocationCounter
import Foundation
import Tensors
import Testing

@testable import Generation

/// Selection without sorting gives what sorting gives.
@Suite("Ranking of tokens")
struct TokenRankingTests {
    /// The definition: all tokens sorted, best first and equal ones by id, then cut by k, p and share in turn.
    private struct Sorted {
        var ids: [Int]
        var masses: [UInt64]

        init(_ scores: [Float], temperature: Float, topK: Int, topP: Float, minP: Float) {
            let highest = scores.max() ?? 0
            let inverse = 1 / temperature
            ids = scores.indices.filter { scores[$0] > -.infinity }
                .sorted { scores[$0] == scores[$1] ? $0 < $1 : scores[$0] > scores[$1] }
            if topK > 0 { ids = Array(ids.prefix(topK)) }
            masses = ids.map { Self.mass(at: (scores[$0] - highest) * inverse) }
            if topP < 1 {
                let goal = Double(topP) * Double(masses.reduce(0, +))
                var sum: UInt64 = 0
                let kept = masses.firstIndex { mass in
                    sum += mass
                    return Double(sum) >= goal
                }
                keep(kept.map { $0 + 1 } ?? ids.count)
            }
            if minP > 0 {
                keep(ids.prefix { (scores[$0] - highest) * inverse >= log(minP) }.count)
            }
        }

        /// e^x · 2^40 as an integer, each step rounded by itself: what a seed means, so these numbers stay.
        static func mass(at x: Float) -> UInt64 {
            guard x > -TokenRanking.depth else { return 0 }
            let power = (x * 1.442695041).rounded(.toNearestOrEven)
            let rest = x - power * 0.693359375 + power * 2.12194440e-4
            var value = rest * 1.9875691500e-4 + 1.3981999507e-3
            value = value * rest + 8.3334519073e-3
            value = value * rest + 4.1665795894e-2
            value = value * rest + 1.6666665459e-1
            value = value * rest + 5.0000001201e-1
            value = value * rest * rest + rest + 1
            let weight = Double(value) * Double(sign: .plus, exponent: Int(power), significand: 1)
            return UInt64((weight * 0x1p40).rounded(.toNearestOrEven))
        }

        mutating func keep(_ count: Int) {
            ids = Array(ids.prefix(count))
            masses = Array(masses.prefix(count))
        }

        /// The token that a draw of `random` of 2^64 falls on.
        func draw(_ random: UInt64) -> Int {
            let target = random.multipliedFullWidth(by: masses.reduce(0, +)).high
            var sum: UInt64 = 0
            for (id, mass) in zip(ids, masses) {
                sum += mass
                if sum > target { return id }
            }
            return ids[0]
        }
    }

    private struct Case: CustomTestStringConvertible {
        var name: String
        var scores: [Float]
        var testDescription: String { name }
    }

    private static func cases() -> [Case] {
        var random = SplitMix64(state: 7)
        func uniform() -> Float { Float(random.below(1 << 24)) / Float(1 << 24) }
        func normal() -> Float { (0..<12).reduce(-6) { sum, _ in sum + uniform() } }
        let count = 3001
        return [
            Case(name: "like a model's", scores: (0..<count).map { _ in 3 * normal() }),
            Case(name: "peaked", scores: (0..<count).map { $0 == 1234 ? 30 : normal() }),
            Case(name: "all equal", scores: Array(repeating: 1.5, count: count)),
            Case(name: "few values, many ties", scores: (0..<count).map { _ in Float(Int(uniform() * 5)) }),
            Case(name: "nearly equal", scores: (0..<count).map { _ in 1 + 1e-6 * uniform() }),
            Case(name: "ascending", scores: (0..<count).map { Float($0) / 100 }),
            Case(name: "descending", scores: (0..<count).map { -Float($0) / 100 }),
            Case(name: "masked", scores: (0..<count).map { $0 % 3 == 0 ? -.infinity : normal() }),
            Case(
                name: "extremes",
                scores: (0..<count).map { Float($0 % 2 == 0 ? -3e38 : 3e38) / Float(1 + $0 % 7) }),
            Case(name: "one", scores: [-4]), Case(name: "two, both equal", scores: [-4, -4]),
            Case(name: "seven, less than a vector", scores: (0..<7).map { _ in normal() }),
        ]
    }

    @Test(
        "draws equal those from the sorted definition on every instruction set, ties and masked tokens too",
        arguments: cases().map(\.name))
    func equalsSorted(name: String) throws {
        for kernels in InstructionSet.available.compactMap({ SamplingKernels($0) }) {
            try equalsSorted(name, kernels)
        }
    }

    private func equalsSorted(_ name: String, _ kernels: SamplingKernels) throws {
        let scores = try #require(Self.cases().first { $0.name == name }).scores
        var seeds = SplitMix64(state: 99)
        for (topK, topP, minP) in [
            (0, 1, 0), (50, 1, 0), (1, 1, 0), (2900, 1, 0), (0, 0.9, 0), (0, 0.5, 0), (0, 1e-6, 0),
            (0, 0.999_99, 0),
            (50, 0.9, 0), (0, 1, 0.1), (0, 1, 1), (0, 0.9, 0.01), (40, 0.8, 0.05), (5000, 0.7, 0),
        ] as [(Int, Float, Float)] {
            for temperature in [0.2, 1, 5, 1e6] as [Float] {
                let sorted = Sorted(scores, temperature: temperature, topK: topK, topP: topP, minP: minP)
                var options = SamplingOptions()
                (options.topK, options.topP, options.minP, options.temperature) = (
                    topK, topP, minP, temperature
                )
                let seed = seeds.next()
                options.seed = seed
                let masked = scores.indices.filter { scores[$0] == -.infinity }
                var sampler = try Sampler(options, history: [Int](), masked: masked, kernels: kernels)
                var reference = SplitMix64(state: seed)
                for _ in 0..<12 {
                    var copy = scores.map { max($0, -1e38) }
                    let drawn = copy.withUnsafeMutableBufferPointer { sampler.next($0) }
                    let known = scores.map { $0 == -.infinity ? $0 : max($0, -1e38) }
                    let definition =
                        known == scores
                        ? sorted
                        : Sorted(known, temperature: temperature, topK: topK, topP: topP, minP: minP)
                    let expected = definition.draw(reference.next())
                    #expect(
                        drawn == expected,
                        "top-k \(topK), top-p \(topP), min-p \(minP), temperature \(temperature)")
                }
            }
        }
    }

    @Test("masses of a beginning count the tokens of the sorted order")
    func masses() {
        var scores: [Float] = [1, 3, 3, -.infinity, 2]
        scores.withUnsafeMutableBufferPointer { scores in
            var ranking = TokenRanking()
            ranking.rank(scores, first: 1, temperature: 1, limit: 0)
            let one: UInt64 = 1 << 40
            #expect(ranking.token(at: 0) == (1, one))
            #expect(ranking.token(at: one - 1) == (1, one))
            #expect(ranking.token(at: one) == (2, 2 * one))
            #expect(ranking.token(at: ranking.mass - 1) == (0, ranking.mass))
            #expect(ranking.mass(fromShare: 1) == 2 * one)
        }
    }

    #if DEBUG
        private static let isOptimized = false
    #else
        private static let isOptimized = true
    #endif

    /// Unoptimised Swift allocates at will.
    static let areCounted = allocation_counter_works() && isOptimized

    @Test(
        "choosing takes no memory once the first tokens are chosen", .enabled(if: areCounted),
        arguments: [(1, 0), (0.9, 0), (1, 0.05)] as [(Float, Float)])
    func allocations(topP: Float, minP: Float) throws {
        var scores = try #require(Self.cases().first).scores
        var options = SamplingOptions()
        (options.temperature, options.seed, options.topP, options.minP) = (1, 5, topP, minP)
        var sampler = try Sampler(options, history: [Int]())
        let counter: Int32 = 40
        scores.withUnsafeMutableBufferPointer { scores in
            for _ in 0..<1000 { _ = sampler.next(scores) }
            allocation_counter_attach(counter)
            for _ in 0..<200 { _ = sampler.next(scores) }
            allocation_counter_attach(-1)
        }
        #expect(allocation_counter_value(counter) == 0)
    }

    @Test("frequencies follow the softmax when nothing is cut off, over a large vocabulary")
    func distribution() throws {
        // 4,096 tokens of eight different scores: shares of each score, not of each token.
        var scores = (0..<4096).map { Float($0 % 8) / 2 }
        var options = SamplingOptions()
        options.temperature = 1
        options.seed = 3
        var sampler = try Sampler(options, history: [Int]())
        var counts = [Int](repeating: 0, count: 8)
        let draws = 8000
        for _ in 0..<draws {
            let id = scores.withUnsafeMutableBufferPointer { sampler.next($0) }
            counts[try #require(id) % 8] += 1
        }
        let total = (0..<8).reduce(0) { $0 + exp(Double($1) / 2) }
        for value in 0..<8 {
            let share = exp(Double(value) / 2) / total
            let deviation = (share * (1 - share) / Double(draws)).squareRoot()
            #expect(abs(Double(counts[value]) / Double(draws) - share) < 5 * deviation)
        }
    }
}
