package import SystemFiles

/// Why a picture could not be had. Every description ends in what to do about it.
package enum ImageInputError: Error, Equatable, Sendable {
    /// The file cannot be opened or read.
    case unreadable(path: String, reason: SystemReason)
    /// There is not a single byte.
    case empty
    /// The file is longer than `ImageLimits.fileBytes`. `bytes` is nil when reading stopped at the limit.
    case fileTooLarge(bytes: Int?, limit: Int)
    /// The content is a known kind of file that is not decoded here. `advice` is what to do about it.
    case unsupportedFormat(name: String, advice: String)
    /// The format is decoded here, but the caller has not allowed it (`ImageLimits.formats`).
    case formatNotEnabled(ImageFormat)
    /// The format is decoded here, but this build leaves it out.
    case formatNotBuilt(ImageFormat)
    /// The content begins like nothing known; `start` shows its first bytes.
    case unknownFormat(start: String)
    /// A supported format in a variant that is not decoded.
    case unsupportedVariant(format: ImageFormat, detail: String)
    /// The system lacks a library that decodes the format. `advice` is what to do about it.
    case missingLibrary(format: ImageFormat, advice: String)
    /// The header names a side longer than `ImageLimits.side`; as in the next two, no format means pixels of no file.
    case sideTooLong(format: ImageFormat?, width: Int, height: Int, limit: Int)
    /// The header names more pixels than `ImageLimits.pixels`.
    case tooManyPixels(format: ImageFormat?, width: Int, height: Int, limit: Int)
    /// Decoding would take more bytes than `ImageLimits.memory`.
    case tooMuchMemory(format: ImageFormat?, width: Int, height: Int, bytes: Int, limit: Int)
    /// The file ends before the picture does.
    case truncated(format: ImageFormat, offset: Int, fileBytes: Int, detail: String)
    /// The bytes break the rules of the format. `offset` is nil where the codec cannot tell.
    case corrupt(format: ImageFormat, offset: Int?, detail: String)
    /// Legal, but built to be expensive to decode.
    case overLimit(format: ImageFormat, detail: String)
    /// The codec could not get its working memory.
    case outOfMemory(format: ImageFormat, width: Int, height: Int)
    /// Width, height and pixels handed over do not belong together.
    case invalidImage(width: Int, height: Int, bytes: Int)
    /// A preprocessing parameter makes no sense.
    case invalidParameter(name: String, expected: String, got: String)
}

extension ImageInputError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .unreadable(let path, let reason):
            "cannot read '\(path)': \(reason); "
                + (reason.isFolder ? "name an image file in it" : reason.advice ?? "check the file")
        case .empty:
            "the image is empty (0 bytes); pass an image, such as a JPEG or PNG file"
        case .fileTooLarge(let bytes, let limit):
            "the image file has \(bytes.map(String.init) ?? "too many") bytes, the limit is \(limit); "
                + "shrink the image or raise the file size limit"
        case .unsupportedFormat(let name, let advice):
            "this is \(name), which is not decoded here; \(advice)"
        case .formatNotEnabled(let format):
            "this is \(format.imageName), and \(format) is not among the formats allowed here; add "
                + ".\(format.optionName) to LoadOptions.imageFormats, or convert the image to JPEG or PNG"
        case .formatNotBuilt(let format):
            "this is \(format.imageName), and this program was built without \(format); build it with the "
                + "package trait \(format.trait ?? "\(format)"), or convert the image to JPEG or PNG"
        case .unknownFormat(let start):
            "not an image: the content begins with \(start); pass an image, such as a JPEG or PNG file"
        case .unsupportedVariant(let format, let detail):
            "\(format) variant not supported: \(detail); save the image as an ordinary 8-bit \(format)"
        case .missingLibrary(let format, let advice):
            "this is \(format.imageName), and a system library that decodes \(format) is missing; \(advice)"
        case .sideTooLong, .tooManyPixels, .tooMuchMemory, .overLimit, .outOfMemory:
            sizeDescription
        case .truncated(let format, let offset, let fileBytes, let detail):
            "truncated \(format) at byte \(offset) of \(fileBytes): \(detail); "
                + "fetch or copy the file again, or use what there is of it (--allow-truncated, "
                + "LoadOptions.allowsTruncatedImages)"
        case .corrupt(let format, let offset, let detail):
            "damaged \(format)\(offset.map { " near byte \($0)" } ?? ""): \(detail); "
                + "fetch the file again or re-save the image"
        case .invalidImage(let width, let height, let bytes):
            "an RGB image of \(width)x\(height) does not have \(bytes) bytes; "
                + "pass width * height * 3 bytes with both sides at least 1"
        case .invalidParameter(let name, let expected, let got):
            "image preprocessing: '\(name)' is \(got); pass \(expected)"
        }
    }

    private static func subject(_ format: ImageFormat?) -> String {
        format.map { "the \($0) header says" } ?? "the pixels are"
    }

    private var sizeDescription: String {
        switch self {
        case .sideTooLong(let format, let width, let height, let limit):
            "\(Self.subject(format)) \(width)x\(height), the longest side allowed is \(limit); "
                + "shrink the image or raise the side limit"
        case .tooManyPixels(let format, let width, let height, let limit):
            "\(Self.subject(format)) \(width)x\(height), more than the \(limit) pixels allowed; "
                + "shrink the image or raise the pixel limit"
        case .tooMuchMemory(let format, let width, let height, let bytes, let limit):
            "decoding this \(format.map { "\($0)" } ?? "picture") of \(width)x\(height) takes \((bytes + 1_048_575) >> 20) MiB, more than the "
                + "\(limit >> 20) MiB allowed; save it as an ordinary baseline JPEG, shrink it or raise the limit"
        case .overLimit(let format, let detail):
            "refused \(format): \(detail); re-save the image with an ordinary encoder"
        case .outOfMemory(let format, let width, let height):
            "not enough memory to decode a \(format) of \(width)x\(height); shrink the image"
        default:
            ""
        }
    }
}
