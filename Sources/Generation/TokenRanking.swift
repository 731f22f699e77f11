internal import Foundation

/// The tokens of a vocabulary in the order of their scores, best first and equal ones by id, as a distribution that
/// can be asked without sorting it.
///
/// Top-k, top-p and min-p each keep a beginning of that order, so each comes down to the mass of a beginning, and a
/// draw to the token at which the mass passes a random number. Masses are integers: their sums are exact in any order,
/// so the answers are those that sorting would give.
struct TokenRanking {
    /// Tokens this far below the best one, in units of the temperature, have no mass: all of them together would not
    /// change a sum in float32.
    static let depth: Float = 28
    /// A power of two.
    private static let buckets = 2048

    private var scores = UnsafeMutableBufferPointer<Float>(start: nil, count: 0)
    private var highest: Float = 0
    private var inverse: Float = 1
    /// The best tokens in order, where only some are kept.
    private var best: [Entry] = []
    private var keepsAll = true
    /// Mass of the tokens by their distance from the best, where all are kept.
    private var bucketMass: [UInt64] = []
    private var bucketsPerUnit: Float = 1
    /// Mass of all tokens that are kept.
    private(set) var mass: UInt64 = 0

    private struct Entry {
        var id: Int
        var score: Float

        func stands(before other: Entry) -> Bool {
            score == other.score ? id < other.id : score > other.score
        }
    }

    /// Ranks the tokens.
    /// - Parameters:
    ///   - scores: no NaN; negative infinity for tokens without mass. They must stay as they are while the ranking is
    ///     asked
    ///   - first: the first of the largest scores, which is finite
    ///   - temperature: in the normal range of float32
    ///   - limit: how many of the best to keep; 0 keeps all
    mutating func rank(
        _ scores: UnsafeMutableBufferPointer<Float>, first: Int, temperature: Float, limit: Int
    ) {
        self.scores = scores
        highest = scores[first]
        inverse = 1 / temperature
        keepsAll = limit == 0 || limit >= scores.count
        if keepsAll { fillBuckets() } else { keepBest(limit) }
    }

    /// How far a score is from the best, at most 0, in units of the temperature.
    @inline(__always)
    private func exponent(_ score: Float) -> Float { (score - highest) * inverse }

    private func mass(of entry: Entry) -> UInt64 { Self.mass(at: exponent(entry.score)) }

    /// A partial selection: what cannot be among the best any more is passed over.
    private mutating func keepBest(_ limit: Int) {
        best.removeAll(keepingCapacity: true)
        var threshold = -Float.infinity
        func cut(_ best: inout [Entry]) {
            best.sort { $0.stands(before: $1) }
            best.removeLast(max(best.count - limit, 0))
            if best.count == limit { threshold = best[limit - 1].score }
        }
        for chunk in stride(from: 0, to: scores.count, by: 8) {
            if chunk + 8 <= scores.count, !any(load(chunk) .> threshold) { continue }
            // An equal score comes later in the order, so it does not push out what is there.
            for id in chunk..<min(chunk + 8, scores.count) where scores[id] > threshold {
                best.append(Entry(id: id, score: scores[id]))
                if best.count >= 2 * limit + 8 { cut(&best) }
            }
        }
        cut(&best)
        mass = best.reduce(0) { $0 + mass(of: $1) }
    }

    @inline(__always)
    private func load(_ index: Int) -> SIMD8<Float> {
        UnsafeRawBufferPointer(scores).loadUnaligned(fromByteOffset: 4 * index, as: SIMD8<Float>.self)
    }

    private mutating func fillBuckets() {
        var lowest = SIMD8<Float>(repeating: highest)
        forEachEight { scores, _ in
            lowest.replace(with: scores, where: scores .< lowest .& scores .> -.infinity)
        }
        let range = min(max(-exponent(lowest.min()), .leastNormalMagnitude), Self.depth)
        bucketsPerUnit = min(Float(Self.buckets - 1) / range, .greatestFiniteMagnitude)
        var masses = [UInt64](repeating: 0, count: Self.buckets)
        masses.withUnsafeMutableBufferPointer { buckets in
            forEachEight { scores, _ in
                let exponents = (scores - highest) * inverse
                let inside = exponents .> -Self.depth
                guard any(inside) else { return }
                let bounded = exponents.replacing(with: -Self.depth, where: .!inside)
                let weights = Self.exponential(bounded).replacing(with: 0, where: .!inside)
                let places = self.buckets(bounded)
                for lane in 0..<8 {
                    buckets[Int(places[lane] & UInt32(Self.buckets - 1))] &+= Self.mass(weight: weights[lane])
                }
            }
        }
        bucketMass = masses
        mass = masses.reduce(0, +)
    }

