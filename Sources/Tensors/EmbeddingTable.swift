internal import CKernels

/// Rows [rows, channels] that are gathered by number: read in place, so that only the pages of rows that occur are
/// ever loaded, and integers stay integers.
package struct EmbeddingTable: Sendable {
    enum Values: Sendable {
        case numbers(Tensor, fv_type)
        case integers(IntegerMatrix)
    }

    package let rows: Int
    package let channels: Int
    let values: Values

    /// - Parameter table: [rows, channels], float32, float16 or bfloat16.
    /// - Throws: `TensorError.unexpectedShape`.
    package init(_ table: Tensor) throws(TensorError) {
        (rows, channels) = try PackedMatrix.extents(table, what: "embedding table")
        guard let type = table.dataType.kernelType else {
            throw .unexpectedShape(
                what: "embedding table", expected: "floating-point numbers", got: table.dataType.rawValue)
        }
        values = .numbers(table, type)
    }

    /// - Parameter table: [rows, channels]; a row becomes numbers when it is gathered.
    package init(_ table: IntegerMatrix) {
        (rows, channels) = (table.outputs, table.inputs)
        values = .integers(table)
    }

    /// Bytes of the whole table as it is stored.
    package var byteCount: Int {
        switch values {
        case .numbers(let tensor, _): tensor.byteCount
        case .integers(let matrix): matrix.byteCount
        }
    }

    /// Looks at all numbers, on all threads; of integers at their scales and biases. Pages of a file that this brings into
    /// memory are let go of.
    package func seen(compute: Compute) -> [WeightsSeen] {
        switch values {
        case .numbers(let tensor, _):
            defer { tensor.releasePages() }
            return [WeightsSeen(tensor, compute: compute)].compactMap { $0 }
        case .integers(let matrix): return matrix.seen(compute: compute)
        }
    }

    /// Writes row `row`, below `rows`, as `channels` numbers.
    func copy(row: Int, to target: UnsafeMutablePointer<Float>) {
        precondition(row >= 0 && row < rows, "no row \(row) in the table")
        switch values {
        case .numbers(let tensor, let type):
            guard let base = tensor.bytes.baseAddress else { return }
            fv_convert(
                base + row * channels * tensor.dataType.byteWidth, type, target, FV_FLOAT32, channels)
            withExtendedLifetime(tensor) {}
        case .integers(let matrix):
            withUnsafePointer(to: matrix.values) {
                fv_integers_row($0, Int32(matrix.bits), matrix.group, channels, row, target)
            }
            withExtendedLifetime(matrix) {}
        }
    }
}
