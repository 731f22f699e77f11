/// An immutable n-dimensional array in row-major order, as it stands in a checkpoint or was computed at load.
///
/// Weights travel as tensors until they are packed; activations are ``Matrix`` views into a ``Workspace``.
package struct Tensor: Sendable {
    package let dataType: DataType
    /// Extent of each dimension, slowest first.
    package let shape: [Int]
    package let storage: Storage
    /// Where the first element stands in `storage`.
    package let byteOffset: Int

    /// Number of elements.
    package var count: Int { shape.reduce(1, *) }
    package var byteCount: Int { count * dataType.byteWidth }

    /// A view of `storage`.
    /// - Throws: `TensorError.unexpectedShape` when the elements would not fit, or an extent is negative.
    package init(_ dataType: DataType, shape: [Int], storage: Storage, byteOffset: Int = 0)
        throws(TensorError)
    {
        guard let bytes = Self.checkedByteCount(dataType, shape: shape), byteOffset >= 0,
            bytes <= storage.count, byteOffset <= storage.count - bytes
        else {
            throw .unexpectedShape(
                what: "tensor", expected: "\(storage.count) bytes at most",
                got: "\(dataType.rawValue) \(shape) at byte \(byteOffset)")
        }
        self.dataType = dataType
        self.shape = shape
        self.storage = storage
        self.byteOffset = byteOffset
    }

    /// A float32 tensor that owns a copy of `values`.
    /// - Throws: `TensorError.unexpectedShape` when the number of values is not the product of `shape`.
    package init(_ values: [Float], shape: [Int]) throws(TensorError) {
        guard Self.checkedByteCount(.float32, shape: shape) == values.count * 4 else {
            throw .unexpectedShape(what: "tensor", expected: "\(shape)", got: "\(values.count) values")
        }
        let storage = try Storage(byteCount: values.count * 4)
        values.withUnsafeBytes { storage.mutableBytes.copyMemory(from: $0) }
        try self.init(.float32, shape: shape, storage: storage)
    }

    /// A float32 tensor filled in place.
    package init(float32 shape: [Int], fill: (UnsafeMutableBufferPointer<Float>) -> Void) throws(TensorError)
    {
        guard let bytes = Self.checkedByteCount(.float32, shape: shape) else {
            throw .unexpectedShape(what: "tensor", expected: "a size that fits in memory", got: "\(shape)")
        }
        let storage = try Storage(byteCount: bytes)
        fill(storage.mutableBytes.bindMemory(to: Float.self))
        try self.init(.float32, shape: shape, storage: storage)
    }

    /// The elements' bytes. Valid while the tensor's storage lives.
    package var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: storage.bytes[byteOffset..<byteOffset + byteCount])
    }

    /// The same elements under another shape.
    package func reshaped(_ shape: [Int]) throws(TensorError) -> Tensor {
        guard Self.checkedByteCount(dataType, shape: shape) == byteCount else {
            throw .unexpectedShape(what: "reshape", expected: "\(count) elements", got: "\(shape)")
        }
        return try Tensor(dataType, shape: shape, storage: storage, byteOffset: byteOffset)
    }

    /// The elements as float32, converted from any type. Reads unaligned memory safely.
    package func floats() -> [Float] {
        let source = bytes
        return [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            for index in 0..<count {
                let value: Float =
                    switch dataType {
                    case .float32: source.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
                    case .bfloat16:
                        Float(
                            bitPattern: UInt32(
                                source.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)) << 16)
                    case .float16:
                        Self.float(half: source.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self))
                    case .int8: Float(Int8(bitPattern: source[index]))
                    case .uint8: Float(source[index])
                    case .int32: Float(source.loadUnaligned(fromByteOffset: index * 4, as: Int32.self))
                    case .uint32: Float(source.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))
                    case .int64: Float(source.loadUnaligned(fromByteOffset: index * 8, as: Int64.self))
                    }
                buffer.initializeElement(at: index, to: value)
            }
            initialized = count
        }
    }

    /// IEEE half precision to float32; `Float16` does not exist on every platform that Swift runs on.
    package static func float(half bits: UInt16) -> Float {
        let sign = UInt32(bits & 0x8000) << 16
        let exponent = UInt32(bits >> 10) & 0x1F
        let mantissa = UInt32(bits & 0x3FF)
        if exponent == 0 {
            let magnitude = Float(mantissa) * 0x1p-24
            return sign == 0 ? magnitude : -magnitude
        }
        let wide = exponent == 31 ? 0xFF : exponent + 112
        return Float(bitPattern: sign | wide << 23 | mantissa << 13)
    }

    /// shape × width, or nil when an extent is negative or the product overflows.
    package static func checkedByteCount(_ dataType: DataType, shape: [Int]) -> Int? {
        var total = dataType.byteWidth
        for extent in shape {
            let (product, overflow) = total.multipliedReportingOverflow(by: extent)
            guard extent >= 0, !overflow else { return nil }
            total = product
        }
        return total
    }
}
