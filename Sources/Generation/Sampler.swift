internal import Foundation

/// How the next token is chosen from the scores.
///
/// The order is that of transformers' logits processors: repetition penalty, temperature, top-k, top-p, min-p.
package struct SamplingOptions: Sendable, Hashable {
    /// 0 takes the best token (greedy); above 0 divides the scores.
    package var temperature: Float = 0
    /// Keeps the k best; 0 keeps all.
    package var topK: Int = 0
    /// Keeps the smallest set of best tokens whose probabilities reach p; 1 keeps all.
    package var topP: Float = 1
    /// Drops tokens below this share of the best one's probability; 0 drops none.
    package var minP: Float = 0
    /// Divides positive and multiplies negative scores of tokens that occurred already; 1 changes nothing.
    package var repetitionPenalty: Float = 1
    /// The same seed, prompt and weights give the same answer; nil draws one.
    package var seed: UInt64?

    package init() {}

    /// - Throws: `GenerationError.invalidOption` that names the first option out of range.
    package func validate() throws(GenerationError) {
        func require(
            _ condition: Bool, _ name: String, _ expected: String, _ got: String
        ) throws(GenerationError) {
            guard condition else { throw .invalidOption(name: name, expected: expected, got: got) }
        }
        try require(
            temperature >= 0 && temperature.isFinite, "temperature", "0 or a positive number",
            "\(temperature)")
        try require(topK >= 0, "top-k", "0 (off) or a positive number", "\(topK)")
        try require(topP > 0 && topP <= 1, "top-p", "above 0 and at most 1", "\(topP)")
        try require(minP >= 0 && minP <= 1, "min-p", "between 0 and 1", "\(minP)")
        try require(
            repetitionPenalty >= 0.01 && repetitionPenalty <= 100, "repetition penalty",
            "between 0.01 and 100",
            "\(repetitionPenalty)")
    }
}

/// A token's natural-log probability under the model's own distribution (temperature 1, no penalty).
package struct TokenProbability: Sendable, Hashable {
    package let id: Int
    package let logProbability: Float
}

/// Draws tokens from scores.
package struct Sampler {
    private let options: SamplingOptions
    private var random: SplitMix64
    private var seen: Set<Int>

    /// - Parameter history: tokens that the repetition penalty counts from the start.
    package init(_ options: SamplingOptions, history: some Sequence<Int>) throws(GenerationError) {
        try options.validate()
        self.options = options
        random = SplitMix64(state: options.seed ?? UInt64.random(in: .min ... .max))
        seen = options.repetitionPenalty == 1 ? [] : Set(history)
    }

    /// - Parameter logits: scores of the vocabulary; changed where the repetition penalty applies.
    /// - Returns: the chosen token's id, or nil when no score is a number.
    package mutating func next(_ logits: UnsafeMutableBufferPointer<Float>) -> Int? {
        if options.repetitionPenalty != 1 {
            for id in seen where id < logits.count {
                logits[id] =
                    logits[id] > 0
                    ? logits[id] / options.repetitionPenalty : logits[id] * options.repetitionPenalty
            }
        }
        guard let best = Self.argmax(logits) else { return nil }
        // Below the normal range the inverse is infinite; such a temperature is greedy anyway.
        let id = options.temperature < .leastNormalMagnitude ? best : draw(logits, best: best)
        if options.repetitionPenalty != 1 { seen.insert(id) }
        return id
    }

    /// The first of the largest scores; nil when a score is not a number or the largest is infinite.
    static func argmax(_ logits: UnsafeMutableBufferPointer<Float>) -> Int? {
        var best = -1
        var highest = -Float.infinity
        var sum: Float = 0
        for index in logits.indices {
            let value = logits[index]
            sum += value * 0
            if value > highest {
                highest = value
                best = index
            }
        }
        // 0 × infinity and 0 × NaN are NaN, so one comparison after the loop finds any of them.
        return best >= 0 && sum == 0 ? best : nil
    }

    private mutating func draw(_ logits: UnsafeMutableBufferPointer<Float>, best: Int) -> Int {
        let inverse = 1 / options.temperature
        let highest = logits[best]
        // A token whose weight relative to the best is below 2^-40 cannot change any of the sums in float32.
        var candidates: [(id: Int, weight: Float)] = []
        for index in logits.indices {
            let exponent = (logits[index] - highest) * inverse
            if exponent > -28 { candidates.append((index, exp(exponent))) }
        }
        // Ties by id, so that the outcome does not depend on the sorting algorithm.
        candidates.sort { $0.weight == $1.weight ? $0.id < $1.id : $0.weight > $1.weight }
        if options.topK > 0 { candidates.removeLast(max(candidates.count - options.topK, 0)) }
        if options.topP < 1 {
            let total = candidates.reduce(0) { $0 + $1.weight }
            var reached: Float = 0
            var kept = 0
            while kept < candidates.count, reached < options.topP * total {
                reached += candidates[kept].weight
                kept += 1
            }
            candidates.removeLast(candidates.count - max(kept, 1))
        }
        if options.minP > 0 {
            let threshold = options.minP * candidates[0].weight
            candidates.removeAll { $0.weight < threshold }
        }
        var remaining = random.unit() * candidates.reduce(0) { $0 + $1.weight }
        for candidate in candidates {
            remaining -= candidate.weight
            if remaining < 0 { return candidate.id }
        }
        return candidates[candidates.count - 1].id
    }

    /// Log-probabilities of the `count` likeliest tokens, best first, and of `id`.
    package static func probabilities(
        _ logits: UnsafeMutableBufferPointer<Float>, of id: Int, alternatives count: Int
    ) -> (chosen: TokenProbability, alternatives: [TokenProbability]) {
        var highest = -Float.infinity
        for value in logits { highest = max(highest, value) }
        var sum = 0.0
        for value in logits { sum += Double(exp(value - highest)) }
        let normalizer = highest + Float(log(sum))
        func probability(_ id: Int) -> TokenProbability {
            TokenProbability(id: id, logProbability: logits[id] - normalizer)
        }
        var top: [Int] = []
        for index in logits.indices where count > 0 {
            if top.count == count, logits[index] <= logits[top[count - 1]] { continue }
            let place = top.firstIndex { logits[$0] < logits[index] } ?? top.count
            top.insert(index, at: place)
            if top.count > count { top.removeLast() }
        }
        return (probability(id), top.map(probability))
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same numbers on every platform.
struct SplitMix64 {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Uniform in [0, 1) with 24 bits, all that float32 holds.
    mutating func unit() -> Float { Float(next() >> 40) * 0x1p-24 }
}
