internal import CKernels

/// One sequence's rows in a step.
package struct AttentionPart {
    /// Rows of the step's queries, at least one.
    package var rows: Range<Int>
    /// Where the keys and values of the sequence are.
    package var blocks: KeyValueBlocks
    /// Positions filled, including these rows' own.
    package var keys: Int
    /// Position of the first row: row i of the part sees keys 0 ... causalOffset + i.
    package var causalOffset: Int

    package init(rows: Range<Int>, blocks: KeyValueBlocks, keys: Int, causalOffset: Int) {
        self.rows = rows
        self.blocks = blocks
        self.keys = keys
        self.causalOffset = causalOffset
    }
}

/// Attention and rotation of a step whose rows belong to several sequences.
extension Compute {
    /// softmax(scale · q·kᵀ)·v of every part in its own keys and values, for each head.
    ///
    /// Query head h reads key/value head h / (heads / keyValueHeads). A part's rows have the bits that they have alone.
    /// Where keys and values are bfloat16 and the instruction set multiplies such numbers, queries and the softmax's weights
    /// are rounded to them.
    /// - Parameters:
    ///   - queries: [M, heads · D]
    ///   - parts: cover the rows of `queries` in ascending order without gaps or overlaps. For each,
    ///     causalOffset + rows.count ≤ keys ≤ blocks.positions and blocks.width is keyValueHeads · D.
    ///   - layer: whose keys and values
    ///   - y: [M, heads · D]; may be `queries`
    package func attention(
        queries: Matrix, parts: UnsafeBufferPointer<AttentionPart>, layer: Int, heads: Int,
        keyValueHeads: Int, scale: Float, into y: Matrix
    ) {
        precondition(heads > 0 && keyValueHeads > 0 && heads % keyValueHeads == 0, "heads do not agree")
        precondition(
            queries.columns % heads == 0 && y.rows == queries.rows && y.columns == queries.columns
                && layer >= 0, "shapes do not agree")
        Self.check(parts, cover: queries.rows)
        let dimension = queries.columns / heads
        let block = kernels.pointee.query_block
        let group = heads / keyValueHeads
        var (mostKeys, seen, bytes, single) = (1, 0, 8 * queries.rows * queries.columns, 0)
        var units = 0
        for part in parts {
            precondition(
                part.blocks.width == keyValueHeads * dimension && part.keys <= part.blocks.positions
                    && part.causalOffset + part.rows.count <= part.keys, "queries look beyond the keys")
            let count = part.rows.count
            mostKeys = max(mostKeys, part.keys)
            // A query sees its offset, itself and, on average, half of the queries of its part before it.
            seen += count * (part.causalOffset + (count + 1) / 2)
            bytes += 2 * part.blocks.bytesPerNumber * part.keys * part.blocks.width
            units += heads * ((count + block - 1) / block)
            if count == 1 { single += 1 }
        }
        let job = PartsAttention(
            kernel: kernels.pointee.attention, queries: queries, y: y, parts: parts, layer: layer,
            heads: heads, group: group,
            // Heads that read the same keys go together as far as every thread still has work.
            together: max(1, min(group, units / threads)), queryBlock: block, dimension: dimension,
            scale: scale)
        var tasks = 0
        for part in parts { tasks += job.tasks(of: part) }
        measured(
            .attention,
            parts.count == 1
                ? "\(queries.rows) × \(mostKeys), \(heads) heads of \(dimension)"
                : "\(queries.rows) rows of \(parts.count) sequences × \(mostKeys), \(heads) heads of \(dimension)",
            operations: 4 * seen * heads * dimension, bytes: bytes
        ) {
            run(
                tasks, scratchBytes: kernels.pointee.attention_scratch(mostKeys, dimension), with: job
            ) { job, task, scratch in job.run(task, scratch) }
        }
    }