    /// Calls `body` with eight scores after the other and the index of the first; those beyond the last are negative
    /// infinity.
    @inline(__always)
    private func forEachEight(_ body: (SIMD8<Float>, Int) -> Void) {
        var index = 0
        while index + 8 <= scores.count {
            body(load(index), index)
            index += 8
        }
        guard index < scores.count else { return }
        var rest = SIMD8<Float>(repeating: -.infinity)
        for lane in 0..<scores.count - index { rest[lane] = scores[index + lane] }
        body(rest, index)
    }

    /// - Parameter exponents: `-depth`...0
    @inline(__always)
    private func buckets(_ exponents: SIMD8<Float>) -> SIMD8<UInt32> {
        // Adding 2^23 rounds to an integer, which then stands in the low bits.
        unsafeBitCast(exponents * -bucketsPerUnit + 0x1p23, to: SIMD8<UInt32>.self) &- 0x4B00_0000
    }

    /// The tokens of a bucket, in order.
    private func entries(of wanted: Int) -> [Entry] {
        var entries: [Entry] = []
        let wanted = SIMD8<UInt32>(repeating: UInt32(wanted))
        forEachEight { scores, first in
            let exponents = (scores - highest) * inverse
            let inside = exponents .> -Self.depth
            let found =
                buckets(exponents.replacing(with: -Self.depth, where: .!inside))
                & SIMD8(repeating: UInt32(Self.buckets - 1)) .== wanted
            guard any(found .& inside) else { return }
            for lane in 0..<8 where found[lane] && inside[lane] {
                entries.append(Entry(id: first + lane, score: scores[lane]))
            }
        }
        entries.sort { $0.stands(before: $1) }
        return entries
    }

    // MARK: - Questions

    /// The first token with which the mass of it and all before it is above `target`, and that mass.
    /// - Parameter target: below `mass`
    func token(at target: UInt64) -> (id: Int, through: UInt64) {
        var through: UInt64 = 0
        var entries = best
        if keepsAll {
            var place = 0
            while place < Self.buckets - 1, through + bucketMass[place] <= target {
                through += bucketMass[place]
                place += 1
            }
            entries = self.entries(of: place)
        }
        for entry in entries {
            through += mass(of: entry)
            if through > target { return (entry.id, through) }
        }
        return (entries.last?.id ?? 0, through)
    }

    /// Mass of the tokens that have at least this share of the best one's.
    /// - Parameter share: above 0, at most 1
    func mass(fromShare share: Float) -> UInt64 {
        let least = log(share)
        guard keepsAll else {
            return best.reduce(0) { exponent($1.score) >= least ? $0 + mass(of: $1) : $0 }
        }
        var total: UInt64 = 0
        forEachEight { scores, _ in
            let exponents = (scores - highest) * inverse
            guard any(exponents .>= least) else { return }
            for lane in 0..<8 where exponents[lane] >= least { total += Self.mass(at: exponents[lane]) }
        }
        return total
    }

    // MARK: - Arithmetic

    /// Mass of a token by its exponent; 2^40 for the best.
    static func mass(at exponent: Float) -> UInt64 {
        exponent > -depth ? mass(weight: exponential(SIMD8(repeating: exponent))[0]) : 0
    }

    /// - Parameter weight: 0...1
    @inline(__always)
    private static func mass(weight: Float) -> UInt64 {
        // Adding 2^52 leaves the rounded number in the low bits, without the checks of a conversion.
        (Double(weight) * 0x1p40 + 0x1p52).bitPattern & (1 << 52 - 1)
    }

    /// The exponential function on -28...0 to about two units in the last place, the same on every machine: reduced to
    /// ±ln 2 / 2, then a polynomial (Cephes).
    @inline(__always)
    static func exponential(_ x: SIMD8<Float>) -> SIMD8<Float> {
        // Adding 1.5 × 2^23 rounds to an integer, which then stands in the low bits.
        let magic: Float = 0x1.8p23
        let shifted = x * 1.442695041 + magic
        let power = shifted - magic
        let rest = x - power * 0.693359375 + power * 2.12194440e-4
        var value = rest * 1.9875691500e-4 + 1.3981999507e-3
        value = value * rest + 8.3334519073e-3
        value = value * rest + 4.1665795894e-2
        value = value * rest + 1.6666665459e-1
        value = value * rest + 5.0000001201e-1
        value = value * rest * rest + rest + 1
        let exponent = unsafeBitCast(shifted, to: SIMD8<Int32>.self) &+ (127 - 0x4B40_0000)
        return value * unsafeBitCast(exponent &<< 23, to: SIMD8<Float>.self)
    }
}
