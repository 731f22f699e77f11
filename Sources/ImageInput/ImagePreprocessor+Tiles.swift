internal import Checkpoints
package import Tensors

/// Images of models that cut them into tiles, as the processors of LLaVA-NeXT and LLaVA-OneVision do it with Pillow and
/// NumPy.
extension ImagePreprocessor {
    /// An image in tiles, and what it is where it is one of several images of its conversation.
    package struct Variants: Equatable, Sendable {
        /// The whole image, whatever its shape, brought to the square of a tile; then its tiles.
        package let singleImage: PixelTensor
        /// One of several images: padded to a square; nil where each of them is cut as well.
        package let multiImage: PixelTensor?
    }

    /// Whether images are cut into tiles, at least the only one of a conversation.
    package var cutsTiles: Bool { description.tiling != .none }

    /// Whether an image is another one where a conversation has several.
    package var variesWithImageCount: Bool {
        if case .anyResolution(let tiling) = description.tiling { !tiling.tilesSeveralImages } else { false }
    }

    /// Whether an image is cut into tiles.
    /// - Parameter isSingleImage: whether it is the only one of its conversation
    package func cutsTiles(isSingleImage: Bool) -> Bool {
        cutsTiles && (isSingleImage || !variesWithImageCount)
    }

    /// Bytes of the pixels of an image of a size in tiles, both variants.
    package func variantsBytes(width: Int, height: Int) -> Int {
        let tiles = description.arrangement(height: height, width: width)?.count ?? 1
        let squares = tiles + (variesWithImageCount ? 1 : 0)
        return squares * size * size * 3 * MemoryLayout<Float>.stride
    }

    /// Memory that decoding and cutting take beside the file and the result, in bytes: the whole picture, once more where
    /// it is turned, and the canvas.
    package func variantsDecodingBytes(_ picture: PictureReader) throws(ImageInputError) -> Int {
        let sides = picture.uprightSides
        let (pixels, overflow) = picture.width.multipliedReportingOverflow(by: picture.height)
        guard !overflow, pixels < 1 << 50 else {
            throw .invalidImage(width: picture.width, height: picture.height, bytes: 0)
        }
        var bytes = (picture.orientation == .upright ? 3 : 6) * pixels
        if let scaled = description.arrangement(height: sides.height, width: sides.width)?.scaled {
            bytes += scaled.height * scaled.width * 3
        }
        return bytes.saturatingSum(picture.workingBytes)
    }

    /// Decodes, turns and cuts. Unlike a single square this takes the whole picture into memory, because it is resized to
    /// three sizes.
    /// - Parameter limits: `memory` bounds ``variantsDecodingBytes(_:)``.
    /// - Returns: both variants, and what is worth telling about the file; nil when cancelled.
    package func variants(
        _ picture: PictureReader, limits: ImageLimits = .standard, cancellation: Cancellation
    ) throws(ImageInputError) -> (variants: Variants, remarks: [String])? {
        try limits.checkMemory(
            variantsDecodingBytes(picture), width: picture.width, height: picture.height,
            format: picture.format)
        guard let image = try picture.image(cancellation: cancellation) else { return nil }
        let remarks = try picture.finish()
        guard let variants = try variants(image.turned(picture.orientation), cancellation: cancellation)
        else {
            return nil
        }
        return (variants, remarks)
    }

    /// - Returns: nil when cancelled.
    package func variants(
        _ image: RGBImage, cancellation: Cancellation = Cancellation()
    ) throws(ImageInputError) -> Variants? {
        let padded = variesWithImageCount ? try self(image) : nil
        guard let arrangement = description.arrangement(height: image.height, width: image.width) else {
            return Variants(singleImage: try self(image), multiImage: nil)
        }
        guard let whole = resample(image, width: size, height: size),
            let scaled = resample(
                image, width: arrangement.scaled.width, height: arrangement.scaled.height)
        else {
            throw .invalidParameter(
                name: "image", expected: "sides that can be cut into tiles",
                got: "\(image.width)x\(image.height)")
        }
        guard !cancellation.isCancelled else { return nil }
        let area = size * size * 3
        let values = [Float](unsafeUninitializedCapacity: arrangement.count * area) { buffer, count in
            let first = UnsafeMutableBufferPointer(rebasing: buffer[..<area])
            fillTile(first, of: whole, top: 0, left: 0)
            let (top, left) = (
                (arrangement.rows * size - scaled.height) / 2,
                (arrangement.columns * size - scaled.width) / 2
            )
            for tile in 1..<arrangement.count {
                let (row, column) = ((tile - 1) / arrangement.columns, (tile - 1) % arrangement.columns)
                fillTile(
                    UnsafeMutableBufferPointer(rebasing: buffer[tile * area..<(tile + 1) * area]),
                    of: scaled, top: row * size - top, left: column * size - left)
            }
            count = arrangement.count * area
        }
        return Variants(
            singleImage: PixelTensor(size: size, values: values, arrangement: arrangement), multiImage: padded
        )
    }

    private func resample(_ image: RGBImage, width: Int, height: Int) -> RGBImage? {
        guard
            let resample = BicubicResample(
                horizontal: .init(image.width, to: width), vertical: .init(image.height, to: height))
        else { return nil }
        let pixels = image.pixels.withUnsafeBufferPointer { resample($0) }
        return RGBImage(checkedWidth: width, height: height, pixels: pixels)
    }

    /// A tile of what stands in the middle of a black canvas.
    /// - Parameters:
    ///   - destination: [size, size, 3], overwritten
    ///   - top: row of the picture that the tile begins with; may be outside of it
    private func fillTile(
        _ destination: UnsafeMutableBufferPointer<Float>, of picture: RGBImage, top: Int, left: Int
    ) {
        let tables = tables
        picture.pixels.withUnsafeBufferPointer { pixels in
            for channel in 0..<3 {
                tables[channel].withUnsafeBufferPointer { table in
                    for row in 0..<size {
                        let source = top + row
                        let isInside = source >= 0 && source < picture.height
                        for column in 0..<size {
                            let x = left + column
                            let level =
                                isInside && x >= 0 && x < picture.width
                                ? Int(pixels[(source * picture.width + x) * 3 + channel]) : 0
                            destination[(row * size + column) * 3 + channel] = table[level]
                        }
                    }
                }
            }
        }
    }
}
