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
        let resample =
            switch geometry {
            case .pad(let background): padded(image, background, variant)
            case .crop: cropped(image, variant)
            }
        guard let resample else {
            throw .invalidParameter(
                name: "image", expected: "sides that can be resized to \(size)",
                got: "\(image.width)x\(image.height)")
        }
        return resample
    }

    private func padded(
        _ image: RGBImage, _ background: RGBColor, _ variant: BicubicResample.Variant
    ) -> BicubicResample? {
        let side = max(image.width, image.height)
        func axis(_ length: Int) -> BicubicResample.Axis {
            .init(padded: side, before: (side - length) / 2, real: length, resized: size, outputs: 0..<size)
        }
        return BicubicResample(
            horizontal: axis(image.width), vertical: axis(image.height),
            background: (background.red, background.green, background.blue), variant: variant)
    }

    private func cropped(_ image: RGBImage, _ variant: BicubicResample.Variant) -> BicubicResample? {
        let short = min(image.width, image.height)
        func axis(_ length: Int) -> BicubicResample.Axis {
            // The quotient of two integers this small truncates alike in Python's double arithmetic.
            let resized = length == short ? size : size * length / short
            let first = (resized - size) / 2
            return .init(
                padded: length, before: 0, real: length, resized: resized, outputs: first..<first + size)
        }
        return BicubicResample(
            horizontal: axis(image.width), vertical: axis(image.height), variant: variant)
    }

    private func fill(
        _ destination: UnsafeMutableBufferPointer<Float>, from image: RGBImage, with resample: BicubicResample
    ) {
        let tables: [[Float]] = (0..<3).map { channel in
            (0..<256).map { (level: Int) -> Float in (Float(level) / 255 - mean[channel]) / std[channel] }
        }
        let rowLength = size * 3
        image.pixels.withUnsafeBufferPointer { source in
            withUnsafeTemporaryAllocation(
                of: UInt8.self, capacity: BicubicResample.bandHeight * rowLength
            ) { band in
                for start in stride(from: 0, to: size, by: BicubicResample.bandHeight) {
                    let rows = start..<min(start + BicubicResample.bandHeight, size)
                    let part = UnsafeMutableBufferPointer(rebasing: band[..<(rows.count * rowLength)])
                    resample.compute(rows: rows, of: source, into: part)
                    Self.normalise(part, tables, into: destination, at: start * rowLength)
                }
            }
        }
    }

    /// One table look-up a value: exact, because a channel has only 256 values.
    private static func normalise(
        _ band: UnsafeMutableBufferPointer<UInt8>, _ tables: [[Float]],
        into destination: UnsafeMutableBufferPointer<Float>, at offset: Int
    ) {
        tables[0].withUnsafeBufferPointer { red in
            tables[1].withUnsafeBufferPointer { green in
                tables[2].withUnsafeBufferPointer { blue in
                    for index in stride(from: 0, to: band.count, by: 3) {
                        destination[offset + index] = red[Int(band[index])]
                        destination[offset + index + 1] = green[Int(band[index + 1])]
                        destination[offset + index + 2] = blue[Int(band[index + 2])]
                    }
                }
            }
        }
    }
}
