package import Tensors

/// Where a tensor stands in the files of a checkpoint: nothing of its data has been read.
package struct StoredTensor: Sendable, Equatable {
    /// Name as stored.
    package let name: String
    /// Name of the file that holds it.
    package let file: String
    /// Which of the catalog's files holds it.
    package let fileIndex: Int
    package let dataType: DataType
    package let shape: [Int]
    /// First byte, counted from the start of the file.
    package let byteOffset: Int
    package let byteCount: Int

    /// Number of elements. The shape was checked against the bytes when the header was read.
    package var count: Int { byteCount / dataType.byteWidth }
}
