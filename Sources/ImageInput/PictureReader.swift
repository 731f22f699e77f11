internal import Tensors

/// One picture, read row by row as sRGB: colour profile and transparency are resolved here, so whoever takes
/// the rows sees only colours. The rows are as stored; `orientation` says how they have to be turned.
///
/// Valid only as long as the file's bytes.
package final class PictureReader {
    /// nil for pixels that were in no file.
    package let format: ImageFormat?
    /// As stored, before any turn.
    package let width: Int
    package let height: Int
    /// Upright when the options leave orientation alone.
    package let orientation: ImageOrientation
    /// Memory of the picture's size that the codec takes beside the rows, in bytes.
    package let workingBytes: Int

    /// Time spent in `init` and `read`.
    package private(set) var readingTime = Duration.zero

    private let source: any RowSource
    private let background: ImageOptions.Background
    private let conversion: ColorConversion?
    private let remarks: [String]

    /// Opens the file and checks the limits; nothing of the picture's size is allocated yet.
    package init(
        _ bytes: UnsafeRawBufferPointer, limits: ImageLimits = .standard, options: ImageOptions = .standard
    ) throws(ImageInputError) {
        let start = ContinuousClock.now
        guard bytes.count <= limits.fileBytes else {
            throw .fileTooLarge(bytes: bytes.count, limit: limits.fileBytes)
        }
        let view = ByteView(bytes)
        let format = try ImageFormat.detect(view)
        try limits.check(format: format)
        var leastTile = (width: 0, height: 0)
        if format == .heic || format == .avif {
            let structure = HEIFStructure(view)
            try structure.check(limits, format: format)
            leastTile = structure.leastTile
        }
        let source: any RowSource =
            switch format {
            case .portableAnymap: try PortableAnymapReader(view, limits: limits, options: options)
            case .bmp: try WindowsBitmapReader(view, limits: limits, options: options)
            default: try CodecReader(bytes, format: format, options: options, leastTile: leastTile)
            }
        let header = source.header
        try limits.check(width: header.width, height: header.height, format: format)
        try limits.checkMemory(
            header.workingBytes, width: header.width, height: header.height, format: format)
        self.source = source
        self.format = format
        width = source.header.width
        height = source.header.height
        workingBytes = source.header.workingBytes
        background = options.background
        switch options.ignoresColorProfile ? .unneeded : ColorConversion.find(for: source) {
        case .unneeded: (conversion, remarks) = (nil, [])
        case .needed(let found): (conversion, remarks) = (found, [])
        case .unusable(let reason): (conversion, remarks) = (nil, ["\(format): \(reason) and was ignored"])
        }
        orientation =
            options.appliesOrientation ? ImageOrientation.find(in: view, format: format) : .upright
        readingTime = ContinuousClock.now - start
    }

    /// A picture that needs no decoding: its rows from top to bottom, red, green and blue of each pixel, in sRGB.
    /// - Parameter rgb: [height, width, 3], uint8
    /// - Throws: `ImageInputError.invalidImage` when the bytes do not fit the sides; an error for each limit.
    package init(
        rgb: UnsafeRawBufferPointer, width: Int, height: Int, limits: ImageLimits = .standard
    ) throws(ImageInputError) {
        source = try PixelRows(rgb, width: width, height: height)
        try limits.check(width: width, height: height, format: nil)
        format = nil
        self.width = width
        self.height = height
        workingBytes = 0
        background = .drop
        (conversion, remarks) = (nil, [])
        orientation = .upright
    }

    /// The next rows.
    /// - Parameters:
    ///   - count: no more than are left.
    ///   - destination: [count, width, 3], uint8.
    package func read(
        _ count: Int, into destination: UnsafeMutableBufferPointer<UInt8>
    ) throws(ImageInputError) {
        precondition(destination.count == count * width * 3, "destination is not [count, width, 3]")
        let start = ContinuousClock.now
        defer { readingTime += ContinuousClock.now - start }
        if source.header.channels == 3 {
            try source.read(count, into: destination)
            conversion?.apply(to: destination, count: count * width)
            return
        }
        var failure: ImageInputError?
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: width * 4) { row in
            for y in 0..<count {
                do throws(ImageInputError) {
                    try source.read(1, into: row)
                } catch {
                    failure = error
                    return
                }
                conversion?.apply(to: row, count: width)
                resolve(row, into: destination, at: y * width * 3)
            }
        }
        if let failure { throw failure }
    }

    /// Width and height once the picture is turned upright.
    package var uprightSides: (width: Int, height: Int) {
        orientation.swapsSides ? (height, width) : (width, height)
    }

    /// All rows, as they are stored, before any was read.
    /// - Returns: nil when cancelled.
    func image(cancellation: Cancellation) throws(ImageInputError) -> RGBImage? {
        var failure: ImageInputError?
        let capacity = width * height * 3
        let pixels = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            do throws(ImageInputError) {
                for row in stride(from: 0, to: height, by: 64) where !cancellation.isCancelled {
                    let rows = row..<min(row + 64, height)
                    let part = buffer[rows.lowerBound * width * 3..<rows.upperBound * width * 3]
                    try read(rows.count, into: UnsafeMutableBufferPointer(rebasing: part))
                    count = rows.upperBound * width * 3
                }
            } catch {
                // Some bytes were never written; none of them may be seen.
                failure = error
                count = 0
            }
        }
        if let failure { throw failure }
        guard pixels.count == capacity, !cancellation.isCancelled else { return nil }
        return RGBImage(checkedWidth: width, height: height, pixels: pixels)
    }

    /// After the last row.
    /// - Returns: what is worth telling about the file, in sentences.
    package func finish() throws(ImageInputError) -> [String] {
        try source.finish() + remarks
    }

    /// RGBA over the background: (colour * alpha + background * (255 - alpha)) / 255, rounded, as Pillow's
    /// `paste` with a mask.
    private func resolve(
        _ row: UnsafeMutableBufferPointer<UInt8>, into destination: UnsafeMutableBufferPointer<UInt8>,
        at start: Int
    ) {
        guard case .color(let color) = background else {
            for x in 0..<width {
                for channel in 0..<3 { destination[start + 3 * x + channel] = row[4 * x + channel] }
            }
            return
        }
        let behind = (UInt32(color.red), UInt32(color.green), UInt32(color.blue))
        func blend(_ value: UInt8, _ behind: UInt32, _ alpha: UInt32) -> UInt8 {
            let sum = UInt32(value) * alpha + behind * (255 - alpha) + 128
            return UInt8(truncatingIfNeeded: (sum + sum >> 8) >> 8)
        }
        for x in 0..<width {
            let alpha = UInt32(row[4 * x + 3])
            let to = start + 3 * x
            destination[to] = blend(row[4 * x], behind.0, alpha)
            destination[to + 1] = blend(row[4 * x + 1], behind.1, alpha)
            destination[to + 2] = blend(row[4 * x + 2], behind.2, alpha)
        }
    }
}
