package import Tensors

/// An image as the encoder takes it.
package struct PixelTensor: Equatable, Sendable {
    /// Side length S in pixels.
    package let size: Int
    /// [S, S, 3], float32: rows, columns, red-green-blue.
    package let values: [Float]

    package init(size: Int, values: [Float]) {
        self.size = size
        self.values = values
    }
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

/// Picture -> square of floats, exactly as the reference processors do it with Pillow and NumPy.
///
/// - `pad` (Apple's `expand2square`): centred on a square of the background colour, then resized to S x S.
/// - `crop` (Hugging Face): the short side becomes S, the long side int(S * long / short), then the centre.
///
/// Both resize with Pillow's bicubic in 8 bits; then value = (k / 255 - mean) / std in float32. Neither the
/// padded square nor the part outside the crop is ever stored or computed.
package struct ImagePreprocessor: Equatable, Sendable {
    package enum Geometry: Equatable, Sendable {
        case pad(background: RGBColor)
        case crop
    }

    package let geometry: Geometry
    /// Side of the result; a positive multiple of 64, the encoder's total stride.
    package let size: Int
    package let mean: [Float]
    package let std: [Float]

    /// Largest side of a result: 8192 x 8192 x 3 floats are 805 MB.
    package static let largestSize = 8192

    /// - Throws: `ImageInputError.invalidParameter` for a size that is not a multiple of 64 within
    ///   64...8192, or mean and std that are not three finite numbers (std not zero).
    package init(
        geometry: Geometry, size: Int, mean: [Float] = [0, 0, 0], std: [Float] = [1, 1, 1]
    ) throws(ImageInputError) {
        guard size > 0, size % 64 == 0, size <= Self.largestSize else {
            throw .invalidParameter(
                name: "size", expected: "a multiple of 64 from 64 to \(Self.largestSize)", got: "\(size)")
        }
        guard mean.count == 3, mean.allSatisfy(\.isFinite) else {
            throw .invalidParameter(name: "mean", expected: "three finite numbers", got: "\(mean)")
        }
        guard std.count == 3, std.allSatisfy({ $0.isFinite && $0 != 0 }) else {
            throw .invalidParameter(name: "std", expected: "three finite numbers, none 0", got: "\(std)")
        }
        self.geometry = geometry
        self.size = size
        self.mean = mean
        self.std = std
    }

    /// - Returns: [size, size, 3], float32.
    package func callAsFunction(_ image: RGBImage) throws(ImageInputError) -> PixelTensor {
        let resample = try resampler(for: image)
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
        let (width, height) =
            orientation.swapsSides ? (picture.height, picture.width) : (picture.width, picture.height)
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

    /// The same into memory of the caller's.
    /// - Parameter destination: [size, size, 3], float32.
    package func write(
        _ image: RGBImage, into destination: UnsafeMutableBufferPointer<Float>
    ) throws(ImageInputError) {
        guard destination.count == size * size * 3 else {
            throw .invalidParameter(
                name: "destination", expected: "\(size * size * 3) floats", got: "\(destination.count)")
        }
        fill(destination, from: image, with: try resampler(for: image))
    }

    /// The 8-bit square before normalisation; its `compute(rows:)` may be shared among threads.
    package func resampler(
        for image: RGBImage, variant: BicubicResample.Variant = .automatic
    ) throws(ImageInputError) -> BicubicResample {
        try resampler(width: image.width, height: image.height, variant: variant)
    }

    private func resampler(
        width: Int, height: Int, variant: BicubicResample.Variant = .automatic
    ) throws(ImageInputError) -> BicubicResample {
        let resample =
            switch geometry {
            case .pad(let background): padded(width, height, background, variant)
            case .crop: cropped(width, height, variant)
            }
        guard let resample else {
            throw .invalidParameter(
                name: "image", expected: "sides that can be resized to \(size)", got: "\(width)x\(height)")
        }
        return resample
    }

    private func padded(
        _ width: Int, _ height: Int, _ background: RGBColor, _ variant: BicubicResample.Variant
    ) -> BicubicResample? {
        let side = max(width, height)
        func axis(_ length: Int) -> BicubicResample.Axis {
            .init(padded: side, before: (side - length) / 2, real: length, resized: size, outputs: 0..<size)
        }
        return BicubicResample(
            horizontal: axis(width), vertical: axis(height),
            background: (background.red, background.green, background.blue), variant: variant)
    }

    private func cropped(
        _ width: Int, _ height: Int, _ variant: BicubicResample.Variant
    ) -> BicubicResample? {
        let short = min(width, height)
        func axis(_ length: Int) -> BicubicResample.Axis {
            // The quotient of two integers this small truncates alike in Python's double arithmetic.
            let resized = length == short ? size : size * length / short
            let first = (resized - size) / 2
            return .init(
                padded: length, before: 0, real: length, resized: resized, outputs: first..<first + size)
        }
        return BicubicResample(horizontal: axis(width), vertical: axis(height), variant: variant)
    }

    /// The float of every level of every channel.
    private var tables: [[Float]] {
        (0..<3).map { channel in
            (0..<256).map { (level: Int) -> Float in (Float(level) / 255 - mean[channel]) / std[channel] }
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