    /// Rotary position embedding in place of rows that belong to several sequences: each head's halves (x1, x2) become
    /// (x1·cos − x2·sin, x2·cos + x1·sin).
    /// - Parameters:
    ///   - x: [rows of all parts, heads · headDimension]
    ///   - table: has the positions of all rows.
    ///   - parts: cover the rows of x in ascending order without gaps or overlaps; row i of a part is at position
    ///     causalOffset + i.
    package func rotate(
        _ x: Matrix, headDimension: Int, table: RotaryTable, parts: UnsafeBufferPointer<AttentionPart>
    ) {
        precondition(
            headDimension == table.headDimension && x.columns % headDimension == 0, "shapes do not agree")
        Self.check(parts, cover: x.rows)
        for part in parts {
            precondition(part.causalOffset + part.rows.count <= table.positions, "shapes do not agree")
        }
        let kernel = kernels.pointee.rotate
        measured(
            .other, "rotation of \(x.rows) × \(x.columns)", operations: 3 * x.rows * x.columns,
            bytes: 8 * x.rows * x.columns
        ) {
            // Of position 0; the tables have headDimension / 2 numbers for each.
            let tables = (table.cosine(from: 0), table.sine(from: 0))
            run(
                ranges: x.rows, step: rowsPerTask(x), with: (x, kernel, headDimension, tables, parts)
            ) { job, rows, _ in
                let (x, kernel, headDimension, tables, parts) = job
                for part in parts {
                    let own = rows.clamped(to: part.rows)
                    if own.isEmpty { continue }
                    var call = Self.rows(own, x, x)
                    let position = part.causalOffset + own.lowerBound - part.rows.lowerBound
                    let skipped = position * (headDimension / 2)
                    kernel(&call, headDimension, tables.0 + skipped, tables.1 + skipped)
                }
            }
        }
        withExtendedLifetime(table) {}
    }

    private static func check(_ parts: UnsafeBufferPointer<AttentionPart>, cover rows: Int) {
        var next = 0
        for part in parts {
            precondition(
                part.rows.lowerBound == next && !part.rows.isEmpty && part.causalOffset >= 0,
                "parts do not follow each other")
            next = part.rows.upperBound
        }
        precondition(next == rows, "parts do not cover the rows")
    }
}

/// The tasks of a step's attention: for every part its heads, or groups of them, and blocks of its queries.
private struct PartsAttention {
    let kernel: @convention(c) (UnsafePointer<fv_attention>) -> Void
    let queries: Matrix
    let y: Matrix
    let parts: UnsafeBufferPointer<AttentionPart>
    let layer: Int
    let heads: Int
    /// Query heads that read the same keys.
    let group: Int
    /// How many of them a task takes where a part is a single query.
    let together: Int
    let queryBlock: Int
    let dimension: Int
    let scale: Float

    /// Of each group of heads.
    private var runs: Int { (group + together - 1) / together }

    func tasks(of part: AttentionPart) -> Int {
        part.rows.count == 1
            ? heads / group * runs : heads * ((part.rows.count + queryBlock - 1) / queryBlock)
    }

    func run(_ task: Int, _ scratch: UnsafeMutableRawPointer) {
        var task = task
        // A step has some dozens of parts at most.
        for part in parts {
            let count = tasks(of: part)
            if task < count { return run(task, of: part, scratch) }
            task -= count
        }
    }

    private func run(_ task: Int, of part: AttentionPart, _ scratch: UnsafeMutableRawPointer) {
        let isSingle = part.rows.count == 1
        let head: Int
        var first = 0
        var count: Int
        if isSingle {
            let start = task % runs * together
            head = task / runs * group + start
            count = min(together, group - start)
        } else {
            let blocks = (part.rows.count + queryBlock - 1) / queryBlock
            head = task / blocks
            first = task % blocks * queryBlock
            count = min(queryBlock, part.rows.count - first)
        }
        let row = part.rows.lowerBound + first
        let column = head / group * dimension
        let isBFloat16: Int32 = part.blocks.isBFloat16 ? 1 : 0
        // The heads of a single query go as if they were queries: all of them see the same keys, so nothing is causal.
        var call = fv_attention(
            q: queries.pointer + row * queries.rowStride + head * dimension,
            q_stride: isSingle ? dimension : queries.rowStride,
            k: part.blocks.keys(layer: layer, column: column),
            v: part.blocks.values(layer: layer, column: column), is_bf16: isBFloat16,
            rounds: isBFloat16, y: y.pointer + row * y.rowStride + head * dimension,
            y_stride: isSingle ? dimension : y.rowStride, queries: count,
            keys: isSingle ? part.causalOffset + 1 : part.keys, dimension: dimension, scale: scale,
            causal: isSingle ? 0 : 1, visible: part.causalOffset + first, scratch: scratch)
        kernel(&call)
    }
}
