import Foundation
import Generation
import Testing

@Suite("Sampling")
struct SamplerTests {
    private func draw(
        _ logits: [Float], _ options: SamplingOptions, times: Int = 1, history: [Int] = []
    ) throws -> [Int?] {
        var sampler = try Sampler(options, history: history)
        return (0..<times).map { _ in
            var copy = logits
            return copy.withUnsafeMutableBufferPointer { sampler.next($0) }
        }
    }

    private func options(_ change: (inout SamplingOptions) -> Void) -> SamplingOptions {
        var options = SamplingOptions()
        options.seed = 1
        change(&options)
        return options
    }

    @Test("Temperature 0 takes the first of the best")
    func greedy() throws {
        #expect(try draw([1, 5, 3, 5], SamplingOptions()) == [1])
    }

    @Test("The same seed draws the same tokens, another seed others")
    func seeds() throws {
        let logits = (0..<100).map { Float($0 % 7) / 3 }
        let one = try draw(logits, options { $0.temperature = 1 }, times: 50)
        #expect(try draw(logits, options { $0.temperature = 1 }, times: 50) == one)
        let other = options {
            $0.temperature = 1
            $0.seed = 2
        }
        #expect(try draw(logits, other, times: 50) != one)
    }

    @Test("Frequencies follow the softmax of scores over temperature")
    func distribution() throws {
        let logits: [Float] = [0, 1, 2, -1]
        let temperature: Float = 0.7
        let weights = logits.map { exp(Double($0 / temperature)) }
        let total = weights.reduce(0, +)
        let count = 40_000
        let drawn = try draw(logits, options { $0.temperature = temperature }, times: count)
        for (index, weight) in weights.enumerated() {
            let share = Double(drawn.count { $0 == index }) / Double(count)
            // Five standard deviations of a binomial share; the seed is fixed, so this never flickers.
            let expected = weight / total
            #expect(abs(share - expected) < 5 * (expected * (1 - expected) / Double(count)).squareRoot())
        }
    }

    @Test("top-k, top-p and min-p keep exactly the tokens that they should")
    func truncation() throws {
        // Probabilities 0.5, 0.25, 0.15, 0.1.
        let logits = [0.5, 0.25, 0.15, 0.1].map { Float(log($0)) }
        func kept(_ change: @escaping (inout SamplingOptions) -> Void) throws -> Set<Int?> {
            let all = options {
                $0.temperature = 1
                change(&$0)
            }
            return try Set(draw(logits, all, times: 2000))
        }
        #expect(try kept { _ in } == [0, 1, 2, 3])
        #expect(try kept { $0.topK = 2 } == [0, 1])
        #expect(try kept { $0.topP = 0.7 } == [0, 1])
        #expect(try kept { $0.topP = 0.8 } == [0, 1, 2])
        #expect(try kept { $0.topP = 0.01 } == [0])
        #expect(try kept { $0.minP = 0.25 } == [0, 1, 2])
        #expect(try kept { $0.minP = 1 } == [0])
    }

    @Test("The repetition penalty divides positive and multiplies negative scores of seen tokens")
    func repetition() throws {
        let penalised = options { $0.repetitionPenalty = 2 }
        #expect(try draw([4, 3, 1], penalised, history: [0]) == [1])
        #expect(try draw([-1, -1.5, -3], penalised, history: [0]) == [1])
        // What was drawn counts as well.
        #expect(try draw([4, 3, 1], penalised, times: 2) == [0, 1])
    }

