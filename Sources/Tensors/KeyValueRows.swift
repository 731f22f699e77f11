internal import CKernels

/// Rows [positions, keyValueHeads · D] of keys or values, float32 or bfloat16, in memory that a cache owns.
package struct KeyValueRows {
    let pointer: UnsafeMutableRawPointer
    package let rows: Int
    package let columns: Int
    /// Numbers between rows.
    let rowStride: Int
    /// bfloat16.
    package let isHalf: Bool

    var bytesPerNumber: Int { isHalf ? 2 : 4 }

    package init(_ matrix: Matrix) {
        pointer = UnsafeMutableRawPointer(matrix.pointer)
        rows = matrix.rows
        columns = matrix.columns
        rowStride = matrix.rowStride
        isHalf = false
    }

    /// - Parameter pointer: contiguous rows; valid as long as its owner lives
    package init(pointer: UnsafeMutableRawPointer, rows: Int, columns: Int, isHalf: Bool) {
        self.pointer = pointer
        self.rows = rows
        self.columns = columns
        rowStride = columns
        self.isHalf = isHalf
    }

    /// Overwrites the rows from `first` on, rounding to nearest even where they are bfloat16.
    /// - Parameter x: [n, columns], first + n ≤ rows
    package func store(_ x: Matrix, from first: Int) {
        precondition(x.columns == columns && first >= 0 && first + x.rows <= rows, "shapes do not agree")
        for index in 0..<x.rows {
            fv_convert(
                x.pointer + index * x.rowStride, FV_FLOAT32,
                pointer + (first + index) * rowStride * bytesPerNumber, isHalf ? FV_BFLOAT16 : FV_FLOAT32,
                columns)
        }
    }
}
