package import Checkpoints
package import Tensors

/// Puts the visual tokens of an image's tiles together as the decoder reads them (LLaVA-OneVision, section 3.1): those of
/// the whole image first, then the tiles' as one map, in LLaVA-NeXT and LLaVA-OneVision without what stands for padding and
/// each row with a learned token at its end, in the latter reduced where there are too many.
package struct TileAssembly: Sendable {
    /// [D], the token at the end of a row; nil where rows have none.
    private let newline: Tensor?
    private let tiling: AnyResolution
    /// Visual tokens per side of a tile.
    private let side: Int

    /// - Parameter loader: at the root of the canonical names; reads `projector.newline` where rows end with it.
    init(_ loader: WeightLoader, tiling: AnyResolution, side: Int, channels: Int) throws {
        newline = tiling.merge == .rows ? try loader.checked("projector.newline", shape: [channels]) : nil
        self.tiling = tiling
        self.side = side
    }

    /// - Parameters:
    ///   - projected: [tiles · side², D], tile after tile, the whole image first
    ///   - arrangement: of the tiles; nil for the whole image alone
    /// - Returns: [tokens, D]
    /// - Throws: `TensorError.allocationFailed`.
    package func callAsFunction(
        _ projected: Matrix, arrangement: TileArrangement?
    ) throws(TensorError) -> Tensor {
        let area = side * side
        precondition(projected.rows == area * (arrangement?.count ?? 1), "shapes do not agree")
        // Tile by tile they are in their order already.
        if tiling.merge == .tiles { return try projected.copied() }
        let map = arrangement.map { tiling.map(of: $0, side: side) }
        let channels = projected.columns
        let added = map?.tokens ?? (newline == nil ? 0 : 1)
        return try Tensor(float32: [area + added, channels]) { target in
            guard let start = target.baseAddress else { return }
            let result = Matrix(
                pointer: start, rows: area + added, columns: channels, rowStride: channels)
            result.rows(0..<area).copy(projected.rows(0..<area))
            guard let map, let arrangement else {
                if let newline { result.rows(area..<area + 1).copy(newline) }
                return
            }
            let source = Source(tokens: projected, side: side, columns: arrangement.columns, map: map)
            var next = area
            for row in 0..<map.height {
                for column in 0..<map.width {
                    source.write(row, column, to: start + next * channels)
                    next += 1
                }
                if let newline {
                    result.rows(next..<next + 1).copy(newline)
                    next += 1
                }
            }
        }
    }

    /// The map of all tiles, read at the places of the reduced one.
    private struct Source {
        let tokens: Matrix
        let side: Int
        /// Tiles beside each other.
        let columns: Int
        let map: VisualTokenMap

        /// The token at a row and column of what is not padding.
        private func token(_ row: Int, _ column: Int) -> UnsafePointer<Float> {
            let (y, x) = (map.rows.lowerBound + row, map.columns.lowerBound + column)
            let tile = 1 + y / side * columns + x / side
            let place = y % side * side + x % side
            return UnsafePointer(tokens.pointer + (tile * side * side + place) * tokens.rowStride)
        }

        /// The two neighbours of a place and the second one's share: bilinear as PyTorch does it, with half-pixel centres
        /// and without looking further where it shrinks.
        private func neighbours(_ place: Int, _ from: Int, _ to: Int) -> (Int, Int, Float) {
            let position = max(Float(from) / Float(to) * (Float(place) + 0.5) - 0.5, 0)
            let first = min(Int(position), from - 1)
            return (first, min(first + 1, from - 1), position - Float(first))
        }

        func write(_ row: Int, _ column: Int, to target: UnsafeMutablePointer<Float>) {
            guard map.isReduced else {
                return target.update(from: token(row, column), count: tokens.columns)
            }
            let (top, bottom, down) = neighbours(row, map.rows.count, map.height)
            let (left, right, across) = neighbours(column, map.columns.count, map.width)
            let corners = (token(top, left), token(top, right), token(bottom, left), token(bottom, right))
            for channel in 0..<tokens.columns {
                let upper = (1 - across) * corners.0[channel] + across * corners.1[channel]
                let lower = (1 - across) * corners.2[channel] + across * corners.3[channel]
                target[channel] = (1 - down) * upper + down * lower
            }
        }
    }
}
