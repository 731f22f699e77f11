/// Pixels that need no decoding: the rows of [height, width, 3] bytes.
final class PixelRows: RowSource {
    let header: RowHeader
    private let bytes: UnsafeRawBufferPointer
    private var row = 0

    /// - Throws: `ImageInputError.invalidImage` unless both sides are positive and the bytes are exactly
    ///   width * height * 3.
    init(_ bytes: UnsafeRawBufferPointer, width: Int, height: Int) throws(ImageInputError) {
        let (count, overflow) = width.multipliedReportingOverflow(by: height)
        guard width > 0, height > 0, !overflow, count <= Int.max / 3, bytes.count == count * 3 else {
            throw .invalidImage(width: width, height: height, bytes: bytes.count)
        }
        header = RowHeader(width: width, height: height)
        self.bytes = bytes
    }

    func read(_ count: Int, into destination: UnsafeMutableBufferPointer<UInt8>) {
        let start = row * header.width * 3
        UnsafeMutableRawBufferPointer(destination).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + destination.count]))
        row += count
    }

    func finish() -> [String] { [] }
}
