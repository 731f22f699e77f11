/// Which arguments are images, and which is the question.
public enum Question {
    /// Whether the last of several arguments is an image rather than the question about the others.
    ///
    /// A misspelt name must not become a question: the answer would be about the wrong images. So everything that
    /// looks like a path or ends like an image is one; a question that does can be given with `--prompt`.
    ///
    /// - It is `-`, or there is a file of that name.
    /// - It begins with `data:`, `file:`, `http://` or `https://` and has no white space.
    /// - It ends in the extension of an image: "missing.gif", "my photo.JPG".
    /// - It begins with `/`, `./`, `../`, `~/`, or a drive such as `C:\`.
    /// - It has no white space and no question or exclamation mark at its end, and holds a slash or backslash, begins
    ///   with `~` or `.`, or ends in the extension of another kind of file: "photos/b", "notes.txt". "3/4?" is a
    ///   question, and so is "What is 3/4".
    /// - Parameter exists: whether there is something at a path
    public static func isImage(
        _ argument: String, exists: (String) -> Bool = Question.exists
    ) -> Bool {
        if argument == "-" { return true }
        let hasSpace = argument.contains(where: \.isWhitespace)
        if !hasSpace, ImageReference.hasScheme(argument) { return true }
        if exists(argument) { return true }
        // As it would be without the quotes or the space that a terminal adds.
        var text = Substring(argument)
        while let last = text.last, "'\" ".contains(last) { text.removeLast() }
        while let first = text.first, "'\" ".contains(first) { text.removeFirst() }
        if imageExtensions.contains(fileExtension(text)) { return true }
        if ["/", "./", "../", "~/", ".\\", "..\\"].contains(where: text.hasPrefix)
            || text.prefixMatch(of: #/[A-Za-z]:\\/#) != nil
        {
            return true
        }
        guard !hasSpace, let last = text.last, !"?!？！؟;".contains(last) else { return false }
        return text.contains("/") || text.contains("\\") || text.hasPrefix("~") || text.hasPrefix(".")
            || otherExtensions.contains(fileExtension(text))
    }

    /// Whether there is a file that a text names, however it is written.
    public static func exists(_ text: String) -> Bool {
        if FileNames.exists(ByteText.bytes(text)) { return true }
        guard case .file(let path)? = try? ImageReference(text, limit: 0) else { return false }
        return FileNames.exists(path)
    }

    /// Whether an argument that was taken for options is rather the name of a file.
    public static func isFileTakenForOption(_ argument: String) -> Bool {
        argument.count > 1 && argument.hasPrefix("-") && !argument.contains("=")
            && (imageExtensions.contains(fileExtension(argument[...]))
                || argument != "--" && FileNames.exists(ByteText.bytes(argument)))
    }

    /// Extensions of images, whether they can be decoded here or not.
    public static let imageExtensions: Set<String> = [
        "jpg", "jpeg", "jpe", "jfif", "pjpeg", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff",
        "heic",
        "heif", "hif", "avif", "jxl", "jp2", "j2k", "jpx", "ico", "cur", "svg", "svgz", "eps", "ppm", "pgm",
        "pbm", "pnm", "pam", "pfm", "qoi", "dds", "tga", "psd", "xcf", "exr", "hdr", "dng", "cr2", "cr3",
        "nef",
        "arw", "orf", "rw2", "raf", "pcx", "xpm", "xbm",
    ]

    /// Extensions of what else people have in their folders.
    private static let otherExtensions: Set<String> = [
        "pdf", "txt", "md", "html", "htm", "json", "xml", "csv", "tsv", "doc", "docx", "xls", "xlsx", "ppt",
        "pptx",
        "odt", "zip", "gz", "tar", "rar", "7z", "mp4", "mov", "mkv", "avi", "webm", "m4v", "mp3", "wav",
        "safetensors", "bin", "pt", "gguf", "partial", "part", "crdownload", "tmp", "bak",
    ]

    private static func fileExtension(_ text: Substring) -> String {
        guard let dot = text.lastIndex(of: ".") else { return "" }
        return text[text.index(after: dot)...].lowercased()
    }
}
