internal import CKernels

/// Where the keys and values of one sequence's positions are: blocks of ``blockPositions`` positions each.
///
/// A block holds, one after the other, for each layer: keys [blockPositions, width], values [blockPositions, width], in
/// bfloat16 or float32. Blocks stand anywhere, and several sequences may read the same one.
package struct KeyValueBlocks {
    package static let blockPositions = 32
    /// Of a position's block number.
    static let shift: UInt32 = 5

    /// Base address of each block, in order of positions. The memory, this table's too, belongs to the caller.
    let bases: UnsafePointer<UnsafeMutableRawPointer>
    /// Blocks.
    package let count: Int
    /// keyValueHeads · D
    package let width: Int
    /// Instead of float32.
    package let isBFloat16: Bool

    var bytesPerNumber: Int { isBFloat16 ? 2 : 4 }

    /// - Parameters:
    ///   - bases: address of each block in order of positions, of ``bytesPerBlock(layers:width:isBFloat16:)`` bytes each,
    ///     aligned to 4; read as long as the value is used
    ///   - count: blocks
    ///   - width: keyValueHeads · D
    package init(
        bases: UnsafePointer<UnsafeMutableRawPointer>, count: Int, width: Int, isBFloat16: Bool
    ) {
        precondition(count >= 0 && width > 0, "shapes do not agree")
        self.bases = bases
        self.count = count
        self.width = width
        self.isBFloat16 = isBFloat16
    }

    /// Bytes that a block of all layers takes.
    package static func bytesPerBlock(layers: Int, width: Int, isBFloat16: Bool) -> Int {
        2 * layers * blockPositions * width * (isBFloat16 ? 2 : 4)
    }

    /// Positions that the blocks have room for.
    package var positions: Int { count * Self.blockPositions }

    /// Writes keys of `layer` at positions first..<first + n, rounding to nearest even where they are bfloat16.
    /// - Parameter x: [n, width], first + n ≤ ``positions``
    package func storeKeys(_ x: Matrix, layer: Int, from first: Int) {
        store(x, offset: keyOffset(layer: layer), from: first)
    }

    /// The same with values.
    package func storeValues(_ x: Matrix, layer: Int, from first: Int) {
        store(x, offset: valueOffset(layer: layer), from: first)
    }

    private func store(_ x: Matrix, offset: Int, from first: Int) {
        precondition(
            x.columns == width && first >= 0 && first + x.rows <= positions, "shapes do not agree")
        for index in 0..<x.rows {
            let (block, row) = (first + index).quotientAndRemainder(dividingBy: Self.blockPositions)
            fv_convert(
                x.pointer + index * x.rowStride, FV_FLOAT32,
                bases[block] + offset + row * width * bytesPerNumber,
                isBFloat16 ? FV_BFLOAT16 : FV_FLOAT32, width)
        }
    }

    /// Bytes from a block's base to the keys of a layer.
    private func keyOffset(layer: Int) -> Int {
        2 * layer * Self.blockPositions * width * bytesPerNumber
    }

    private func valueOffset(layer: Int) -> Int {
        keyOffset(layer: layer) + Self.blockPositions * width * bytesPerNumber
    }

    /// Keys of one layer from column `column` on.
    func keys(layer: Int, column: Int) -> fv_blocks { rows(keyOffset(layer: layer), column) }

    /// Values of one layer from column `column` on.
    func values(layer: Int, column: Int) -> fv_blocks { rows(valueOffset(layer: layer), column) }

    private func rows(_ offset: Int, _ column: Int) -> fv_blocks {
        // C reads the addresses as those of constant memory, which have the same layout.
        fv_blocks(
            bases: UnsafeRawPointer(bases).assumingMemoryBound(to: UnsafeRawPointer.self),
            offset: offset + column * bytesPerNumber, stride: width, shift: Self.shift)
    }
}
