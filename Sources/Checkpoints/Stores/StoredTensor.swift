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
    /// Integer weights packed for the kernels: `shape` is then that of the numbers they stand for, `dataType` that
    /// of the numbers one gets, `byteOffset` and `byteCount` those of the panels.
    package var packing: Packing?

    /// How packed weights are to be read.
    package struct Packing: Sendable, Equatable {
        package let layout: PanelLayout
        /// The `up` matrix of a gated pair.
        package let isSecond: Bool
    }

    /// Number of elements. The shape was checked against the bytes when the header was read.
    package var count: Int { packing == nil ? byteCount / dataType.byteWidth : shape.reduce(1, *) }
}
