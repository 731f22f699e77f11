internal import StrictJSON

/// What a file of a checkpoint turns out to hold instead of what its name promises, with what helps.
///
/// Downloads that went wrong leave files of the right name: the pointer that Git LFS keeps in place of a large file, the
/// page or the error that a server answered with, an archive that was never unpacked. A reader asks here before it
/// parses, so that the message names the cause and not the first byte that broke a rule.
package enum ForeignContent: Sendable, Equatable {
    /// What the reader is about to parse.
    package enum Expected: Sendable {
        case json, safetensors, text
    }

    case empty
    /// Nothing but zero bytes in the part that was looked at.
    case zeros
    /// Git LFS's pointer; the size is that of the real file, where the pointer gives it.
    case gitLFSPointer(bytes: Int?)
    case webPage
    /// An XML document, as object stores answer with.
    case xml
    /// A JSON object with an `error`, as the Hugging Face hub answers with.
    case serverError(String)
    /// A few words of plain text, such as "Entry not found".
    case plainText(String)
    case zip
    case pickle
    case gguf
    case gzip
    case hdf5
    case numpy
    case utf16
    case byteOrderMark

    /// Recognises the content of a file.
    /// - Parameters:
    ///   - bytes: the whole file; only its beginning is read, and at most 64 KiB are parsed.
    ///   - expected: what the file should be.
    /// - Returns: nil where the bytes may be what is expected.
    package init?(_ bytes: UnsafeRawBufferPointer, expected: Expected) {
        guard let first = bytes.first else {
            self = .empty
            return
        }
        // The length at the beginning of a weights file may look like any signature.
        if expected == .safetensors, Self.hasHeader(bytes) { return nil }
        let head = UnsafeRawBufferPointer(rebasing: bytes.prefix(Self.headLength))
        if first == 0, head.allSatisfy({ $0 == 0 }) {
            self = .zeros
        } else if let known = Self.signature(head, expected: expected) {
            self = known
        } else if let document = Self.document(head, whole: bytes, expected: expected) {
            self = document
        } else {
            return nil
        }
    }

    private static let headLength = 4096
    /// Error documents are short.
    private static let documentLimit = 64 << 10

    // MARK: Recognising

    /// A length below 4 GiB, and behind it the brace that begins the header.
    private static func hasHeader(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count > 8 && bytes[4..<8].allSatisfy { $0 == 0 } && bytes[8] == UInt8(ascii: "{")
    }

    private static func signature(
        _ head: UnsafeRawBufferPointer, expected: Expected
    ) -> ForeignContent? {
        func begins(_ bytes: [UInt8]) -> Bool { head.starts(with: bytes) }
        if begins([0xFF, 0xFE]) || begins([0xFE, 0xFF]) { return .utf16 }
        if begins([0xEF, 0xBB, 0xBF]) {
            let rest = UnsafeRawBufferPointer(rebasing: head.dropFirst(3))
            return markup(rest, expected: expected) ?? .byteOrderMark
        }
        if begins([0x50, 0x4B, 0x03, 0x04]) || begins([0x50, 0x4B, 0x05, 0x06]) { return .zip }
        if begins([0x1F, 0x8B]) { return .gzip }
        if begins(Array("GGUF".utf8)) || begins(Array("ggml".utf8)) { return .gguf }
        if begins([0x89, 0x48, 0x44, 0x46, 0x0D, 0x0A]) { return .hdf5 }
        if begins([0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]) { return .numpy }
        // Protocols 2 to 5.
        if head.count >= 2, head[0] == 0x80, (2...5).contains(head[1]) { return .pickle }
        if begins(Array("version https://git-lfs.github.com/spec/".utf8)) {
            return .gitLFSPointer(bytes: pointerSize(head))
        }
        return markup(head, expected: expected)
    }

    /// Something that begins with a tag. A list of merges may begin with such a character too.
    private static func markup(
        _ head: UnsafeRawBufferPointer, expected: Expected
    ) -> ForeignContent? {
        guard let start = head.firstIndex(where: { !isSpace($0) }), head[start] == UInt8(ascii: "<") else {
            return nil
        }
        let text = String(decoding: head[start...].prefix(512), as: UTF8.self).lowercased()
        let isPage = ["<!doctype html", "<html", "<head", "<body", "<script"].contains { text.contains($0) }
        if isPage { return .webPage }
        return expected != .text || text.hasPrefix("<?xml") ? .xml : nil
    }

    private static func pointerSize(_ head: UnsafeRawBufferPointer) -> Int? {
        for line in String(decoding: head, as: UTF8.self).split(separator: "\n") where line.hasPrefix("size ")
        {
            return Int(line.dropFirst("size ".count))
        }
        return nil
    }

    /// A server's JSON error, or a few words.
    private static func document(
        _ head: UnsafeRawBufferPointer, whole: UnsafeRawBufferPointer, expected: Expected
    ) -> ForeignContent? {
        guard whole.count <= documentLimit, let start = head.firstIndex(where: { !isSpace($0) }) else {
            return nil
        }
        switch head[start] {
        case UInt8(ascii: "{"):
            guard expected != .text,
                case .object(let object)? = try? JSONParser.parse(
                    whole, limits: JSONLimits(depth: 8, elements: 1000, members: 1000)),
                let reason = serverError(object)
            else { return nil }
            return .serverError(reason)
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            guard expected != .text, whole.count <= headLength, isSentence(head[start...]) else {
                return nil
            }
            return .plainText(excerpt(String(decoding: head[start...], as: UTF8.self)))
        default: return nil
        }
    }

    /// The reason in an object of few members of which one is an error; no file of a checkpoint has such a member.
    private static func serverError(_ object: JSONObject) -> String? {
        guard object.members.count <= 8, object["model_type"] == nil, object["weight_map"] == nil else {
            return nil
        }
        switch object["error"] {
        case .string(let text)?: return excerpt(text)
        case .object(let nested)?: return excerpt(nested["message"]?.string ?? "no reason given")
        default: return nil
        }
    }

    /// Printable words with a space between two letters: neither JSON nor the header of a weights file.
    private static func isSentence(_ bytes: Slice<UnsafeRawBufferPointer>) -> Bool {
        guard let text = String(validating: bytes, as: UTF8.self) else { return false }
        let words = text.split(whereSeparator: \.isWhitespace)
        return words.count >= 2 && words.contains { $0.allSatisfy(\.isLetter) && $0.count > 1 }
            && text.unicodeScalars.allSatisfy { $0.value >= 0x20 || $0 == "\n" || $0 == "\r" || $0 == "\t" }
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
    }

    private static func excerpt(_ text: String) -> String {
        let line = text.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
        return line.unicodeScalars.count <= 120
            ? line : String(String.UnicodeScalarView(line.unicodeScalars.prefix(120))) + "…"
    }
}

