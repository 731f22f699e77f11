/// A view of float32 numbers in row-major order. The memory belongs to a ``Workspace`` or a cache.
package struct Matrix {
    package let pointer: UnsafeMutablePointer<Float>
    package let rows: Int
    package let columns: Int
    /// Distance between the starts of neighbouring rows, in elements; at least `columns`.
    package let rowStride: Int

    package init(pointer: UnsafeMutablePointer<Float>, rows: Int, columns: Int, rowStride: Int) {
        precondition(rows >= 0 && columns >= 0 && rowStride >= columns)
        self.pointer = pointer
        self.rows = rows
        self.columns = columns
        self.rowStride = rowStride
    }

    /// All rows, some columns.
    package func columns(_ range: Range<Int>) -> Matrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= columns)
        return Matrix(
            pointer: pointer + range.lowerBound, rows: rows, columns: range.count, rowStride: rowStride)
    }

    /// Some rows, all columns.
    package func rows(_ range: Range<Int>) -> Matrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows)
        return Matrix(
            pointer: pointer + range.lowerBound * rowStride, rows: range.count, columns: columns,
            rowStride: rowStride)
    }

    /// One number. For tests and small jobs.
    package subscript(row: Int, column: Int) -> Float {
        get {
            precondition(row >= 0 && row < rows && column >= 0 && column < columns)
            return pointer[row * rowStride + column]
        }
        nonmutating set {
            precondition(row >= 0 && row < rows && column >= 0 && column < columns)
            pointer[row * rowStride + column] = newValue
        }
    }

    /// A tensor [rows, columns] with the same numbers, which outlives the workspace.
    /// - Throws: `TensorError.allocationFailed`.
    package func copied() throws(TensorError) -> Tensor {
        try Tensor(float32: [rows, columns]) { target in
            guard let start = target.baseAddress else { return }
            for index in 0..<rows {
                (start + index * columns).update(from: pointer + index * rowStride, count: columns)
            }
        }
    }

    /// Overwrites a row with one of another matrix that has as many columns.
    package func copyRow(_ target: Int, from other: Matrix, row source: Int) {
        precondition(
            columns == other.columns && (0..<rows).contains(target) && (0..<other.rows).contains(source),
            "shapes do not agree")
        (pointer + target * rowStride).update(from: other.pointer + source * other.rowStride, count: columns)
    }

    /// Overwrites the matrix with another one of the same shape.
    package func copy(_ other: Matrix) {
        precondition(rows == other.rows, "shapes do not agree")
        for row in 0..<rows { copyRow(row, from: other, row: row) }
    }

    /// Overwrites the matrix with rows of a float32 tensor [n, columns], from `first` on.
    package func copy(_ tensor: Tensor, from first: Int) {
        precondition(
            tensor.dataType == .float32 && first >= 0 && (first + rows) * columns <= tensor.count,
            "shapes do not agree")
        guard let source = tensor.bytes.bindMemory(to: Float.self).baseAddress else { return }
        for index in 0..<rows {
            (pointer + index * rowStride).update(from: source + (first + index) * columns, count: columns)
        }
        withExtendedLifetime(tensor) {}
    }

    /// Overwrites the matrix with a float32 tensor of as many numbers.
    package func copy(_ tensor: Tensor) {
        precondition(tensor.dataType == .float32 && tensor.count == rows * columns, "shapes do not agree")
        guard let source = tensor.bytes.bindMemory(to: Float.self).baseAddress else { return }
        for index in 0..<rows {
            (pointer + index * rowStride).update(from: source + index * columns, count: columns)
        }
        withExtendedLifetime(tensor) {}
    }

    /// The numbers of one row.
    package func row(_ index: Int) -> UnsafeMutableBufferPointer<Float> {
        precondition(index >= 0 && index < rows)
        return UnsafeMutableBufferPointer(start: pointer + index * rowStride, count: columns)
    }
}

/// An image-like activation [height, width, channels], NHWC, contiguous.
package struct FeatureMap {
    package let pointer: UnsafeMutablePointer<Float>
    package let height: Int
    package let width: Int
    package let channels: Int

    package init(pointer: UnsafeMutablePointer<Float>, height: Int, width: Int, channels: Int) {
        precondition(height >= 0 && width >= 0 && channels >= 0)
        self.pointer = pointer
        self.height = height
        self.width = width
        self.channels = channels
    }

    /// All numbers, position after position.
    package var buffer: UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(start: pointer, count: height * width * channels)
    }

    /// Square patches, row by row of them, each the numbers of its rows one after the other.
    /// - Parameters:
    ///   - side: positions per side of a patch
    ///   - patches: [n · columns, side · side · channels], overwritten
    ///   - columns: patches beside each other
    package func copyPatches(side: Int, into patches: Matrix, columns: Int) {
        precondition(
            columns > 0 && patches.rows % columns == 0 && patches.columns == side * side * channels
                && patches.rows / columns * side <= height && columns * side <= width, "shapes do not agree")
        let length = side * channels
        for patch in 0..<patches.rows {
            let (row, column) = (patch / columns, patch % columns)
            let target = patches.pointer + patch * patches.rowStride
            for line in 0..<side {
                let source = ((row * side + line) * width + column * side) * channels
                (target + line * length).update(from: pointer + source, count: length)
            }
        }
    }

    /// One row per position, row-major: [height·width, channels].
    package var matrix: Matrix {
        Matrix(pointer: pointer, rows: height * width, columns: channels, rowStride: channels)
    }
}
