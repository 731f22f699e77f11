/// The eight ways a camera may have stored a picture (EXIF tag 0x0112).
package enum ImageOrientation: Int, Equatable, Sendable, CaseIterable {
    case upright = 1
    case mirroredHorizontally = 2
    case upsideDown = 3
    case mirroredVertically = 4
    case transposed = 5
    case needsClockwiseTurn = 6
    case transversed = 7
    case needsCounterclockwiseTurn = 8

    package var swapsSides: Bool { rawValue >= 5 }
}

extension RGBImage {
    /// The picture turned upright.
    /// - Parameter orientation: how it is stored.
    package func turned(_ orientation: ImageOrientation) -> RGBImage {
        guard orientation != .upright else { return self }
        let (newWidth, newHeight) = orientation.swapsSides ? (height, width) : (width, height)
        let right = width - 1
        let bottom = (height - 1) * width
        // Pixel (x, y) of the result is pixel start + x * stepX + y * stepY of the source.
        let (start, stepX, stepY) =
            switch orientation {
            case .upright: (0, 1, width)
            case .mirroredHorizontally: (right, -1, width)
            case .upsideDown: (bottom + right, -1, -width)
            case .mirroredVertically: (bottom, 1, -width)
            case .transposed: (0, width, 1)
            case .needsClockwiseTurn: (bottom, -width, 1)
            case .transversed: (bottom + right, -width, -1)
            case .needsCounterclockwiseTurn: (right, width, -1)
            }
        let turned = [UInt8](unsafeUninitializedCapacity: pixels.count) { buffer, count in
            pixels.withUnsafeBufferPointer { source in
                var to = 0
                for y in 0..<newHeight {
                    var from = (start + y * stepY) * 3
                    for _ in 0..<newWidth {
                        buffer[to] = source[from]
                        buffer[to + 1] = source[from + 1]
                        buffer[to + 2] = source[from + 2]
                        to += 3
                        from += stepX * 3
                    }
                }
            }
            count = pixels.count
        }
        return RGBImage(checkedWidth: newWidth, height: newHeight, pixels: turned)
    }
}

extension ImageOrientation {
    /// Looks for the EXIF block of the container and its orientation; anything odd counts as upright,
    /// because a broken note about a picture is no reason to refuse the picture.
    static func find(in bytes: ByteView, format: ImageFormat) -> ImageOrientation {
        let block =
            switch format {
            case .jpeg: exifBlock(inJPEG: bytes)
            case .png: exifBlock(inPNG: bytes)
            case .webp: exifBlock(inWebP: bytes)
            // The whole file is built like the block that others carry.
            case .tiff: bytes
            case .portableAnymap, .gif, .bmp: ByteView?.none
            }
        return block.flatMap { parse($0) } ?? .upright
    }

    /// JPEG: the first APP1 segment that begins with "Exif\0\0", before the first scan.
    private static func exifBlock(inJPEG bytes: ByteView) -> ByteView? {
        var offset = 2
        while let byte = bytes.byte(at: offset) {
            guard byte == 0xFF, let marker = bytes.byte(at: offset + 1), marker != 0xFF else {
                offset += 1
                continue
            }
            switch marker {
            case 0x00, 0x01, 0xD0...0xD8:
                offset += 2
            case 0xD9, 0xDA:
                return nil
            default:
                guard let length = bytes.integer(UInt16.self, at: offset + 2, bigEndian: true), length >= 2
                else { return nil }
                if marker == 0xE1, let segment = bytes.part(at: offset + 4, length: Int(length) - 2),
                    segment.starts(with: "Exif\0\0")
                {
                    return segment.dropping(6)
                }
                offset += 2 + Int(length)
            }
        }
        return nil
    }

    /// PNG: the eXIf chunk, before or after the pixels.
    private static func exifBlock(inPNG bytes: ByteView) -> ByteView? {
        var offset = 8
        while let length = bytes.integer(UInt32.self, at: offset, bigEndian: true) {
            if bytes.hasText("eXIf", at: offset + 4) {
                return bytes.part(at: offset + 8, length: Int(length)).map(withoutPrefix)
            }
            offset += 12 + Int(length)
        }
        return nil
    }

    /// WebP: the EXIF chunk of the RIFF container.
    private static func exifBlock(inWebP bytes: ByteView) -> ByteView? {
        var offset = 12
        while let length = bytes.integer(UInt32.self, at: offset + 4, bigEndian: false) {
            if bytes.hasText("EXIF", at: offset) {
                return bytes.part(at: offset + 8, length: Int(length)).map(withoutPrefix)
            }
            offset += 8 + Int(length) + Int(length & 1)
        }
        return nil
    }

    /// Some writers repeat JPEG's prefix where it does not belong.
    private static func withoutPrefix(_ block: ByteView) -> ByteView {
        block.starts(with: "Exif\0\0") ? block.dropping(6) : block
    }

    /// Where the entries of a TIFF block's first directory are: of 12 bytes, or of 20 in BigTIFF.
    private struct Directory {
        let start: Int
        let count: Int
        let entryBytes: Int
        let valueOffset: Int

        init?(_ tiff: ByteView, bigEndian: Bool) {
            func number<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) -> Int? {
                tiff.integer(type, at: offset, bigEndian: bigEndian).flatMap { Int(exactly: $0) }
            }
            let magic = number(UInt16.self, at: 2)
            let isBig = magic == 43
            guard magic == 42 || isBig,
                let offset = isBig ? number(UInt64.self, at: 8) : number(UInt32.self, at: 4),
                let entries = isBig
                    ? number(UInt64.self, at: offset) : number(UInt16.self, at: offset)
            else { return nil }
            (entryBytes, valueOffset) = isBig ? (20, 12) : (12, 8)
            start = offset + (isBig ? 8 : 2)
            count = min(entries, tiff.count / entryBytes)
        }
    }

    /// Orientation from a TIFF block: byte order, 42 (43 in BigTIFF), offset of the first directory, its entries.
    /// Only the first directory is read and nothing is followed further, so loops cannot happen.
    static func parse(_ tiff: ByteView) -> ImageOrientation? {
        let bigEndian: Bool
        if tiff.starts(with: "II") {
            bigEndian = false
        } else if tiff.starts(with: "MM") {
            bigEndian = true
        } else {
            return nil
        }
        guard let directory = Directory(tiff, bigEndian: bigEndian) else { return nil }
        for index in 0..<directory.count {
            let entry = directory.start + index * directory.entryBytes
            guard let tag = tiff.integer(UInt16.self, at: entry, bigEndian: bigEndian) else { return nil }
            guard tag == 0x0112 else { continue }
            let type = tiff.integer(UInt16.self, at: entry + 2, bigEndian: bigEndian)
            let at = entry + directory.valueOffset
            let value: Int? =
                switch type {
                case 1: tiff.byte(at: at).map(Int.init)
                case 3: tiff.integer(UInt16.self, at: at, bigEndian: bigEndian).map(Int.init)
                case 4: tiff.integer(UInt32.self, at: at, bigEndian: bigEndian).map(Int.init)
                default: nil
                }
            return value.flatMap(ImageOrientation.init(rawValue:))
        }
        return nil
    }
}
