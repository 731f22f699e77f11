internal import CKernels

/// Norms, element-wise operations and table look-ups.
extension Compute {
    /// (x − mean) / √(variance + epsilon) · weight + bias over each row; the variance is the biased one.
    /// - Parameters:
    ///   - x: [rows, C]
    ///   - y: [rows, C]; may be x.
    package func layerNorm(_ x: Matrix, weight: Vector, bias: Vector, epsilon: Float, into y: Matrix) {
        precondition(weight.count == x.columns && bias.count == x.columns, "weights do not fit")
        let kernel = kernels.pointee.layer_norm
        elementwise(x, y, .norm, with: (kernel, weight.pointer, bias.pointer, epsilon)) { job, part in
            job.0(&part, job.1, job.2, job.3)
        }
        withExtendedLifetime((weight, bias)) {}
    }

    /// x / √(mean(x²) + epsilon) · weight over each row.
    /// - Parameters:
    ///   - x: [rows, C]
    ///   - y: [rows, C]; may be x.
    package func rmsNorm(_ x: Matrix, weight: Vector, epsilon: Float, into y: Matrix) {
        precondition(weight.count == x.columns, "weights do not fit")
        let kernel = kernels.pointee.rms_norm
        elementwise(x, y, .norm, with: (kernel, weight.pointer, epsilon)) { job, part in
            job.0(&part, job.1, job.2)
        }
        withExtendedLifetime(weight) {}
    }

    /// x = 1 / (1 + e^−x), in place.
    package func sigmoid(_ x: Matrix) {
        elementwise(x, x, with: kernels.pointee.sigmoid) { kernel, part in kernel(&part) }
    }

    /// x = activation(x), in place.
    package func activate(_ x: Matrix, _ activation: Activation) {
        guard activation != .none else { return }
        let kernel = kernels.pointee.activate
        elementwise(x, x, with: (kernel, activation.code)) { job, part in job.0(&part, job.1) }
    }

    /// y += x.
    package func add(_ x: Matrix, to y: Matrix) {
        elementwise(x, y, with: kernels.pointee.add) { kernel, part in kernel(&part) }
    }

    /// y[i] = table[ids[i]].
    /// - Parameters:
    ///   - ids: each in 0 ..< table.rows.
    ///   - y: [ids.count, channels]
    package func gather(_ ids: [Int], from table: EmbeddingTable, into y: Matrix) {
        precondition(y.rows == ids.count && y.columns == table.channels, "shapes do not agree")
        for (index, id) in ids.enumerated() { table.copy(row: id, to: y.pointer + index * y.rowStride) }
    }

    /// Splits the rows of x and y (of equal shape) over the threads.
    /// - Parameter body: captures nothing; what it needs is `context`.
    func elementwise<Context>(
        _ x: Matrix, _ y: Matrix, _ kind: OperationLog.Kind = .other, with context: Context,
        _ body: @escaping (_ context: Context, _ part: inout fv_rows) -> Void
    ) {
        precondition(x.rows == y.rows && x.columns == y.columns, "shapes do not agree")
        let count = x.rows * x.columns
        measured(kind, "\(x.rows) × \(x.columns)", operations: count, bytes: 8 * count) {
            let rowwise = Rowwise(x: x, y: y, context: context, body: body)
            run(ranges: x.rows, step: rowsPerTask(x), with: rowwise) { job, rows, _ in
                var part = Self.rows(rows, job.x, job.y)
                job.body(job.context, &part)
            }
        }
    }

    /// Rows that make a task worth handing out: about 64 KiB.
    func rowsPerTask(_ x: Matrix) -> Int { max(1, 16384 / max(x.columns, 1)) }

    static func rows(_ range: Range<Int>, _ x: Matrix, _ y: Matrix) -> fv_rows {
        fv_rows(
            x: x.pointer + range.lowerBound * x.rowStride, x_stride: x.rowStride,
            y: y.pointer + range.lowerBound * y.rowStride, y_stride: y.rowStride, rows: range.count,
            columns: x.columns)
    }
}

private struct Rowwise<Context> {
    let x: Matrix
    let y: Matrix
    let context: Context
    let body: (Context, inout fv_rows) -> Void
}