    @Test(
        "Frequency and presence penalties lower the scores of generated tokens by OpenAI's formula, and of no others"
    )
    func counted() throws {
        let times = 40
        for (frequency, presence) in [(0.5, 0), (0, 0.75), (0.25, 1.5), (-0.5, 0.25), (2, -2)]
            as [(Float, Float)]
        {
            let all = options { ($0.frequencyPenalty, $0.presencePenalty) = (frequency, presence) }
            let scores: [Float] = [3, 2.9, 2.5, 1, -4]
            // A history counts for the repetition penalty only.
            let drawn = try draw(scores, all, times: times, history: [0, 0, 0])
            var counts = [Float](repeating: 0, count: scores.count)
            for id in drawn {
                let lowered = zip(scores, counts).map { score, count in
                    score - count * frequency - (count > 0 ? 1 : 0) * presence
                }
                #expect(id == lowered.indices.max { (lowered[$0], -$0) < (lowered[$1], -$1) })
                counts[try #require(id)] += 1
            }
        }
    }

    @Test("A bias is added to the score of its token, before a penalty")
    func bias() throws {
        #expect(try draw([4, 3, 1], options { $0.bias = [2: 3.5, 77: 100] }) == [2])
        #expect(try draw([4, 3, 1], options { $0.bias = [0: -100] }) == [1])
        // -1 + 3 is halved; the other way round it would be -2 + 3.
        let both = options { ($0.bias, $0.repetitionPenalty) = ([0: 3], 2) }
        #expect(try draw([-1, 1.01], both, history: [0]) == [1])
        #expect(try draw([-1, 0.99], both, history: [0]) == [0])
        #expect(try draw([.greatestFiniteMagnitude, 0], options { $0.bias = [0: 100] }) == [0])
    }

    @Test(
        "Scores that are not numbers are reported, not sampled",
        arguments: [Float.nan, .infinity, -.infinity])
    func notNumbers(value: Float) throws {
        #expect(try draw([0, value, 1], SamplingOptions()) == [nil])
    }

    @Test(
        "A masked token is never chosen, whatever the penalty, the way of sampling and the other scores",
        arguments: [0.5, 1, 1.3, 100] as [Float], [0, 1] as [Float])
    func masked(penalty: Float, temperature: Float) throws {
        for (topK, topP, minP) in [(0, 1, 0), (3, 1, 0), (0, 0.9, 0), (0, 1, 0.1), (2, 0.5, 0.2)]
            as [(Int, Float, Float)]
        {
            for scores in [
                [9, 1, 2, 3], [-9, -1, -2, -3], [-3e38, -3e38, -2e38, -3e38], [3e38, -1, 0, 1],
            ] as [[Float]] {
                let all = options {
                    ($0.temperature, $0.repetitionPenalty) = (temperature, penalty)
                    ($0.topK, $0.topP, $0.minP) = (topK, topP, minP)
                }
                // The masked token stands in the history, where a penalty made a finite mask infinite.
                var sampler = try Sampler(all, history: [0, 1, 2], masked: [0, 77])
                for _ in 0..<20 {
                    var copy = scores
                    let id = copy.withUnsafeMutableBufferPointer { sampler.next($0) }
                    #expect(id != nil && id != 0, "\(scores), \(all)")
                }
            }
        }
    }

    @Test("A score that the penalty makes infinite is only very unlikely")
    func penaltyOverflow() throws {
        let all = options { ($0.repetitionPenalty, $0.temperature) = (100, 1) }
        #expect(try draw([-3e38, 1, 2], all, times: 50, history: [0]).allSatisfy { $0 == 1 || $0 == 2 })
    }

    @Test("Masked tokens are no alternatives, and probabilities are those of the others")
    func maskedProbabilities() {
        var logits: [Float] = [Float(log(0.5)), -.infinity, Float(log(0.5))]
        let (chosen, top) = logits.withUnsafeMutableBufferPointer {
            Sampler.probabilities($0, of: 0, alternatives: 3)
        }
        #expect(top.map(\.id) == [0, 2] && abs(chosen.logProbability - Float(log(0.5))) < 1e-6)
    }

    @Test("Log-probabilities are those of the softmax, alternatives best first")
    func probabilities() {
        var logits = [0.1, 0.6, 0.3].map { Float(log($0)) + 5 }
        let (chosen, top) = logits.withUnsafeMutableBufferPointer {
            Sampler.probabilities($0, of: 2, alternatives: 2)
        }
        #expect(abs(chosen.logProbability - Float(log(0.3))) < 1e-5)
        #expect(top.map(\.id) == [1, 2])
        #expect(abs(top[0].logProbability - Float(log(0.6))) < 1e-5)
    }

    @Test("Options out of range are refused by name")
    func validation() {
        let changes: [(String, (inout SamplingOptions) -> Void)] = [
            ("temperature", { $0.temperature = -1 }), ("temperature", { $0.temperature = .nan }),
            ("top-k", { $0.topK = -1 }), ("top-p", { $0.topP = 0 }), ("top-p", { $0.topP = 1.5 }),
            ("min-p", { $0.minP = 2 }), ("repetition penalty", { $0.repetitionPenalty = 0 }),
            ("frequency penalty", { $0.frequencyPenalty = -2.01 }),
            ("presence penalty", { $0.presencePenalty = .nan }), ("logit bias", { $0.bias = [3: .infinity] }),
            ("logit bias", { $0.bias = Dictionary(uniqueKeysWithValues: (0..<2000).map { ($0, 1) }) }),
        ]
        for (name, change) in changes {
            let error = #expect(throws: GenerationError.self) { try options(change).validate() }
            #expect(error?.description.hasPrefix(name) == true)
        }
    }
}
