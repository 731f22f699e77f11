/// The bitmaps of Windows and OS/2 (BMP): 1, 4, 8, 16, 24 and 32 bits, in runs, with masks, either way up.
///
/// Read here and not by a library because none that Debian has fits: gdk-pixbuf and imlib2 want files and a
/// loader registry, SDL_image an audio and video stack, FreeImage is unmaintained, and stb_image has a record
/// of memory errors.
enum WindowsBitmap {
    enum Compression: Equatable {
        case none, runs8, runs4
    }

    struct Header {
        let width: Int
        let height: Int
        let isTopDown: Bool
        let bits: Int
        let compression: Compression
        /// Red, green, blue and alpha; only for 16 and 32 bits.
        let masks: [Mask]
        /// Red, green, blue by index.
        let palette: [RGBColor]
        /// Where the pixels begin.
        let start: Int
        /// An ICC profile inside the file.
        let profile: Range<Int>?

        /// Of a row without its padding.
        var usedBytes: Int { (width * bits + 7) / 8 }
        /// Rows begin at multiples of four bytes.
        var rowBytes: Int { (usedBytes + 3) / 4 * 4 }
        /// The last row of a file may lack its padding.
        var neededBytes: Int { rowBytes.saturatingProduct(height) - (rowBytes - usedBytes) }
    }

    /// The bits of a pixel that hold one channel.
    struct Mask {
        let shift: UInt32
        let maximum: UInt32
        let isEmpty: Bool

        /// nil unless the bits stand together.
        init?(_ bits: UInt32) {
            isEmpty = bits == 0
            shift = isEmpty ? 0 : UInt32(bits.trailingZeroBitCount)
            maximum = bits >> shift
            guard maximum & (maximum &+ 1) == 0 else { return nil }
        }

        /// The channel in 8 bits: widened by the rule of three, or the high bits of more than eight.
        func value(_ pixel: UInt32) -> UInt8 {
            guard !isEmpty else { return 0 }
            let bits = pixel >> shift & maximum
            guard maximum > 255 else { return UInt8(truncatingIfNeeded: bits * 255 / maximum) }
            return UInt8(truncatingIfNeeded: bits >> UInt32(24 - maximum.leadingZeroBitCount))
        }
    }
}

