package import Tensors

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// How the next token is chosen from the scores.
///
/// The order is that of transformers' logits processors: repetition penalty, temperature, top-k, top-p, min-p. The bias
/// is added before the repetition penalty, frequency and presence penalty are subtracted after it.
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
    /// Subtracted from a token's score as often as the token was generated.
    package var frequencyPenalty: Float = 0
    /// Subtracted once from the scores of tokens that were generated.
    package var presencePenalty: Float = 0
    /// Added to the scores of tokens.
    package var bias: [Int: Float] = [:]
    /// The same seed, prompt and weights give the same answer; nil draws one.
    package var seed: UInt64?

    /// Tokens with a bias.
    static let mostBiases = 1024

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
        for (name, penalty) in [
            ("frequency penalty", frequencyPenalty), ("presence penalty", presencePenalty),
        ] {
            try require(penalty >= -2 && penalty <= 2, name, "between -2 and 2", "\(penalty)")
        }
        try require(
            bias.count <= Self.mostBiases, "logit bias", "of at most \(Self.mostBiases) tokens",
            "\(bias.count)")
        // The first by id, so that the message is the same in every run.
        if let (id, value) = bias.filter({ !($0.value >= -100 && $0.value <= 100) }).min(by: {
            $0.key < $1.key
        }) {
            try require(false, "logit bias", "between -100 and 100", "\(value) for token \(id)")
        }
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
    private let masked: [Int]
    private var random: SplitMix64
    private var seen: Set<Int>
    /// How often each token was generated.
    private var counts: [Int: Float] = [:]
    private var ranking: TokenRanking

    /// - Parameters:
    ///   - history: tokens that the repetition penalty counts from the start
    ///   - masked: tokens that are never chosen
    ///   - kernels: of any instruction set; the tokens are the same
    package init(
        _ options: SamplingOptions, history: some Sequence<Int>, masked: [Int] = [],
        kernels: SamplingKernels = .best
    ) throws(GenerationError) {
        try options.validate()
        self.options = options
        self.masked = masked
        ranking = TokenRanking(kernels: kernels)
        random = SplitMix64(state: options.seed ?? UInt64.random(in: .min ... .max))
        seen = options.repetitionPenalty == 1 ? [] : Set(history)
    }

    private var countsTokens: Bool { options.frequencyPenalty != 0 || options.presencePenalty != 0 }

    /// - Parameter logits: scores of the vocabulary; changed where a bias, a penalty or the mask applies.
    /// - Returns: the chosen token's id, or nil when a score is not a finite number, or all are masked.
    package mutating func next(_ logits: UnsafeMutableBufferPointer<Float>) -> Int? {
        guard prepare(logits), let id = draw(logits) else { return nil }
        count(id)
        return id
    }

    /// Applies bias, penalties and mask.
    /// - Returns: whether all scores were finite numbers; nothing is changed otherwise.
    mutating func prepare(_ logits: UnsafeMutableBufferPointer<Float>) -> Bool {
        guard Self.areFinite(logits) else { return false }
        // Infinity is the mask's alone.
        func set(_ score: Float, _ id: Int) {
            logits[id] = min(max(score, -.greatestFiniteMagnitude), .greatestFiniteMagnitude)
        }
        for (id, value) in options.bias where logits.indices.contains(id) { set(logits[id] + value, id) }
        if options.repetitionPenalty != 1 {
            for id in seen where logits.indices.contains(id) {
                let score = logits[id]
                set(score > 0 ? score / options.repetitionPenalty : score * options.repetitionPenalty, id)
            }
        }
        for (id, count) in counts where logits.indices.contains(id) {
            set(logits[id] - count * options.frequencyPenalty - options.presencePenalty, id)
        }
        // After the penalty, which would make a number of any finite mask that the rest of the code must know.
        mask(logits)
        return true
    }

    /// Draws from scores that ``prepare(_:)`` has changed.
    /// - Returns: nil when none is above negative infinity.
    mutating func draw(_ logits: UnsafeMutableBufferPointer<Float>) -> Int? {
        guard let best = Self.argmax(logits) else { return nil }
        // Below the normal range the inverse is infinite; such a temperature is greedy anyway.
        return options.temperature < .leastNormalMagnitude ? best : draw(logits, best: best)
    }

    /// Notes a generated token for the penalties.
    mutating func count(_ id: Int) {
        if options.repetitionPenalty != 1 { seen.insert(id) }
        if countsTokens { counts[id, default: 0] += 1 }
    }

    /// Makes the scores of masked tokens negative infinity.
    package func mask(_ logits: UnsafeMutableBufferPointer<Float>) {
        for id in masked where logits.indices.contains(id) { logits[id] = -.infinity }
    }

    static func areFinite(_ logits: UnsafeMutableBufferPointer<Float>) -> Bool {
        // 0 × infinity and 0 × NaN are NaN, so one comparison after the loop finds any of them.
        var sums = SIMD8<Float>.zero
        var index = 0
        let raw = UnsafeRawBufferPointer(logits)
        while index + 8 <= logits.count {
            sums += raw.loadUnaligned(fromByteOffset: 4 * index, as: SIMD8<Float>.self) * 0
            index += 8
        }
        while index < logits.count {
            sums[0] += logits[index] * 0
            index += 1
        }
        return sums.sum() == 0
    }

    /// The first of the largest scores; nil when there is none above negative infinity.
    static func argmax(_ logits: UnsafeMutableBufferPointer<Float>) -> Int? {
        let raw = UnsafeRawBufferPointer(logits)
        func load(_ index: Int) -> SIMD8<Float> {
            raw.loadUnaligned(fromByteOffset: 4 * index, as: SIMD8<Float>.self)
        }
        let whole = logits.count / 8 * 8
        var lanes = SIMD8<Float>(repeating: -.infinity)
        for index in stride(from: 0, to: whole, by: 8) {
            let scores = load(index)
            lanes.replace(with: scores, where: scores .> lanes)
        }
        let highest = logits[whole...].reduce(lanes.max()) { max($0, $1) }
        guard highest > -.infinity else { return nil }
        var index = 0
        while index < whole, !any(load(index) .== highest) { index += 8 }
        return logits[index...].firstIndex(of: highest)
    }

    private mutating func draw(_ logits: UnsafeMutableBufferPointer<Float>, best: Int) -> Int {
        ranking.rank(logits, first: best, temperature: options.temperature, limit: options.topK)
        var mass = ranking.mass
        if options.topP < 1 {
            // At least 1, so that the best token is kept.
            let share = max((Double(options.topP) * Double(mass)).rounded(.up), 1)
            mass = ranking.token(at: UInt64(share) - 1).through
        }
        if options.minP > 0 { mass = min(mass, ranking.mass(fromShare: options.minP)) }
        return ranking.token(at: random.below(mass)).id
    }

    /// Log-probabilities of the `count` likeliest tokens, best first, and of `id`. Tokens with a score of negative
    /// infinity are no alternatives.
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
        for index in logits.indices where count > 0 && logits[index] > -.infinity {
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

    /// Uniform in 0..<bound; 0 for a bound of 0.
    mutating func below(_ bound: UInt64) -> UInt64 { next().multipliedFullWidth(by: bound).high }
}
