internal import CKernels

/// Rows [rows, channels] that are gathered by number: read in place, so that only the pages of rows that occur are
/// ever loaded.
package struct EmbeddingTable: Sendable {
    package let rows: Int
    package let channels: Int
    let tensor: Tensor

    /// - Parameter table: [rows, channels], float32, float16 or bfloat16.
    /// - Throws: `TensorError.unexpectedShape`.
    package init(_ table: Tensor) throws(TensorError) {
        (rows, channels) = try PackedMatrix.extents(table, what: "embedding table")
        tensor = table
    }

    package var byteCount: Int { tensor.byteCount }
}
