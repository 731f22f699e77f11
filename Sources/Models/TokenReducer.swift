package import Checkpoints
package import Tensors

/// Pools, merges or chooses visual tokens; see ``TokenReduction``.
package struct TokenReducer {
    private let reduction: TokenReduction

    package init(_ reduction: TokenReduction) { self.reduction = reduction }

    /// - Parameters:
    ///   - tokens: [n, D]; for `average` those of a square map, row by row
    ///   - check: called now and then, since thousands of tokens take seconds to merge
    /// - Returns: [min(n, asked), D], in the order of the image
    /// - Throws: `TensorError.allocationFailed`, and what `check` throws.
    package func callAsFunction(
        _ tokens: Matrix, check: () throws(TensorError) -> Void = { () throws(TensorError) in }
    ) throws(TensorError) -> Tensor {
        guard reduction.tokens < tokens.rows else { return try tokens.copied() }
        let weights =
            switch reduction.method {
            case .average: pooled(tokens.rows)
            case .merge: try merged(tokens, check)
            case .select: try selected(tokens, check)
            }
        let columns = tokens.columns
        return try Tensor(float32: [weights.count, columns]) { target in
            guard let start = target.baseAddress else { return }
            target.update(repeating: 0)
            for (place, group) in weights.enumerated() {
                let sum = start + place * columns
                for row in group {
                    let values = tokens.row(row)
                    for column in 0..<columns { sum[column] += values[column] }
                }
                let share = 1 / Float(group.count)
                for column in 0..<columns { sum[column] *= share }
            }
        }
    }

    /// For each token of the result, which ones it is the mean of.
    private typealias Groups = [[Int]]

    /// As PyTorch's `adaptive_avg_pool2d`: where a side is no multiple of the other, places share their border.
    private func pooled(_ count: Int) -> Groups {
        let side = Int(Double(count).squareRoot().rounded())
        let kept = reduction.side ?? 1
        precondition(side * side == count && kept * kept == reduction.tokens, "not a square")
        func range(_ place: Int) -> Range<Int> {
            place * side / kept..<((place + 1) * side + kept - 1) / kept
        }
        return (0..<kept).flatMap { row in
            (0..<kept).map { column in
                range(row).flatMap { y in range(column).map { y * side + $0 } }
            }
        }
    }

    /// Every token finds the one behind it that it is most like, and the pairs that are most alike become one. At most a
    /// quarter of the tokens go in a round, so that what was merged is compared again.
    private func merged(
        _ tokens: Matrix, _ check: () throws(TensorError) -> Void
    ) throws(TensorError) -> Groups {
        var groups = (0..<tokens.rows).map { [$0] }
        var means = Directions(tokens)
        while groups.count > reduction.tokens {
            var gone = min(groups.count - reduction.tokens, max(groups.count / 4, 1))
            var pairs: [(into: Int, from: Int, likeness: Float)] = []
            for one in 0..<groups.count - 1 {
                try check()
                var best = (from: one + 1, likeness: -Float.infinity)
                for other in one + 1..<groups.count {
                    let likeness = means.likeness(one, other)
                    if likeness > best.likeness { best = (other, likeness) }
                }
                pairs.append((one, best.from, best.likeness))
            }
            var isGone = [Bool](repeating: false, count: groups.count)
            var isGrown = isGone
            // Sorting is stable, so that equal pairs go in the order of the image.
            for pair in pairs.sorted(by: { $0.likeness > $1.likeness }) where gone > 0 {
                guard !isGone[pair.into], !isGone[pair.from], !isGrown[pair.from] else { continue }
                groups[pair.into] += groups[pair.from]
                isGone[pair.from] = true
                isGrown[pair.into] = true
                gone -= 1
            }
            groups = groups.indices.filter { !isGone[$0] }.map { groups[$0] }
            means = Directions(tokens, groups)
        }
        return groups
    }

    /// Farthest first, from the token that is least like the mean of all.
    private func selected(
        _ tokens: Matrix, _ check: () throws(TensorError) -> Void
    ) throws(TensorError) -> Groups {
        let directions = Directions(tokens)
        let mean = Directions(tokens, [Array(0..<tokens.rows)])
        // Of every token, the kept one that it is most like.
        var nearest = [(place: Int, likeness: Float)](
            repeating: (0, -Float.infinity), count: tokens.rows)
        var kept: [Int] = []
        var isKept = [Bool](repeating: false, count: tokens.rows)
        while kept.count < reduction.tokens {
            try check()
            var next: (row: Int, likeness: Float)?
            for row in 0..<tokens.rows where !isKept[row] {
                let likeness = kept.isEmpty ? directions.likeness(row, to: mean, 0) : nearest[row].likeness
                if next.map({ likeness < $0.likeness }) ?? true { next = (row, likeness) }
            }
            guard let next else { break }
            isKept[next.row] = true
            for row in 0..<tokens.rows {
                let likeness = directions.likeness(row, next.row)
                if likeness > nearest[row].likeness { nearest[row] = (kept.count, likeness) }
            }
            kept.append(next.row)
        }
        var groups = kept.map { [$0] }
        for row in 0..<tokens.rows where !isKept[row] { groups[nearest[row].place].append(row) }
        return groups.sorted { $0[0] < $1[0] }
    }
}

