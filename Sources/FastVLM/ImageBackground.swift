internal import ImageInput

/// What shows behind the transparent pixels of an image.
///
/// ```swift
/// options.background = .color(red: 0x1E, green: 0x90, blue: 0xFF)
/// ```
public enum ImageBackground: Sendable, Hashable, CustomStringConvertible {
    case color(red: UInt8, green: UInt8, blue: UInt8)
    /// Transparency is dropped and the colours that it hides show, as in the reference (Pillow's `convert("RGB")`):
    /// often black text on black.
    case drop

    public static let white = ImageBackground.color(red: 255, green: 255, blue: 255)
    public static let black = ImageBackground.color(red: 0, green: 0, blue: 0)

    /// `white`, `black`, `drop` or `#rrggbb`; nil for anything else.
    ///
    /// ```swift
    /// options.background = ImageBackground("#1e90ff") ?? .white
    /// ```
    public init?(_ text: String) {
        switch text.lowercased() {
        case "white": self = .white
        case "black": self = .black
        case "drop": self = .drop
        default:
            let digits = text.dropFirst()
            guard text.hasPrefix("#"), digits.utf8.count == 6, digits.allSatisfy(\.isHexDigit),
                let value = UInt32(digits, radix: 16)
            else { return nil }
            self = .color(
                red: UInt8(value >> 16), green: UInt8(value >> 8 & 255), blue: UInt8(value & 255))
        }
    }

    /// As it is read: `white`, `black`, `drop` or `#rrggbb`.
    public var description: String {
        switch self {
        case .white: return "white"
        case .black: return "black"
        case .drop: return "drop"
        case .color(let red, let green, let blue):
            let digits = [red, green, blue].map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
            return "#" + digits.joined()
        }
    }

    var option: ImageOptions.Background {
        switch self {
        case .color(let red, let green, let blue): .color(RGBColor(red: red, green: green, blue: blue))
        case .drop: .drop
        }
    }
}

extension LoadOptions {
    var imageLimits: ImageLimits {
        ImageLimits(
            pixels: maximumPixels, fileBytes: maximumFileBytes, side: maximumSide, memory: maximumImageBytes,
            formats: Set(imageFormats.map(\.decoded)))
    }

    var imageOptions: ImageOptions {
        ImageOptions(
            background: background.option, referenceDepth: usesReferenceDepth,
            allowsTruncated: allowsTruncatedImages, ignoresColorProfile: ignoresColorProfiles,
            appliesOrientation: appliesOrientation)
    }
}
