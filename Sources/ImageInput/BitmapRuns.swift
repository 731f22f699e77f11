/// The run-length codes of BMP (RLE8 and RLE4), decoded to one index per pixel. Pixels that no run names have
/// index 0.
struct BitmapRuns {
    /// [height, width], rows in the file's order.
    private(set) var indices: [UInt8]
    /// How many pixels are decoded, in the file's order; those after them are missing.
    private(set) var reached: Int
    private(set) var remark: String?

    private let width: Int
    private let height: Int
    private let isNibbles: Bool
    private var x = 0
    private var y = 0

    init(
        _ bytes: ByteView, _ shape: WindowsBitmap.Header, allowsTruncated: Bool
    ) throws(ImageInputError) {
        (width, height, isNibbles) = (shape.width, shape.height, shape.compression == .runs4)
        indices = [UInt8](repeating: 0, count: width * height)
        reached = width * height
        var offset = shape.start
        do throws(ImageInputError) {
            while y < height, try step(bytes, &offset) {}
        } catch {
            // Whatever was decoded before the damage is right.
            guard allowsTruncated else { throw error }
            reached = min(y * width + x, width * height)
            remark = "the file ends or is damaged in row \(y) of \(height), the rest is grey"
        }
    }

    /// One code. False at the end of the picture.
    private mutating func step(_ bytes: ByteView, _ offset: inout Int) throws(ImageInputError) -> Bool {
        guard let count = bytes.byte(at: offset), let value = bytes.byte(at: offset + 1) else {
            // The last pixel may be there without the mark behind it.
            if y == height - 1, x >= width {
                remark = "the end of the file is missing, but no pixel is"
                return false
            }
            throw .truncated(
                format: .bmp, offset: bytes.count, fileBytes: bytes.count,
                detail: "the file ends in row \(y) of \(height)")
        }
        offset += 2
        switch (count, value) {
        case (0, 0):
            (x, y) = (0, y + 1)
        case (0, 1):
            return false
        case (0, 2):
            try skip(bytes, &offset)
        case (0, _):
            try copy(bytes, Int(value), &offset)
        default:
            // Runs that reach over the end of a row are cut, as by everybody.
            for index in 0..<min(Int(count), width - x) {
                put(isNibbles ? (index % 2 == 0 ? value >> 4 : value & 15) : value)
            }
        }
        return true
    }

    /// A move to the right and on by rows, which must stay inside the picture.
    private mutating func skip(_ bytes: ByteView, _ offset: inout Int) throws(ImageInputError) {
        guard let right = bytes.byte(at: offset), let rows = bytes.byte(at: offset + 1) else {
            throw cut(bytes)
        }
        guard x + Int(right) <= width, y + Int(rows) < height else {
            throw .corrupt(
                format: .bmp, offset: offset,
                detail: "a move by \(right) pixels and \(rows) rows leaves the picture")
        }
        offset += 2
        x += Int(right)
        y += Int(rows)
    }

    /// Pixels one by one, padded to an even number of bytes.
    private mutating func copy(_ bytes: ByteView, _ count: Int, _ offset: inout Int) throws(ImageInputError) {
        let length = isNibbles ? (count + 1) / 2 : count
        guard let part = bytes.part(at: offset, length: length) else { throw cut(bytes) }
        guard x + count <= width else {
            throw .corrupt(
                format: .bmp, offset: offset, detail: "\(count) pixels do not fit into the rest of row \(y)")
        }
        for index in 0..<count {
            let byte = part.raw[isNibbles ? index / 2 : index]
            put(isNibbles ? (index % 2 == 0 ? byte >> 4 : byte & 15) : byte)
        }
        offset += length + length % 2
    }

    private mutating func put(_ index: UInt8) {
        indices[y * width + x] = index
        x += 1
    }

    private func cut(_ bytes: ByteView) -> ImageInputError {
        .truncated(
            format: .bmp, offset: bytes.count, fileBytes: bytes.count,
            detail: "the file ends in row \(y) of \(height)")
    }
}
