/// Rows and columns of a weight that are multiplied with powers of two: index to exponent.
package struct PowersOfTwo: Sendable, Equatable {
    package var rows: [Int: Int] = [:]
    package var columns: [Int: Int] = [:]

    package init(rows: [Int: Int] = [:], columns: [Int: Int] = [:]) {
        self.rows = rows
        self.columns = columns
    }
}

extension Tensor {
    /// The same numbers in float32.
    package func widened() throws(TensorError) -> Tensor {
        dataType == .float32 ? self : try Tensor(floats(), shape: shape)
    }

    /// A copy [rows, …] of which rows, and columns of what follows, are multiplied with powers of two.
    ///
    /// Exact but for results outside the range of normal numbers: in the stored type where its exponents reach as far as
    /// float32's, else in float32.
    package func multiplied(by powers: PowersOfTwo) throws(TensorError) -> Tensor {
        guard dataType == .float32 || dataType == .bfloat16 else {
            return try widened().multiplied(by: powers)
        }
        let rows = shape.first ?? 1
        let columns = count / max(rows, 1)
        let copy = try Storage(uninitializedByteCount: byteCount)
        let target = copy.mutableBytes
        target.copyMemory(from: bytes)
        let isWide = dataType == .float32
        func multiply(_ indices: some Sequence<Int>, by exponent: Int) {
            let factor = Float(sign: .plus, exponent: exponent, significand: 1)
            for index in indices {
                if isWide {
                    let value = target.load(fromByteOffset: 4 * index, as: Float.self)
                    target.storeBytes(of: value * factor, toByteOffset: 4 * index, as: Float.self)
                } else {
                    let half = target.load(fromByteOffset: 2 * index, as: UInt16.self)
                    let value = Float(bitPattern: UInt32(half) << 16) * factor
                    target.storeBytes(
                        of: UInt16(value.bitPattern >> 16), toByteOffset: 2 * index, as: UInt16.self)
                }
            }
        }
        for (row, exponent) in powers.rows where exponent != 0 {
            multiply(row * columns..<(row + 1) * columns, by: exponent)
        }
        for (column, exponent) in powers.columns where exponent != 0 {
            multiply(stride(from: column, to: rows * columns, by: columns), by: exponent)
        }
        return try Tensor(dataType, shape: shape, storage: copy)
    }
}