/// Means of groups of tokens, brought to length 1, so that their products are cosines.
private struct Directions {
    private var values: [Float]
    private let columns: Int

    init(_ tokens: Matrix) { self.init(tokens, (0..<tokens.rows).map { [$0] }) }

    init(_ tokens: Matrix, _ groups: [[Int]]) {
        columns = tokens.columns
        values = [Float](repeating: 0, count: groups.count * tokens.columns)
        for (place, group) in groups.enumerated() {
            let range = place * columns..<(place + 1) * columns
            for row in group {
                let token = tokens.row(row)
                for column in 0..<columns { values[range.lowerBound + column] += token[column] }
            }
            let length = values[range].reduce(Float(0)) { $0 + $1 * $1 }.squareRoot()
            guard length > 0 else { continue }
            for index in range { values[index] /= length }
        }
    }

    func likeness(_ one: Int, _ other: Int) -> Float { likeness(one, to: self, other) }

    func likeness(_ one: Int, to others: Directions, _ other: Int) -> Float {
        values.withUnsafeBufferPointer { first in
            others.values.withUnsafeBufferPointer { second in
                guard let ones = first.baseAddress, let others = second.baseAddress else { return 0 }
                let (a, b) = (ones + one * columns, others + other * columns)
                var sum = SIMD16<Float>(repeating: 0)
                var column = 0
                while column + 16 <= columns {
                    let x = UnsafeRawPointer(a + column).loadUnaligned(as: SIMD16<Float>.self)
                    let y = UnsafeRawPointer(b + column).loadUnaligned(as: SIMD16<Float>.self)
                    sum += x * y
                    column += 16
                }
                var rest: Float = 0
                while column < columns {
                    rest += a[column] * b[column]
                    column += 1
                }
                return sum.sum() + rest
            }
        }
    }
}

extension VisionLanguageNetwork {
    /// What the decoder reads of an image: its tiles put together, and fewer tokens where that was asked for.
    /// - Parameters:
    ///   - projected: [tiles · tokens of a tile, D], tile after tile
    ///   - arrangement: of the tiles; nil for an image as a whole
    /// - Returns: [tokens, D]
    /// - Throws: `TensorError.allocationFailed`, `.cancelled`.
    package func visualTokens(
        _ projected: Matrix, arrangement: TileArrangement?, on compute: Compute
    ) throws(TensorError) -> Tensor {
        func check() throws(TensorError) { try compute.checkCancellation() }
        guard let tileAssembly else {
            guard let reduction = configuration.tokenReduction else { return try projected.copied() }
            return try TokenReducer(reduction)(projected, check: check)
        }
        let assembled = try tileAssembly(projected, arrangement: arrangement)
        guard let reduction = configuration.tokenReduction else { return assembled }
        let (rows, columns) = (assembled.shape[0], assembled.shape[1])
        guard rows > reduction.tokens,
            let start = assembled.storage.mutableBytes.bindMemory(to: Float.self).baseAddress
        else { return assembled }
        defer { withExtendedLifetime(assembled) {} }
        return try TokenReducer(reduction)(
            Matrix(pointer: start, rows: rows, columns: columns, rowStride: columns), check: check)
    }
}
