internal import CKernels

extension Compute {
    /// softmax(scale · q·kᵀ)·v for each head.
    ///
    /// Query head h reads key/value head h / (heads / keyValueHeads). Query i sees keys
    /// 0 ... causalOffset + i, or all of them where `causalOffset` is nil.
    /// - Parameters:
    ///   - queries: [M, heads · D]
    ///   - keys: [S, keyValueHeads · D], S at least 1
    ///   - values: [S, keyValueHeads · D]
    ///   - causalOffset: at least 0, and causalOffset + M ≤ S.
    ///   - mayRound: where the instruction set multiplies bfloat16 numbers, queries, keys, values and the softmax's weights
    ///     are rounded to them
    ///   - y: [M, heads · D]; must not overlap the keys and values; may be `queries`.
    package func attention(
        queries: Matrix, keys: Matrix, values: Matrix, heads: Int, keyValueHeads: Int, scale: Float,
        causalOffset: Int?, mayRound: Bool = false, into y: Matrix
    ) {
        precondition(heads > 0 && keyValueHeads > 0 && heads % keyValueHeads == 0, "heads do not agree")
        precondition(queries.columns % heads == 0 && keys.rows > 0, "shapes do not agree")
        let dimension = queries.columns / heads
        precondition(
            keys.columns == keyValueHeads * dimension && values.columns == keys.columns
                && values.rows == keys.rows && y.rows == queries.rows && y.columns == queries.columns,
            "shapes do not agree")
        precondition(
            causalOffset.map { $0 >= 0 && $0 + queries.rows <= keys.rows } ?? true,
            "queries look beyond the keys")
        let kernel = kernels.pointee.attention
        let block = kernels.pointee.query_block
        let blocks = (queries.rows + block - 1) / block
        let group = heads / keyValueHeads
        let bytes = kernels.pointee.attention_scratch(keys.rows, dimension)
        // A causal query sees its offset, itself and, on average, half of the queries of the call before it.
        let seen = causalOffset.map { $0 + (queries.rows + 1) / 2 } ?? keys.rows
        measured(
            .attention, "\(queries.rows) × \(keys.rows), \(heads) heads of \(dimension)",
            operations: 4 * queries.rows * seen * heads * dimension,
            bytes: 8 * (queries.rows * queries.columns + keys.rows * keys.columns)
        ) {
            // Contiguous rows are a single block, whose address stands here while the tasks run.
            withUnsafePointer(to: UnsafeRawPointer(keys.pointer)) { keyBase in
                withUnsafePointer(to: UnsafeRawPointer(values.pointer)) { valueBase in
                    let call = fv_attention(
                        q: queries.pointer, q_stride: queries.rowStride,
                        k: fv_blocks(bases: keyBase, offset: 0, stride: keys.rowStride, shift: 63),
                        v: fv_blocks(bases: valueBase, offset: 0, stride: values.rowStride, shift: 63),
                        is_bf16: 0, rounds: mayRound ? 1 : 0, y: y.pointer, y_stride: y.rowStride, queries: 0,
                        keys: keys.rows,
                        dimension: dimension, scale: scale, causal: causalOffset == nil ? 0 : 1,
                        visible: causalOffset ?? 0, scratch: nil)
                    run(
                        heads * blocks, scratchBytes: bytes,
                        with: (call, kernel, block, blocks, group, queries.rows)
                    ) { job, task, scratch in
                        var (part, kernel, block, blocks, group, queries) = job
                        let head = task / blocks
                        let first = task % blocks * block
                        part.q += first * part.q_stride + head * part.dimension
                        part.y += first * part.y_stride + head * part.dimension
                        part.k.offset = head / group * part.dimension * MemoryLayout<Float>.stride
                        part.v.offset = part.k.offset
                        part.queries = min(block, queries - first)
                        part.visible += first
                        part.scratch = scratch
                        kernel(&part)
                    }
                }
            }
        }
    }

    /// Rotary position embedding in place: each head's halves (x1, x2) become
    /// (x1·cos − x2·sin, x2·cos + x1·sin).
    /// - Parameters:
    ///   - x: [tokens, heads · headDimension]
    ///   - table: has at least firstPosition + tokens positions.
    ///   - firstPosition: of row 0.
    package func rotate(_ x: Matrix, headDimension: Int, table: RotaryTable, firstPosition: Int) {
        precondition(
            headDimension == table.headDimension && x.columns % headDimension == 0 && firstPosition >= 0
                && firstPosition + x.rows <= table.positions, "shapes do not agree")
        let kernel = kernels.pointee.rotate
        measured(
            .other, "rotation of \(x.rows) × \(x.columns)", operations: 3 * x.rows * x.columns,
            bytes: 8 * x.rows * x.columns
        ) {
            // Of the first position; the tables have headDimension / 2 numbers for each.
            let tables = (table.cosine(from: firstPosition), table.sine(from: firstPosition))
            run(
                ranges: x.rows, step: rowsPerTask(x), with: (x, kernel, headDimension, tables)
            ) { job, rows, _ in
                let (x, kernel, headDimension, tables) = job
                var part = Self.rows(rows, x, x)
                let skipped = rows.lowerBound * (headDimension / 2)
                kernel(&part, headDimension, tables.0 + skipped, tables.1 + skipped)
            }
        }
        withExtendedLifetime(table) {}
    }
}
