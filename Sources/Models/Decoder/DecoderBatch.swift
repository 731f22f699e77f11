internal import Tensors

/// The rows of one step of the decoder: a run of new positions of each of several sequences.
///
/// Kept from step to step, so that a warm step allocates nothing.
package final class DecoderBatch {
    /// Of all rows, in order.
    var parts: [AttentionPart] = []
    /// Of the rows whose scores are wanted alone, numbered from 0.
    var wantedParts: [AttentionPart] = []
    /// Those rows' places among all rows, ascending.
    private(set) var wantedRows: [Int] = []
    private var caches: [KeyValueCache] = []

    package init() {}

    /// New positions of all sequences.
    package var rows: Int { parts.last?.rows.upperBound ?? 0 }
    /// Rows whose scores are wanted.
    package var wantedCount: Int { wantedRows.count }

    package func removeAll() {
        parts.removeAll(keepingCapacity: true)
        wantedParts.removeAll(keepingCapacity: true)
        wantedRows.removeAll(keepingCapacity: true)
        caches.removeAll(keepingCapacity: true)
    }

    /// Adds the next positions of a sequence, behind what its cache has.
    /// - Parameters:
    ///   - positions: how many, at least 1; the cache has room for them
    ///   - wanted: how many of them, from the last one backwards, get scores
    package func append(_ cache: KeyValueCache, positions: Int, wanted: Int) {
        precondition(positions > 0 && (0...positions).contains(wanted), "no such rows")
        precondition(cache.count + positions <= cache.capacity, "positions beyond the blocks")
        let (first, total) = (rows, cache.count + positions)
        parts.append(
            AttentionPart(
                rows: first..<first + positions, blocks: cache.table, keys: total, causalOffset: cache.count))
        if wanted > 0 {
            let start = wantedRows.count
            wantedParts.append(
                AttentionPart(
                    rows: start..<start + wanted, blocks: cache.table, keys: total,
                    causalOffset: total - wanted))
            for row in (first + positions - wanted)..<(first + positions) { wantedRows.append(row) }
        }
        caches.append(cache)
    }

    /// Declares the positions filled.
    func advance() {
        for (part, cache) in zip(parts, caches) { cache.advance(by: part.rows.count) }
    }
}
