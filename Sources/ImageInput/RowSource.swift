internal import CImageCodecs

/// What a file says about itself before any pixel is decoded.
struct RowHeader: Equatable {
    var width: Int
    var height: Int
    /// Bytes per pixel: 3 RGB, or 4 RGBA with straight alpha.
    var channels = 3
    /// R = G = B.
    var isGrey = false
    /// Memory of the picture's size that reading the rows takes, in bytes.
    var workingBytes = 0
}

/// The rows of a picture from top to bottom, as stored. Valid only as long as the file's bytes.
protocol RowSource: AnyObject {
    var header: RowHeader { get }

    /// - Parameters:
    ///   - count: no more than are left.
    ///   - destination: [count, width, channels], uint8.
    func read(_ count: Int, into destination: UnsafeMutableBufferPointer<UInt8>) throws(ImageInputError)

    /// After the last row.
    /// - Returns: what is worth telling about the file.
    func finish() throws(ImageInputError) -> [String]

    /// Calls `body` with the ICC profile that the delivered pixels have, if there is one.
    func withProfile<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result?
}

extension RowSource {
    func withProfile<Result>(_: (UnsafeBufferPointer<UInt8>) -> Result) -> Result? { nil }
}

/// A picture read by one of the C codecs, its failures turned into errors.
final class CodecReader: RowSource {
    private typealias Open = (
        UnsafePointer<UInt8>?, Int, fvc_options, UnsafeMutablePointer<OpaquePointer?>?,
        UnsafeMutablePointer<fvc_header>?, UnsafeMutablePointer<fvc_failure>?
    ) -> fvc_status

    let header: RowHeader
    private let format: ImageFormat
    private let fileBytes: Int
    private let codecHeader: fvc_header
    private let reader: OpaquePointer

    /// - Parameters:
    ///   - bytes: must outlive the reader.
    ///   - leastTile: ``HEIFStructure/leastTile``.
    init(
        _ bytes: UnsafeRawBufferPointer, format: ImageFormat, options: ImageOptions,
        leastTile: (width: Int, height: Int) = (0, 0)
    ) throws(ImageInputError) {
        guard let open = Self.opener(format) else {
            throw .formatNotBuilt(format)
        }
        let flags = fvc_options(
            reference_depth: options.referenceDepth ? 1 : 0, allow_truncated: options.allowsTruncated ? 1 : 0,
            tile_width: Int32(clamping: leastTile.width), tile_height: Int32(clamping: leastTile.height))
        var opened: OpaquePointer?
        var found = fvc_header()
        var failure = fvc_failure()
        let status = open(
            bytes.assumingMemoryBound(to: UInt8.self).baseAddress, bytes.count, flags, &opened, &found,
            &failure)
        guard status == FVC_OK, let opened else {
            throw Self.error(status, failure, format, found, fileBytes: bytes.count)
        }
        self.format = format
        fileBytes = bytes.count
        codecHeader = found
        reader = opened
        header = RowHeader(
            width: Int(found.width), height: Int(found.height), channels: Int(found.channels),
            isGrey: found.is_grey != 0, workingBytes: Int(clamping: found.working_bytes))
    }

    deinit { fvc_close(reader) }

    /// The codec of a format; nil for those decoded in Swift.
    private static func opener(_ format: ImageFormat) -> Open? {
        switch format {
        case .jpeg: fvc_jpeg_open
        case .png: fvc_png_open
        case .webp: fvc_webp_open
        case .portableAnymap, .bmp: nil
        case .gif:
            #if GIF
                fvc_gif_open
            #else
                nil
            #endif
        case .heic, .avif:
            #if HEIF
                fvc_heif_open
            #else
                nil
            #endif
        case .tiff:
            #if TIFF
                fvc_tiff_open
            #else
                nil
            #endif
        }
    }

    func read(_ count: Int, into destination: UnsafeMutableBufferPointer<UInt8>) throws(ImageInputError) {
        precondition(
            destination.count == count * header.width * header.channels,
            "destination is not [count, width, channels]")
        guard let rows = Int32(exactly: count), rows > 0 else { return }
        var failure = fvc_failure()
        let status = fvc_read_rows(reader, destination.baseAddress, rows, &failure)
        guard status == FVC_OK else {
            throw Self.error(status, failure, format, codecHeader, fileBytes: fileBytes)
        }
    }

    func finish() throws(ImageInputError) -> [String] {
        var remark = fvc_failure()
        let status = fvc_finish(reader, &remark)
        guard status == FVC_OK else {
            throw Self.error(status, remark, format, codecHeader, fileBytes: fileBytes)
        }
        let text = Self.text(remark)
        return text.isEmpty ? [] : ["\(format): \(text)"]
    }

    func withProfile<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result? {
        guard codecHeader.is_cmyk == 0, let profile = codecHeader.profile, codecHeader.profile_bytes > 0
        else { return nil }
        return body(UnsafeBufferPointer(start: profile, count: codecHeader.profile_bytes))
    }

    private static func text(_ failure: fvc_failure) -> String {
        withUnsafeBytes(of: failure.text) { text in
            String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    private static func error(
        _ status: fvc_status, _ failure: fvc_failure, _ format: ImageFormat, _ header: fvc_header,
        fileBytes: Int
    ) -> ImageInputError {
        let detail = text(failure)
        let offset = Int(clamping: failure.offset)
        switch status {
        case FVC_TRUNCATED:
            let at = offset == 0 ? fileBytes : offset
            return .truncated(format: format, offset: at, fileBytes: fileBytes, detail: detail)
        case FVC_UNSUPPORTED:
            return .unsupportedVariant(format: format, detail: detail)
        case FVC_NO_LIBRARY:
            return .missingLibrary(format: format, advice: detail)
        case FVC_OVER_LIMIT:
            return .overLimit(format: format, detail: detail)
        case FVC_OUT_OF_MEMORY:
            return .outOfMemory(format: format, width: Int(header.width), height: Int(header.height))
        default:
            return .corrupt(format: format, offset: offset == 0 ? nil : offset, detail: detail)
        }
    }
}
