package import Foundation

/// An image as a request gives it.
package enum ImageReference: Sendable, Hashable {
    /// The bytes of a file, of whatever format.
    case data(Data)
    /// An address that would have to be fetched.
    case address(String)
    /// The path of a file of this machine; only where whoever asks may name files.
    case file(String)

    /// Reads what an `image_url` holds: a `data:` address, an address of the web, or bare base64. What type a `data:`
    /// address names does not matter: images are recognised by their content.
    /// - Parameter files: whether it may be a path or a `file:` address; bare base64 is then what begins as an image does
    /// - Throws: `RequestError` for a path that may not be named, and for damaged base64.
    package init(url: String, parameter: String, files: Bool = false) throws(RequestError) {
        if url.hasASCIIPrefix("data:") {
            guard let comma = url.utf8.firstIndex(of: UInt8(ascii: ",")),
                url.utf8[..<comma].suffix(7).elementsEqual(";base64".utf8)
            else {
                throw RequestError(
                    "\(parameter) is a data address without base64; write data:image/png;base64,…",
                    parameter: parameter)
            }
            self = try Self.base64(url[url.index(after: comma)...], parameter: parameter)
        } else if url.hasASCIIPrefix("https://") || url.hasASCIIPrefix("http://") {
            self = .address(url)
        } else if files, !Self.isImageInBase64(url) {
            self = .file(try Self.path(url, parameter: parameter))
        } else {
            self = try Self.base64(url[...], parameter: parameter)
        }
    }

    /// Whether a text is base64 of an image rather than a path: it begins as JPEG, PNG, GIF, WebP, BMP, TIFF, netpbm, HEIC
    /// or AVIF do in base64, is longer than a hash, and has no dot, as names of images have.
    private static func isImageInBase64(_ text: String) -> Bool {
        let beginnings = ["/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "Qk", "SUkq", "TU0A", "UD", "AAAA"]
        return text.utf8.count >= 90 && beginnings.contains(where: text.hasPrefix)
            && !text.utf8.contains(UInt8(ascii: "."))
    }

    private static func path(_ text: String, parameter: String) throws(RequestError) -> String {
        var path = text
        if text.hasASCIIPrefix("file:") {
            guard let url = URL(string: text), url.isFileURL,
                ["", "localhost"].contains(url.host(percentEncoded: false) ?? "")
            else {
                throw RequestError(
                    "\(parameter) is no address of a file of this machine; write file:///folder/name.jpg",
                    parameter: parameter)
            }
            path = url.path(percentEncoded: false)
        }
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw RequestError("\(parameter) is no path", parameter: parameter)
        }
        return path
    }

    /// Reads base64, as Ollama's clients send it; a `data:` address is taken too.
    package init(base64 text: String, parameter: String) throws(RequestError) {
        self =
            try text.hasASCIIPrefix("data:")
            ? ImageReference(url: text, parameter: parameter)
            : Self.base64(text[...], parameter: parameter)
    }

    private static func base64(
        _ text: Substring, parameter: String
    ) throws(RequestError) -> ImageReference {
        guard let data = Base64.decode(text), !data.isEmpty else {
            throw RequestError(
                "\(parameter) is neither base64 nor an address that begins with data: or https://",
                parameter: parameter)
        }
        return .data(data)
    }
}

extension String {
    /// Whether it begins with an ASCII text, in whatever case.
    package func hasASCIIPrefix(_ prefix: StaticString) -> Bool {
        prefix.withUTF8Buffer { prefix in
            let start = utf8.prefix(prefix.count)
            return start.count == prefix.count
                && zip(start, prefix).allSatisfy { ($0 >= 65 && $0 <= 90 ? $0 | 32 : $0) == $1 }
        }
    }
}

/// Base64 as clients write it: either alphabet, with or without padding and line breaks.
package enum Base64 {
    /// - Returns: nil for anything else.
    package static func decode(_ text: Substring) -> Data? {
        var text = text
        return text.withUTF8 { decode($0) }
    }

    private static func decode(_ text: UnsafeBufferPointer<UInt8>) -> Data? {
        var bytes = [UInt8](repeating: 0, count: text.count / 4 * 3 + 3)
        let count = table.withUnsafeBufferPointer { table in
            bytes.withUnsafeMutableBufferPointer { bytes in decode(text, table, into: bytes) }
        }
        return count.map { Data(bytes[..<$0]) }
    }

    /// - Parameter bytes: has room for three bytes of every four characters, and three more
    private static func decode(
        _ text: UnsafeBufferPointer<UInt8>, _ table: UnsafeBufferPointer<UInt8>,
        into bytes: UnsafeMutableBufferPointer<UInt8>
    ) -> Int? {
        var count = 0
        var (word, held, padding): (UInt32, Int, Int) = (0, 0, 0)
        for character in text {
            let value = table[Int(character)]
            if value == space { continue }
            if value == pad {
                padding += 1
                continue
            }
            guard value < 64, padding == 0 else { return nil }
            word = word << 6 | UInt32(value)
            held += 1
            guard held == 4 else { continue }
            bytes[count] = UInt8(truncatingIfNeeded: word >> 16)
            bytes[count + 1] = UInt8(truncatingIfNeeded: word >> 8)
            bytes[count + 2] = UInt8(truncatingIfNeeded: word)
            count += 3
            (word, held) = (0, 0)
        }
        // One character alone holds six bits only.
        guard held != 1, padding == 0 || held + padding == 4 else { return nil }
        if held > 1 {
            bytes[count] = UInt8(truncatingIfNeeded: word >> (held == 2 ? 4 : 10))
            count += 1
        }
        if held > 2 {
            bytes[count] = UInt8(truncatingIfNeeded: word >> 2)
            count += 1
        }
        return count
    }

    private static let pad: UInt8 = 64
    private static let space: UInt8 = 65

    /// The value of each character; 255 for those that base64 does not have.
    private static let table: [UInt8] = {
        var table = [UInt8](repeating: 255, count: 256)
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        for (value, character) in letters.utf8.enumerated() { table[Int(character)] = UInt8(value) }
        table[Int(UInt8(ascii: "-"))] = 62
        table[Int(UInt8(ascii: "_"))] = 63
        table[Int(UInt8(ascii: "="))] = pad
        for character in " \t\r\n".utf8 { table[Int(character)] = space }
        return table
    }()
}
