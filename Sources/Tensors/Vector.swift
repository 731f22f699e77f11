/// A float32 vector that kernels read: a bias, a norm's weight, a layer scale. Padded with zeros to a
/// multiple of 64, so that a kernel may load whole registers beyond `count`.
package struct Vector: Sendable {
    package let count: Int
    private let storage: Storage

    /// - Parameter tensor: any shape, any type; its elements in order.
    /// - Throws: `TensorError.allocationFailed`.
    package init(_ tensor: Tensor) throws(TensorError) {
        try self.init(tensor.floats())
    }

    /// - Throws: `TensorError.allocationFailed`.
    package init(_ values: [Float]) throws(TensorError) {
        count = values.count
        storage = try Storage(byteCount: (values.count + 63) / 64 * 256)
        values.withUnsafeBytes { storage.mutableBytes.copyMemory(from: $0) }
    }

    /// The numbers; valid while the vector lives.
    var pointer: UnsafePointer<Float> {
        UnsafePointer(storage.floats)
    }

    package var values: [Float] { Array(UnsafeBufferPointer(start: pointer, count: count)) }
}
