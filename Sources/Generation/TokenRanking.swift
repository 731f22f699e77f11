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
    /// Distances from the best token, in units of the temperature, between which tokens are ordered together. Those
    /// near the best are few and mostly decide, so the many far ones are seldom looked at one by one.
    private static let bands: [ClosedRange<Float>] = [0...6, 6...9, 9...12, 12...16, 16...depth]

    private var scores = UnsafeMutableBufferPointer<Float>(start: nil, count: 0)
    private var highest: Float = 0
    private var inverse: Float = 1
    /// The best tokens in order, where only some are kept.
    private var best: [Entry] = []
    private var keepsAll = true
    /// Mass of the tokens of the first bands by their distance, as far as it was asked for.
    private var bandMasses: [[UInt64]] = []
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
        bandMasses = []
        keepsAll = limit == 0 || limit >= scores.count
        if keepsAll { sumMasses() } else { keepBest(limit) }
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

    private mutating func sumMasses() {
        var sums = SIMD8<UInt64>.zero
        forEachEight { scores, _ in
            let exponents = (scores - highest) * inverse
            let inside = exponents .> -Self.depth
            let bounded = exponents.replacing(with: -Self.depth, where: .!inside)
            sums &+= Self.masses(Self.exponential(bounded).replacing(with: 0, where: .!inside))
        }
        mass = sums.wrappedSum()
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

    /// Calls `body` with eight scores after the other of which some are within a band, their exponents, which of them
    /// those are, and the index of the first. What is as far as a band's end is in the next one.
    @inline(__always)
    private func forEachEight(
        in band: ClosedRange<Float>,
        _ body: (SIMD8<Float>, SIMD8<Float>, SIMDMask<SIMD8<Int32>>, Int) -> Void
    ) {
        forEachEight { scores, first in
            let exponents = (scores - highest) * inverse
            let inside = exponents .> -band.upperBound .& exponents .<= -band.lowerBound
            guard any(inside) else { return }
            body(scores, exponents.replacing(with: -band.upperBound, where: .!inside), inside, first)
        }
    }

    /// - Parameter exponents: within the band
    @inline(__always)
    private static func buckets(_ exponents: SIMD8<Float>, in band: ClosedRange<Float>) -> SIMD8<UInt32> {
        let scale = Float(buckets - 1) / (band.upperBound - band.lowerBound)
        // Adding 2^23 rounds to an integer, which then is in the low bits.
        let places = (-exponents - band.lowerBound) * scale + 0x1p23
        return (unsafeBitCast(places, to: SIMD8<UInt32>.self) &- 0x4B00_0000) & UInt32(buckets - 1)
    }

    /// Mass of the tokens of a band by their distance.
    private func bucketMasses(in band: ClosedRange<Float>) -> [UInt64] {
        var masses = [UInt64](repeating: 0, count: Self.buckets)
        masses.withUnsafeMutableBufferPointer { masses in
            forEachEight(in: band) { _, exponents, inside, _ in
                let weights = Self.exponential(exponents)
                let places = Self.buckets(exponents, in: band)
                for lane in 0..<8 where inside[lane] {
                    masses[Int(places[lane])] &+= Self.mass(weight: weights[lane])
                }
            }
        }
        return masses
    }

    /// The tokens of a bucket, in order.
    private func entries(of wanted: Int, in band: ClosedRange<Float>) -> [Entry] {
        var entries: [Entry] = []
        let wanted = SIMD8<UInt32>(repeating: UInt32(wanted))
        forEachEight(in: band) { scores, exponents, inside, first in
            let found = Self.buckets(exponents, in: band) .== wanted
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
    mutating func token(at target: UInt64) -> (id: Int, through: UInt64) {
        guard keepsAll else { return token(at: target, of: best, after: 0) }
        var through: UInt64 = 0
        for (index, band) in Self.bands.enumerated() {
            if index == bandMasses.count { bandMasses.append(bucketMasses(in: band)) }
            for (place, mass) in bandMasses[index].enumerated() {
                if through + mass > target {
                    return token(at: target, of: entries(of: place, in: band), after: through)
                }
                through += mass
            }
        }
        return (0, through)
    }

    private func token(at target: UInt64, of entries: [Entry], after mass: UInt64) -> (
        id: Int, through: UInt64
    ) {
        var through = mass
        for entry in entries {
            through += self.mass(of: entry)
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

    /// - Parameter weights: 0...1
    @inline(__always)
    private static func masses(_ weights: SIMD8<Float>) -> SIMD8<UInt64> {
        unsafeBitCast(SIMD8<Double>(weights) * 0x1p40 + 0x1p52, to: SIMD8<UInt64>.self) & (1 << 52 - 1)
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