extension ForeignContent {
    /// What the file is, as the end of "the file is …".
    package var what: String {
        switch self {
        case .empty: "empty"
        case .zeros: "nothing but zero bytes, as an interrupted download leaves it"
        case .gitLFSPointer(let bytes):
            "a Git LFS pointer in place of the file" + (bytes.map { " of \($0) bytes" } ?? "")
        case .webPage: "a web page (HTML)"
        case .xml: "an XML document, probably a server's error message"
        case .serverError(let reason): "a server's error message: \"\(reason)\""
        case .plainText(let text): "plain text: \"\(text)\""
        case .zip: "a zip archive, or a PyTorch file that was renamed"
        case .pickle: "a Python pickle (PyTorch's old format)"
        case .gguf: "a GGUF file"
        case .gzip: "a gzip archive"
        case .hdf5: "an HDF5 file"
        case .numpy: "a NumPy array"
        case .utf16: "text in UTF-16"
        case .byteOrderMark: "text with a byte order mark"
        }
    }

    /// What helps, as the end of a sentence.
    package var advice: String {
        switch self {
        case .empty, .zeros: "fetch the file again"
        case .gitLFSPointer:
            "run \"git lfs install\" and \"git lfs pull\" in the folder, or fetch the file from the repository's page"
        case .webPage, .xml:
            "fetch the file itself: on the Hugging Face hub its address has \"resolve\" where the page's has \"blob\""
        case .serverError, .plainText:
            "fetch the file again; if the repository is restricted, accept its terms and log in first "
                + "(\"hf auth login\")"
        case .zip, .gzip: "unpack the archive; weights in PyTorch's format must be converted to safetensors"
        case .pickle: ForeignWeights.pytorchAdvice
        case .gguf: ForeignWeights.ggufAdvice
        case .hdf5, .numpy: "use the checkpoint's safetensors files"
        case .utf16, .byteOrderMark: "save the file as UTF-8 without a byte order mark"
        }
    }
}

/// Weights of other formats, by the names of their files.
package enum ForeignWeights {
    static let pytorchAdvice =
        "convert to safetensors once with transformers: load the folder with from_pretrained and write it with "
        + "save_pretrained"
    static let ggufAdvice =
        "GGUF is not supported; use the checkpoint that it was made of, in safetensors"

    private static let endings = [
        ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".npz", ".onnx", ".mlpackage", ".h5", ".msgpack", ".ggml",
    ]
    /// Files of these endings that hold no weights.
    private static let exceptions = ["training_args.bin", "scheduler.pt", "optimizer.pt", "rng_state.pth"]

    /// Those of `names` that hold weights of another format.
    package static func among(_ names: [String]) -> [String] {
        names.filter { name in
            let name = name.lowercased()
            return !exceptions.contains(name) && endings.contains { name.hasSuffix($0) }
        }
    }

    /// What to do with a folder that has only these.
    package static func advice(_ names: [String]) -> String {
        func any(_ endings: String...) -> Bool {
            names.contains { name in endings.contains { name.lowercased().hasSuffix($0) } }
        }
        if any(".bin", ".pt", ".pth", ".ckpt") {
            return "these are PyTorch files (pickle), which can run code when read; "
                + pytorchAdvice
        }
        if any(".gguf", ".ggml") { return ggufAdvice }
        return "use the checkpoint's safetensors files, or convert the weights to safetensors"
    }
}
