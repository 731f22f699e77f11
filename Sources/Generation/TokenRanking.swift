internal import Tensors

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

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

    private let kernels: SamplingKernels
    private var scores = SamplingKernels.Scores(
        UnsafeBufferPointer(start: nil, count: 0), highest: 0, inverse: 1)
    /// The best tokens in order where only some are kept; else those of the bucket that was asked for last.
    private var entries: [Entry] = []
    private var keepsAll = true
    /// Mass of all tokens that are kept.
    private(set) var mass: UInt64 = 0

    // What is known of the first bands, as far as it was asked for. Memory stays from one ranking to the next.
    /// Where each band's tokens end in `ids` and `exponents`.
    private var ends: [Int] = []
    /// The bands' tokens, ascending in each: room for the whole vocabulary.
    private var ids: [UInt32] = []
    private var exponents: [Float] = []
    /// Mass of the bands' tokens by their distance, `buckets` numbers for each.
    private var bucketMasses: [UInt64] = []
    /// Masses of some tokens of a band.
    private var chunk: [UInt64] = []

    private struct Entry {
        var id: Int
        var score: Float

        func stands(before other: Entry) -> Bool {
            score == other.score ? id < other.id : score > other.score
        }
    }

    init(kernels: SamplingKernels = .best) { self.kernels = kernels }

    /// Ranks the tokens.
    /// - Parameters:
    ///   - values: no NaN; negative infinity for tokens without mass. They must stay as they are while the ranking is
    ///     asked
    ///   - first: the first of the largest scores, which is finite
    ///   - temperature: in the normal range of float32
    ///   - limit: how many of the best to keep; 0 keeps all
    mutating func rank(
        _ values: UnsafeMutableBufferPointer<Float>, first: Int, temperature: Float, limit: Int
    ) {
        scores = SamplingKernels.Scores(
            UnsafeBufferPointer(values), highest: values[first], inverse: 1 / temperature)
        ends.removeAll(keepingCapacity: true)
        entries.removeAll(keepingCapacity: true)
        keepsAll = limit == 0 || limit >= values.count
        if keepsAll { mass = kernels.mass(scores, above: -Self.depth) } else { keepBest(limit) }
    }

    private func mass(of entry: Entry) -> UInt64 {
        kernels.mass(at: scores.exponent(entry.id), above: -Self.depth)
    }

    /// A partial selection: what cannot be among the best any more is passed over.
    private mutating func keepBest(_ limit: Int) {
        let values = scores.values
        let raw = UnsafeRawBufferPointer(values)
        var threshold = -Float.infinity
        func cut(_ best: inout [Entry]) {
            best.sort { $0.stands(before: $1) }
            best.removeLast(max(best.count - limit, 0))
            if best.count == limit { threshold = best[limit - 1].score }
        }
        for first in stride(from: 0, to: values.count, by: 8) {
            if first + 8 <= values.count {
                let eight = raw.loadUnaligned(fromByteOffset: 4 * first, as: SIMD8<Float>.self)
                if !any(eight .> threshold) { continue }
            }
            // An equal score comes later in the order, so it does not push out what is there.
            for id in first..<min(first + 8, values.count) where values[id] > threshold {
                entries.append(Entry(id: id, score: values[id]))
                if entries.count >= 2 * limit + 8 { cut(&entries) }
            }
        }
        cut(&entries)
        mass = entries.reduce(0) { $0 + mass(of: $1) }
    }

    // MARK: - Bands

    /// Writes down the tokens of the next band, and their mass by distance.
    private mutating func addBand() {
        let band = Self.bands[ends.count]
        let start = ends.last ?? 0
        // Bands have no token in common, so all of them together have room.
        let missing = scores.values.count - ids.count
        if missing > 0 {
            ids.append(contentsOf: repeatElement(0, count: missing))
            exponents.append(contentsOf: repeatElement(0, count: missing))
        }
        if chunk.isEmpty { chunk = [UInt64](repeating: 0, count: 1024) }
        let masses = ends.count * Self.buckets
        if bucketMasses.count == masses {
            bucketMasses.append(contentsOf: repeatElement(0, count: Self.buckets))
        }
        let (kernels, scores) = (kernels, scores)
        let found = ids.withUnsafeMutableBufferPointer { ids in
            exponents.withUnsafeMutableBufferPointer { exponents in
                kernels.select(
                    scores, above: -band.upperBound, through: -band.lowerBound,
                    ids: UnsafeMutableBufferPointer(rebasing: ids[start...]),
                    exponents: UnsafeMutableBufferPointer(rebasing: exponents[start...]))
            }
        }
        ends.append(start + found)
        exponents.withUnsafeBufferPointer { exponents in
            bucketMasses.withUnsafeMutableBufferPointer { sums in
                chunk.withUnsafeMutableBufferPointer { chunk in
                    Self.sum(
                        UnsafeBufferPointer(rebasing: exponents[start..<start + found]), in: band, chunk,
                        kernels,
                        into: UnsafeMutableBufferPointer(rebasing: sums[masses..<masses + Self.buckets]))
                }
            }
        }
    }

    /// Sums the mass of a band's tokens by their distance.
    private static func sum(
        _ exponents: UnsafeBufferPointer<Float>, in band: ClosedRange<Float>,
        _ chunk: UnsafeMutableBufferPointer<UInt64>, _ kernels: SamplingKernels,
        into sums: UnsafeMutableBufferPointer<UInt64>
    ) {
        sums.update(repeating: 0)
        for first in stride(from: 0, to: exponents.count, by: chunk.count) {
            let part = UnsafeBufferPointer(
                rebasing: exponents[first..<min(first + chunk.count, exponents.count)])
            kernels.masses(SamplingKernels.Scores(exponents: part), above: -depth, into: chunk)
            for index in part.indices { sums[bucket(part[index], in: band)] &+= chunk[index] }
        }
    }

    /// - Parameter exponent: within the band
    @inline(__always)
    private static func bucket(_ exponent: Float, in band: ClosedRange<Float>) -> Int {
        let scale = Float(buckets - 1) / (band.upperBound - band.lowerBound)
        // Adding 2^23 rounds to an integer, which then is in the low bits.
        let place = (-exponent - band.lowerBound) * scale + 0x1p23
        return Int(place.bitPattern & UInt32(buckets - 1))
    }

    /// Makes `entries` the tokens of a bucket, in order.
    private mutating func order(bucket: Int, of index: Int) {
        let band = Self.bands[index]
        entries.removeAll(keepingCapacity: true)
        for place in (index == 0 ? 0 : ends[index - 1])..<ends[index]
        where Self.bucket(exponents[place], in: band) == bucket {
            let id = Int(ids[place])
            entries.append(Entry(id: id, score: scores.values[id]))
        }
        // Fewer than 64, as nearly always, are sorted in place.
        entries.sort { $0.stands(before: $1) }
    }

    // MARK: - Questions

    /// The first token with which the mass of it and all before it is above `target`, and that mass.
    /// - Parameter target: below `mass`
    mutating func token(at target: UInt64) -> (id: Int, through: UInt64) {
        guard keepsAll else { return entry(at: target, after: 0) }
        var through: UInt64 = 0
        for index in Self.bands.indices {
            if index == ends.count { addBand() }
            for bucket in 0..<Self.buckets {
                let mass = bucketMasses[index * Self.buckets + bucket]
                if through + mass > target {
                    order(bucket: bucket, of: index)
                    return entry(at: target, after: through)
                }
                through += mass
            }
        }
        return (0, through)
    }

    private func entry(at target: UInt64, after mass: UInt64) -> (id: Int, through: UInt64) {
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
            return entries.reduce(0) { scores.exponent($1.id) >= least ? $0 + mass(of: $1) : $0 }
        }
        return kernels.mass(scores, above: max(least.nextDown, -Self.depth))
    }
}