extension WindowsBitmap.Header {
    init(_ bytes: ByteView) throws(ImageInputError) {
        func number<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) throws(ImageInputError) -> Int {
            guard let value = bytes.integer(type, at: offset, bigEndian: false) else {
                throw .truncated(
                    format: .bmp, offset: bytes.count, fileBytes: bytes.count, detail: "the header is cut off"
                )
            }
            return Int(value)
        }
        let length = try number(UInt32.self, at: 14)
        let isCore = length == 12
        guard [12, 40, 52, 56, 64, 108, 124].contains(length) else {
            throw .unsupportedVariant(format: .bmp, detail: "a header of \(length) bytes")
        }
        if isCore {
            (width, height) = (try number(UInt16.self, at: 18), try number(UInt16.self, at: 20))
            isTopDown = false
        } else {
            let rows = try number(Int32.self, at: 22)
            (width, height, isTopDown) = (try number(Int32.self, at: 18), abs(rows), rows < 0)
        }
        let bits = try number(UInt16.self, at: isCore ? 24 : 28)
        let method = isCore ? 0 : try number(UInt32.self, at: 30)
        guard [1, 4, 8, 16, 24, 32].contains(bits) else {
            throw .unsupportedVariant(format: .bmp, detail: "\(bits) bits per pixel")
        }
        self.bits = bits
        compression = try Self.compression(method, bits: bits)
        let hasMasks = method == 3 || method == 6
        let masksAfterHeader = hasMasks && length == 40 ? (method == 6 ? 4 : 3) : 0
        masks = try Self.masks(
            bytes, bits: bits, count: hasMasks ? (length >= 56 || method == 6 ? 4 : 3) : 0)
        let paletteStart = 14 + length + masksAfterHeader * 4
        let named = isCore ? 0 : try number(UInt32.self, at: 46)
        let colors = bits > 8 ? 0 : named == 0 ? 1 << bits : named
        let entryBytes = isCore ? 3 : 4
        palette = Self.palette(bytes, at: paletteStart, count: min(colors, 1 << bits), entryBytes: entryBytes)
        // Some writers give no offset, or that of the palette.
        let offset = try number(UInt32.self, at: 10)
        let isUsable = offset > paletteStart || (offset == paletteStart && colors == 0)
        start = isUsable ? offset : paletteStart + colors * entryBytes
        profile = length == 124 ? Self.profile(bytes) : nil
    }

    private static func compression(
        _ method: Int, bits: Int
    ) throws(ImageInputError) -> WindowsBitmap.Compression {
        switch (method, bits) {
        case (0, _), (3, 16...), (6, 16...): return .none
        case (1, 8): return .runs8
        case (2, 4): return .runs4
        default:
            throw .unsupportedVariant(
                format: .bmp, detail: "compression \(method) with \(bits) bits per pixel")
        }
    }

    private static func masks(
        _ bytes: ByteView, bits: Int, count: Int
    ) throws(ImageInputError) -> [WindowsBitmap.Mask] {
        guard bits >= 16 else { return [] }
        var values: [UInt32] = []
        for index in 0..<count {
            guard let value = bytes.integer(UInt32.self, at: 54 + 4 * index, bigEndian: false) else {
                throw .truncated(
                    format: .bmp, offset: bytes.count, fileBytes: bytes.count, detail: "the header is cut off"
                )
            }
            values.append(value)
        }
        if values.allSatisfy({ $0 == 0 }) {
            values = bits == 16 ? [0x7C00, 0x3E0, 0x1F] : [0xFF0000, 0xFF00, 0xFF]
        }
        if values.count == 3 { values.append(0) }
        let masks = values.compactMap(WindowsBitmap.Mask.init)
        guard masks.count == 4 else {
            throw .unsupportedVariant(format: .bmp, detail: "masks whose bits do not stand together")
        }
        return masks
    }

    /// Entries beyond the file's are black.
    private static func palette(_ bytes: ByteView, at start: Int, count: Int, entryBytes: Int) -> [RGBColor] {
        var colors = [RGBColor](repeating: .black, count: 256)
        for index in 0..<max(0, count) {
            let at = start + index * entryBytes
            guard let blue = bytes.byte(at: at), let green = bytes.byte(at: at + 1),
                let red = bytes.byte(at: at + 2)
            else { break }
            colors[index] = RGBColor(red: red, green: green, blue: blue)
        }
        return colors
    }

    /// Version 5 headers may name a profile of up to 4 MiB behind the pixels.
    private static func profile(_ bytes: ByteView) -> Range<Int>? {
        guard bytes.integer(UInt32.self, at: 70, bigEndian: false) == 0x4D42_4544,
            let offset = bytes.integer(UInt32.self, at: 126, bigEndian: false).map(Int.init),
            let length = bytes.integer(UInt32.self, at: 130, bigEndian: false).map(Int.init),
            (1...4 << 20).contains(length), bytes.part(at: 14 + offset, length: length) != nil
        else { return nil }
        return 14 + offset..<14 + offset + length
    }
}

/// The rows of a BMP file, from the top of the picture.
final class WindowsBitmapReader: RowSource {
    let header: RowHeader
    private let bytes: ByteView
    private let shape: WindowsBitmap.Header
    private let allowsTruncated: Bool
    /// Programs that do not know alpha leave it 0 everywhere; such a picture is opaque.
    private lazy var alphaCounts =
        header.channels == 4 && (0..<shape.height).contains { hasAlpha(inFileRow: $0) }
    private var runs: BitmapRuns?
    private var row = 0
    private var missingRows = 0

    init(_ bytes: ByteView, limits: ImageLimits, options: ImageOptions) throws(ImageInputError) {
        shape = try WindowsBitmap.Header(bytes)
        try limits.check(width: shape.width, height: shape.height, format: .bmp)
        self.bytes = bytes
        allowsTruncated = options.allowsTruncated
        header = RowHeader(
            width: shape.width, height: shape.height, channels: shape.masks.last?.isEmpty == false ? 4 : 3,
            workingBytes: shape.compression == .none ? 0 : shape.width * shape.height)
        if shape.compression == .none, !allowsTruncated { try checkLength() }
    }

    /// Refuses a short file before the first row.
    private func checkLength() throws(ImageInputError) {
        guard bytes.count - shape.start >= shape.neededBytes else {
            throw .truncated(
                format: .bmp, offset: bytes.count, fileBytes: bytes.count,
                detail: "\(shape.neededBytes) bytes of pixels expected after byte \(shape.start), found "
                    + "\(max(0, bytes.count - shape.start))")
        }
    }

