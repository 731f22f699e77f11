package import Checkpoints
package import Tensors

/// An image as the encoder takes it.
package struct PixelTensor: Equatable, Sendable {
    /// Side length S in pixels.
    package let size: Int
    /// [tiles, S, S, 3], float32: rows, columns, red-green-blue.
    package let values: [Float]
    /// How the tiles behind the first, which is the whole image, belong together; nil where there is only that.
    package let arrangement: TileArrangement?

    package init(size: Int, values: [Float], arrangement: TileArrangement? = nil) {
        self.size = size
        self.values = values
        self.arrangement = arrangement
    }

    package var tiles: Int { arrangement?.count ?? 1 }
}

/// A colour of 8 bits a channel.
package struct RGBColor: Equatable, Sendable {
    package var red: UInt8
    package var green: UInt8
    package var blue: UInt8

    package init(red: UInt8, green: UInt8, blue: UInt8) {
        self.red = red
        self.green = green
        self.blue = blue
    }

    package static let black = RGBColor(red: 0, green: 0, blue: 0)

    /// The colour LLaVA pads with: `int(mean * 255)` a channel, mean as the configuration writes it.
    /// - Returns: nil unless there are three means within 0...1.
    package init?(mean: [Double]) {
        guard mean.count == 3, mean.allSatisfy({ (0...1).contains($0) }) else { return nil }
        self.init(red: UInt8(mean[0] * 255), green: UInt8(mean[1] * 255), blue: UInt8(mean[2] * 255))
    }
}

