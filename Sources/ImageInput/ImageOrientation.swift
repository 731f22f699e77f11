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

    /// Rows of the upright picture are columns of the stored one.
    package var swapsSides: Bool { rawValue >= 5 }
    /// Going right in the upright picture is going backwards in the stored one.
    var mirrorsX: Bool { [2, 3, 6, 7].contains(rawValue) }
    /// Going down in the upright picture is going backwards in the stored one.
    var mirrorsY: Bool { [3, 4, 7, 8].contains(rawValue) }
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