    func read(_ count: Int, into destination: UnsafeMutableBufferPointer<UInt8>) throws(ImageInputError) {
        if shape.compression != .none, runs == nil {
            runs = try BitmapRuns(bytes, shape, allowsTruncated: allowsTruncated)
        }
        let length = shape.width * header.channels
        for y in 0..<count {
            let part = UnsafeMutableBufferPointer(rebasing: destination[y * length..<(y + 1) * length])
            // Most files begin with the bottom row.
            let fileRow = shape.isTopDown ? row : shape.height - 1 - row
            if let runs {
                readRuns(runs, fileRow, into: part)
            } else if let samples = samples(ofFileRow: fileRow) {
                readSamples(samples, into: part)
            } else {
                fillGrey(part)
                missingRows += 1
            }
            row += 1
        }
    }

    func finish() throws(ImageInputError) -> [String] {
        if let remark = runs?.remark { return ["BMP: \(remark)"] }
        return missingRows == 0
            ? [] : ["BMP: the file ends too early, \(missingRows) of \(shape.height) rows are grey"]
    }

    func withProfile<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result? {
        guard let range = shape.profile, let part = bytes.part(at: range.lowerBound, length: range.count)
        else {
            return nil
        }
        return body(part.raw.assumingMemoryBound(to: UInt8.self))
    }

    private func samples(ofFileRow row: Int) -> ByteView? {
        bytes.part(at: shape.start + row * shape.rowBytes, length: shape.usedBytes)
    }

    private func fillGrey(_ pixels: UnsafeMutableBufferPointer<UInt8>) {
        for index in pixels.indices { pixels[index] = header.channels == 4 && index % 4 == 3 ? 255 : 128 }
    }

    private func readRuns(
        _ runs: BitmapRuns, _ fileRow: Int, into pixels: UnsafeMutableBufferPointer<UInt8>
    ) {
        for x in 0..<shape.width {
            let at = fileRow * shape.width + x
            put(
                at < runs.reached
                    ? shape.palette[Int(runs.indices[at])] : RGBColor(red: 128, green: 128, blue: 128),
                at: 3 * x, pixels)
        }
    }

    private func put(_ color: RGBColor, at index: Int, _ pixels: UnsafeMutableBufferPointer<UInt8>) {
        pixels[index] = color.red
        pixels[index + 1] = color.green
        pixels[index + 2] = color.blue
    }

    private func readSamples(_ samples: ByteView, into pixels: UnsafeMutableBufferPointer<UInt8>) {
        let raw = samples.raw
        switch shape.bits {
        case 24:
            for x in 0..<shape.width {
                for channel in 0..<3 { pixels[3 * x + channel] = raw[3 * x + 2 - channel] }
            }
        case 16, 32:
            readMasked(raw, into: pixels)
        default:
            let perByte = 8 / shape.bits
            for x in 0..<shape.width {
                let shift = UInt8(8 - shape.bits * (x % perByte + 1))
                let index = raw[x / perByte] >> shift & UInt8((1 << shape.bits) - 1)
                put(shape.palette[Int(index)], at: 3 * x, pixels)
            }
        }
    }

    private func pixel(_ raw: UnsafeRawBufferPointer, _ x: Int) -> UInt32 {
        shape.bits == 16
            ? UInt32(UInt16(littleEndian: raw.loadUnaligned(fromByteOffset: 2 * x, as: UInt16.self)))
            : UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * x, as: UInt32.self))
    }

    private func readMasked(_ raw: UnsafeRawBufferPointer, into pixels: UnsafeMutableBufferPointer<UInt8>) {
        let channels = header.channels
        let opaque = channels == 4 && !alphaCounts
        for x in 0..<shape.width {
            let pixel = pixel(raw, x)
            for channel in 0..<channels {
                pixels[channels * x + channel] = shape.masks[channel].value(pixel)
            }
            if opaque { pixels[4 * x + 3] = 255 }
        }
    }

    private func hasAlpha(inFileRow row: Int) -> Bool {
        guard let samples = samples(ofFileRow: row), let mask = shape.masks.last else { return false }
        return (0..<shape.width).contains { mask.value(pixel(samples.raw, $0)) != 0 }
    }
}