/// Picture -> square of floats, exactly as the reference processors do it with Pillow and NumPy. Models that cut images
/// into tiles have ``forms(_:limits:cancellation:)`` for these.
///
/// - `pad` (Apple's `expand2square`): centred on a square of the background colour, then resized to S x S.
/// - `crop` (Hugging Face): the short side becomes S, the long side int(S * long / short), then the centre.
///
/// Both resize with Pillow's bicubic in 8 bits; then value = (k / 255 - mean) / std in float32. Neither the
/// padded square nor the part outside the crop is ever stored or computed.
package struct ImagePreprocessor: Equatable, Sendable {
    /// What the checkpoint asks for.
    package let description: ImagePreprocessing
    /// The colour that `pad` fills up with.
    package let background: RGBColor

    /// Side of the result.
    package var size: Int { description.size }

    /// Largest side of a result: 8192 x 8192 x 3 floats are 805 MB.
    package static let largestSize = 8192

    /// - Parameter background: nil for the mean colour, or black where the mean is none.
    /// - Throws: `ImageInputError.invalidParameter` for a size that is not within 1...8192, or mean and standard
    ///   deviation that are not three finite numbers (the deviation not zero).
    package init(
        _ description: ImagePreprocessing, background: RGBColor? = nil
    ) throws(ImageInputError) {
        let (size, mean, deviation) = (description.size, description.mean, description.standardDeviation)
        guard (1...Self.largestSize).contains(size) else {
            throw .invalidParameter(
                name: "size", expected: "1 to \(Self.largestSize) pixels", got: "\(size)")
        }
        guard mean.count == 3, mean.allSatisfy(\.isFinite) else {
            throw .invalidParameter(name: "mean", expected: "three finite numbers", got: "\(mean)")
        }
        guard deviation.count == 3, deviation.allSatisfy({ $0.isFinite && $0 != 0 }) else {
            throw .invalidParameter(
                name: "standard deviation", expected: "three finite numbers, none 0", got: "\(deviation)")
        }
        self.description = description
        self.background = background ?? RGBColor(mean: mean.map(Double.init)) ?? .black
    }

    /// - Returns: [size, size, 3], float32.
    package func callAsFunction(_ image: RGBImage) throws(ImageInputError) -> PixelTensor {
        let resample = try resampler(width: image.width, height: image.height)
        let values = [Float](unsafeUninitializedCapacity: size * size * 3) { buffer, count in
            fill(buffer, from: image, with: resample)
            count = size * size * 3
        }
        return PixelTensor(size: size, values: values)
    }

    /// Decodes, turns and resizes at once: the picture never exists as a whole. The same floats as of the
    /// decoded and turned picture.
    /// - Parameter limits: `memory` bounds the codec's and the resize's working memory together.
    /// - Returns: [size, size, 3], float32, and what is worth telling about the file; nil when cancelled.
    package func callAsFunction(
        _ picture: PictureReader, limits: ImageLimits = .standard, cancellation: Cancellation
    ) throws(ImageInputError) -> (pixels: PixelTensor, remarks: [String])? {
        let resample = try resampler(storedAs: picture)
        try limits.checkMemory(
            resample.streamingBytes.saturatingSum(picture.workingBytes), width: picture.width,
            height: picture.height, format: picture.format)
        let count = size * size * 3
        var end: End?
        let values = [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            do throws(End) {
                try fill(buffer, from: picture, with: resample, cancellation: cancellation)
                initialized = count
            } catch {
                end = error
                initialized = 0
            }
        }
        switch end {
        case .failure(let error): throw error
        case .cancellation: return nil
        case nil: return (PixelTensor(size: size, values: values), try picture.finish())
        }
    }

    /// Memory that decoding and resizing take beside the file and the result, in bytes.
    package func decodingBytes(_ picture: PictureReader) throws(ImageInputError) -> Int {
        try resampler(storedAs: picture).streamingBytes.saturatingSum(picture.workingBytes)
    }

    private enum End: Error {
        case failure(ImageInputError)
        case cancellation
    }

    private func resampler(storedAs picture: PictureReader) throws(ImageInputError) -> BicubicResample {
        let orientation = picture.orientation
        let (width, height) = picture.uprightSides
        return try resampler(width: width, height: height).stored(
            mirrorsX: orientation.mirrorsX, mirrorsY: orientation.mirrorsY,
            swapsSides: orientation.swapsSides)
    }

    private func fill(
        _ destination: UnsafeMutableBufferPointer<Float>, from picture: PictureReader,
        with resample: BicubicResample, cancellation: Cancellation
    ) throws(End) {
        let tables = tables
        try resample.stream { count, rows throws(End) in
            guard !cancellation.isCancelled else { throw .cancellation }
            do throws(ImageInputError) {
                try picture.read(count, into: rows)
            } catch {
                throw .failure(error)
            }
        } writing: { rows, band in
            for (index, row) in rows.enumerated() {
                let part = UnsafeMutableBufferPointer(
                    rebasing: band[(index * size * 3)..<((index + 1) * size * 3)])
                let (start, step) = place(ofStoredRow: row, picture.orientation)
                Self.normalise(part, tables, into: destination, at: start * 3, step: step * 3)
            }
        }
    }

    /// Where the first pixel of a row of the result stands once it is turned upright, and how far each
    /// further one is from the one before, in pixels.
    private func place(ofStoredRow row: Int, _ orientation: ImageOrientation) -> (start: Int, step: Int) {
        let last = size - 1
        let right = orientation.mirrorsX
        let down = orientation.mirrorsY
        guard orientation.swapsSides else {
            return ((down ? last - row : row) * size + (right ? last : 0), right ? -1 : 1)
        }
        return ((down ? last : 0) * size + (right ? last - row : row), down ? -size : size)
    }

    /// The 8-bit square before normalisation.
    private func resampler(width: Int, height: Int) throws(ImageInputError) -> BicubicResample {
        let resample =
            switch (description.resampling, description.geometry) {
            case (.bicubic, .pad): padded(width, height)
            case (.bicubic, .crop): cropped(width, height)
            }
        guard let resample else {
            throw .invalidParameter(
                name: "image", expected: "sides that can be resized to \(size)", got: "\(width)x\(height)")
        }
        return resample
    }

    private func padded(_ width: Int, _ height: Int) -> BicubicResample? {
        let side = max(width, height)
        func axis(_ length: Int) -> BicubicResample.Axis {
            .init(padded: side, before: (side - length) / 2, real: length, resized: size, outputs: 0..<size)
        }
        return BicubicResample(
            horizontal: axis(width), vertical: axis(height),
            background: (background.red, background.green, background.blue))
    }

    private func cropped(_ width: Int, _ height: Int) -> BicubicResample? {
        let short = min(width, height)
        func axis(_ length: Int) -> BicubicResample.Axis {
            // The quotient of two integers this small truncates alike in Python's double arithmetic.
            let resized = length == short ? size : size * length / short
            let first = (resized - size) / 2
            return .init(
                padded: length, before: 0, real: length, resized: resized, outputs: first..<first + size)
        }
        return BicubicResample(horizontal: axis(width), vertical: axis(height))
    }

    /// The float of every level of every channel.
    var tables: [[Float]] {
        zip(description.mean, description.standardDeviation).map { mean, deviation in
            (0..<256).map { (level: Int) -> Float in (Float(level) / 255 - mean) / deviation }
        }
    }

    private func fill(
        _ destination: UnsafeMutableBufferPointer<Float>, from image: RGBImage, with resample: BicubicResample
    ) {
        let tables = tables
        let rowLength = size * 3
        image.pixels.withUnsafeBufferPointer { source in
            withUnsafeTemporaryAllocation(
                of: UInt8.self, capacity: BicubicResample.bandHeight * rowLength
            ) { band in
                for start in stride(from: 0, to: size, by: BicubicResample.bandHeight) {
                    let rows = start..<min(start + BicubicResample.bandHeight, size)
                    let part = UnsafeMutableBufferPointer(rebasing: band[..<(rows.count * rowLength)])
                    resample.compute(rows: rows, of: source, into: part)
                    Self.normalise(part, tables, into: destination, at: start * rowLength, step: 3)
                }
            }
        }
    }

    /// One table look-up a value: exact, because a channel has only 256 values.
    /// - Parameters:
    ///   - offset: where the first pixel goes.
    ///   - step: from one pixel to the next.
    private static func normalise(
        _ band: UnsafeMutableBufferPointer<UInt8>, _ tables: [[Float]],
        into destination: UnsafeMutableBufferPointer<Float>, at offset: Int, step: Int
    ) {
        tables[0].withUnsafeBufferPointer { red in
            tables[1].withUnsafeBufferPointer { green in
                tables[2].withUnsafeBufferPointer { blue in
                    var to = offset
                    for index in stride(from: 0, to: band.count, by: 3) {
                        destination[to] = red[Int(band[index])]
                        destination[to + 1] = green[Int(band[index + 1])]
                        destination[to + 2] = blue[Int(band[index + 2])]
                        to += step
                    }
                }
            }
        }
    }
}
