internal import CKernels

/// Rows [rows, channels] that are gathered by number and multiplied with one position to give logits: stored
/// row-major as float32 or bfloat16, in place where the tensor already is.
package struct EmbeddingTable: Sendable {
    package let rows: Int
    package let channels: Int
    let tensor: Tensor

    /// - Parameters:
    ///   - table: [rows, channels], float32, float16 or bfloat16.
    ///   - precision: `.bfloat16` rounds float32 and float16 rows to bfloat16, `.float32` widens float16 rows.
    ///     bfloat16 rows stay as they are, which is exact in both cases.
    /// - Throws: `TensorError.unexpectedShape` or `.allocationFailed`.
    package init(_ table: Tensor, precision: Precision) throws(TensorError) {
        (rows, channels) = try PackedMatrix.extents(table, what: "embedding table")
        if table.dataType == .bfloat16 || (table.dataType == .float32 && precision == .float32) {
            tensor = table
            return
        }
        let target: DataType = precision == .float32 ? .float32 : .bfloat16
        let storage = try Storage(uninitializedByteCount: table.count * target.byteWidth)
        if let from = table.dataType.kernelType, let to = target.kernelType,
            let source = table.bytes.baseAddress, let destination = storage.mutableBytes.baseAddress
        {
            fv_convert(source, from, destination, to, table.count)
        }
        table.releasePages()
        tensor = try Tensor(target, shape: [rows, channels], storage: storage)
    }

    package var byteCount: Int { tensor.byteCount }
}
