#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

/// An image to look at. The format of a file is recognised by content; ``LoadOptions/imageFormats`` says which are
/// accepted.
///
/// ```swift
/// let answer = try await model.answer("What changed?", images: [.file(before), .data(bytesOfAfter)])
/// ```
public struct ImageSource: Sendable, Hashable {
    enum Content: Sendable, Hashable {
        case file(URL)
        case data(Data)
        case pixels(width: Int, height: Int, rgb: Data)
    }

    let content: Content
    /// What the caller calls this image; see ``keyed(_:)``.
    public private(set) var key: String?

    private init(_ content: Content) { self.content = content }

    /// A file of this machine; an address of another scheme than `file` is an error with the code `unreadableImage`.
    ///
    /// ```swift
    /// let image = ImageSource.file(URL(filePath: "photo.jpg"))
    /// ```
    public static func file(_ url: URL) -> ImageSource { ImageSource(.file(url)) }

    /// The bytes of a file.
    ///
    /// ```swift
    /// let image = ImageSource.data(try Data(contentsOf: URL(filePath: "photo.jpg")))
    /// ```
    public static func data(_ data: Data) -> ImageSource { ImageSource(.data(data)) }

    /// Pixels that need no decoding, as of a camera or a video: rows from top to bottom without gaps, each pixel a byte
    /// of red, green and blue in sRGB. They get the same answer as a PNG of them. Whether `rgb` has
    /// `width * height * 3` bytes and is within ``LoadOptions/maximumSide`` and ``LoadOptions/maximumPixels`` is checked
    /// when a question is asked (codes `invalidImage`, `imageTooLarge`).
    ///
    /// ```swift
    /// let frame = ImageSource.pixels(width: 640, height: 480, rgb: Data(count: 640 * 480 * 3))
    /// ```
    public static func pixels(width: Int, height: Int, rgb: Data) -> ImageSource {
        ImageSource(.pixels(width: width, height: height, rgb: rgb))
    }

    /// The same image under a name of the caller's, by which it is recognised without being read.
    ///
    /// Images are otherwise told apart by all bytes of their files. With a key, the model takes the caller's word: while
    /// it remembers an image of this key (``LoadOptions/rememberedImages``), it neither reads nor decodes what is given,
    /// whatever that is, and keys are shared by all requests and conversations of a model. So a key must never be used
    /// for two images, and a service must not let its users choose keys. ``VisionLanguageModel/forget()`` forgets them.
    ///
    /// ```swift
    /// let frame = ImageSource.file(URL(filePath: "frame-17.png")).keyed("lecture.mp4/frame-17")
    /// ```
    public func keyed(_ key: String) -> ImageSource {
        var image = self
        image.key = key
        return image
    }
}
