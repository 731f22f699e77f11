package import Tensors

/// A file that holds named tensors, whatever its format. The names are the file's own: what they mean is a matter of
/// the layout (``SourceNames``), which knows nothing of formats.
///
/// A further format is a type of this protocol whose initialiser checks everything that the file claims, and a line in
/// ``TensorCatalog/init(directory:)`` that finds its files.
package protocol TensorStore: Sendable {
    /// File name, without folder.
    var name: String { get }
    /// The whole file, mapped.
    var storage: Storage { get }
    /// Names, element types, shapes and places, checked to be within `storage`.
    var tensors: [StoredTensor] { get }
    /// What the file says about itself.
    var metadata: [String: String] { get }

    /// Checks that nobody wrote into the file since it was opened.
    /// - Throws: `CheckpointError.changedFile`.
    func checkUnchanged() throws(CheckpointError)
}

extension TensorStore {
    /// A zero-copy view of a tensor of this file, or an aligned copy where its bytes stand at an odd place. Packed
    /// integers become float32 numbers.
    package func tensor(_ stored: StoredTensor) throws(CheckpointError) -> Tensor {
        do {
            if let packing = stored.packing {
                let values = try panels(stored, packing.layout).values(isSecond: packing.isSecond)
                return try values.reshaped(stored.shape)
            }
            if stored.byteOffset % stored.dataType.byteWidth == 0 {
                return try Tensor(
                    stored.dataType, shape: stored.shape, storage: storage, byteOffset: stored.byteOffset)
            }
            return try Tensor(stored.dataType, shape: stored.shape, storage: alignedCopy(stored))
        } catch {
            throw .tensor(error)
        }
    }

    /// Packed integers where they stand, or an aligned copy.
    func panels(_ stored: StoredTensor, _ layout: PanelLayout) throws(TensorError) -> PackedPanels {
        if let panels = PackedPanels(layout: layout, storage: storage, byteOffset: stored.byteOffset) {
            return panels
        }
        guard let panels = PackedPanels(layout: layout, storage: try alignedCopy(stored), byteOffset: 0)
        else {
            throw .unexpectedShape(
                what: stored.name, expected: "\(layout.byteCount) bytes", got: "\(stored.byteCount)")
        }
        return panels
    }

    /// The bytes of a tensor of this file. Valid while the file's storage lives.
    package func bytes(of stored: StoredTensor) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            rebasing: storage.bytes[stored.byteOffset..<stored.byteOffset + stored.byteCount])
    }

    private func alignedCopy(_ stored: StoredTensor) throws(TensorError) -> Storage {
        let copy = try Storage(byteCount: stored.byteCount)
        copy.mutableBytes.copyMemory(from: bytes(of: stored))
        return copy
    }
}
