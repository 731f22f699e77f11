internal import CImageCodecs
package import Foundation

/// What a file says about itself before any pixel is decoded.
package struct ImageHeader: Equatable, Sendable {
    package let format: ImageFormat
    /// As stored, before any turn.
    package let width: Int
    package let height: Int
    package let orientation: ImageOrientation
}

/// Bytes of an image file to RGB, equal to Pillow's `Image.open(…).convert("RGB")`, with
/// `ImageOps.exif_transpose` before it when the orientation is applied.
package enum ImageDecoder {
    /// - Parameters:
    ///   - bytes: a whole JPEG, PNG, WebP or PNM file; told apart by content.
    ///   - limits: checked against the header before the picture is allocated.
    ///   - applyOrientation: turn the picture upright as its EXIF orientation says. Apple's script does not.
    /// - Throws: `ImageInputError`; what Pillow refuses as truncated or broken is refused here too.
    package static func decode(
        _ bytes: UnsafeRawBufferPointer, limits: ImageLimits = .standard, applyOrientation: Bool = true
    ) throws(ImageInputError) -> RGBImage {
        let header = try header(of: bytes, limits: limits)
        let image: RGBImage
        switch header.format {
        case .portableAnymap:
            image = try PortableAnymap.decode(ByteView(bytes), limits: limits)
        case .jpeg, .png, .webp:
            image = try Codec(header.format).decode(bytes, width: header.width, height: header.height)
        }
        return applyOrientation ? image.turned(header.orientation) : image
    }

    package static func decode(
        _ bytes: [UInt8], limits: ImageLimits = .standard, applyOrientation: Bool = true
    ) throws(ImageInputError) -> RGBImage {
        try bytes.withUnsafeBytes { raw in
            Result { () throws(ImageInputError) in
                try decode(raw, limits: limits, applyOrientation: applyOrientation)
            }
        }.get()
    }

    package static func decode(
        _ data: Data, limits: ImageLimits = .standard, applyOrientation: Bool = true
    ) throws(ImageInputError) -> RGBImage {
        try data.withUnsafeBytes { raw in
            Result { () throws(ImageInputError) in
                try decode(raw, limits: limits, applyOrientation: applyOrientation)
            }
        }.get()
    }

    /// Format, size and orientation, with the limits already checked.
    package static func header(
        of bytes: UnsafeRawBufferPointer, limits: ImageLimits = .standard
    ) throws(ImageInputError) -> ImageHeader {
        guard bytes.count <= limits.fileBytes else {
            throw .fileTooLarge(bytes: bytes.count, limit: limits.fileBytes)
        }
        let view = ByteView(bytes)
        let format = try ImageFormat.detect(view)
        let size: (width: Int, height: Int)
        switch format {
        case .portableAnymap:
            let header = try PortableAnymap.Header(view)
            size = (header.width, header.height)
        case .jpeg, .png, .webp:
            size = try Codec(format).header(bytes)
        }
        try limits.check(width: size.width, height: size.height, format: format)
        return ImageHeader(
            format: format, width: size.width, height: size.height,
            orientation: ImageOrientation.find(in: view, format: format))
    }
}

/// The two calls that every C codec offers, with its failures turned into errors.
private struct Codec {
    typealias ReadHeader = (
        UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<fvc_header>?, UnsafeMutablePointer<fvc_failure>?
    ) -> fvc_status
    typealias Decode = (
        UnsafePointer<UInt8>?, Int, fvc_header, UnsafeMutablePointer<UInt8>?, Int,
        UnsafeMutablePointer<fvc_failure>?
    ) -> fvc_status

    let format: ImageFormat
    let readHeader: ReadHeader
    let decode: Decode

    init(_ format: ImageFormat) {
        self.format = format
        switch format {
        case .jpeg: (readHeader, decode) = (fvc_jpeg_header, fvc_jpeg_decode)
        case .png: (readHeader, decode) = (fvc_png_header, fvc_png_decode)
        // PortableAnymap is decoded in Swift and never comes here.
        case .webp, .portableAnymap: (readHeader, decode) = (fvc_webp_header, fvc_webp_decode)
        }
    }

    func header(_ bytes: UnsafeRawBufferPointer) throws(ImageInputError) -> (width: Int, height: Int) {
        var header = fvc_header()
        var failure = fvc_failure()
        let status = readHeader(
            bytes.assumingMemoryBound(to: UInt8.self).baseAddress, bytes.count, &header, &failure)
        try check(status, failure, header, fileBytes: bytes.count)
        return (Int(header.width), Int(header.height))
    }

    func decode(
        _ bytes: UnsafeRawBufferPointer, width: Int, height: Int
    ) throws(ImageInputError) -> RGBImage {
        guard let columns = Int32(exactly: width), let rows = Int32(exactly: height) else {
            throw .sideTooLong(format: format, width: width, height: height, limit: Int(Int32.max))
        }
        let header = fvc_header(width: columns, height: rows)
        let capacity = width * height * 3
        var failure = fvc_failure()
        var status = FVC_OK
        let pixels = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            status = decode(
                bytes.assumingMemoryBound(to: UInt8.self).baseAddress, bytes.count, header,
                buffer.baseAddress, capacity, &failure)
            // After a failure some bytes were never written; none of them may be seen.
            count = status == FVC_OK ? capacity : 0
        }
        try check(status, failure, header, fileBytes: bytes.count)
        return RGBImage(checkedWidth: width, height: height, pixels: pixels)
    }

    private func check(
        _ status: fvc_status, _ failure: fvc_failure, _ header: fvc_header, fileBytes: Int
    ) throws(ImageInputError) {
        guard status != FVC_OK else { return }
        let detail = withUnsafeBytes(of: failure.text) { text in
            String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
        }
        let offset = Int(clamping: failure.offset)
        switch status {
        case FVC_TRUNCATED:
            let at = offset == 0 ? fileBytes : offset
            throw .truncated(format: format, offset: at, fileBytes: fileBytes, detail: detail)
        case FVC_UNSUPPORTED:
            throw .unsupportedVariant(format: format, detail: detail)
        case FVC_OVER_LIMIT:
            throw .overLimit(format: format, detail: detail)
        case FVC_OUT_OF_MEMORY:
            throw .outOfMemory(format: format, width: Int(header.width), height: Int(header.height))
        default:
            throw .corrupt(format: format, offset: offset == 0 ? nil : offset, detail: detail)
        }
    }
}
