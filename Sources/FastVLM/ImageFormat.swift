internal import ImageInput

extension LoadOptions {
    /// A kind of image file.
    ///
    /// ```swift
    /// options.imageFormats = LoadOptions.ImageFormat.web.union([.bmp, .gif])
    /// ```
    public enum ImageFormat: String, Sendable, Hashable, CaseIterable, Codable {
        case jpeg
        case png
        /// Of an animation the first frame.
        case webp
        /// The netpbm formats PBM, PGM and PPM.
        case portableAnymap
        /// The first picture. Built with the package trait `GIF`.
        case gif
        case bmp
        /// The first page. Built with the package trait `TIFF`.
        case tiff
        /// The primary image. Built with the package trait `HEIF`.
        case heic
        /// The primary image. Built with the package trait `HEIF`.
        case avif

        /// JPEG, PNG, WebP and PPM: what browsers send, read by decoders that have long been hardened.
        public static let web: Set<ImageFormat> = named(ImageInput.ImageFormat.web)

        /// Every format that this build can decode.
        public static let built: Set<ImageFormat> = named(ImageInput.ImageFormat.allCases.filter(\.isBuilt))

        /// The usual endings of file names, without the dot.
        public var fileExtensions: [String] {
            switch self {
            case .jpeg: ["jpg", "jpeg"]
            case .portableAnymap: ["ppm", "pgm", "pbm", "pnm"]
            case .tiff: ["tif", "tiff"]
            case .heic: ["heic", "heif"]
            case .png, .webp, .gif, .bmp, .avif: [rawValue]
            }
        }

        var decoded: ImageInput.ImageFormat {
            switch self {
            case .jpeg: .jpeg
            case .png: .png
            case .webp: .webp
            case .portableAnymap: .portableAnymap
            case .gif: .gif
            case .bmp: .bmp
            case .tiff: .tiff
            case .heic: .heic
            case .avif: .avif
            }
        }

        private static func named(_ formats: some Collection<ImageInput.ImageFormat>) -> Set<ImageFormat> {
            Set(allCases.filter { formats.contains($0.decoded) })
        }
    }
}
