/// How a file becomes a picture where Pillow and a person's expectation differ. The defaults are the
/// person's; ``reference`` is Pillow's `convert("RGB")`.
package struct ImageOptions: Equatable, Sendable {
    /// What lies behind transparent pixels.
    package enum Background: Equatable, Sendable {
        case color(RGBColor)
        /// Transparency is dropped and the colours below it show, as in Pillow's `convert("RGB")`.
        case drop

        package static let white = Background.color(RGBColor(red: 255, green: 255, blue: 255))
        package static let black = Background.color(.black)
    }

    package var background: Background
    /// Grey of more than 8 bits is clipped at 255, as in Pillow's `convert("RGB")`, instead of scaled.
    package var referenceDepth: Bool
    /// Pixels that are missing or damaged become grey, with a remark, instead of an error.
    package var allowsTruncated: Bool
    /// Colours are taken as sRGB whatever the file's colour profile says.
    package var ignoresColorProfile: Bool
    /// Turn the picture upright as its EXIF or XMP orientation says. Apple's script does not.
    package var appliesOrientation: Bool

    package init(
        background: Background = .white, referenceDepth: Bool = false, allowsTruncated: Bool = false,
        ignoresColorProfile: Bool = false, appliesOrientation: Bool = true
    ) {
        self.background = background
        self.referenceDepth = referenceDepth
        self.allowsTruncated = allowsTruncated
        self.ignoresColorProfile = ignoresColorProfile
        self.appliesOrientation = appliesOrientation
    }

    package static let standard = ImageOptions()

    /// Pillow's `Image.open(…).convert("RGB")`, with `ImageOps.exif_transpose` before it when the orientation
    /// is applied.
    package static let reference = ImageOptions(
        background: .drop, referenceDepth: true, ignoresColorProfile: true)
}
