public import Foundation

/// What people write for an image: a path as a shell, a file manager or a browser gives it, or the image itself.
public enum ImageReference: Sendable, Hashable {
    /// `-`
    case standardInput
    /// The bytes of a path; there may be nothing there.
    case file([UInt8])
    /// The bytes of a `data:` URI.
    case data(Data)
    /// An address of the web.
    case web(URL)

    /// What a text stands for. A file that is called exactly so goes before every other reading. Else these are
    /// understood: `data:`, `file:`, `http:` and `https:` addresses; `~` and `~name` at the beginning; quotes around
    /// the whole or parts, and backslashes before single characters, as when a file is dragged into a terminal.
    /// - Parameters:
    ///   - limit: most bytes of a `data:` URI
    ///   - exists: whether there is something at a path
    public init(
        _ text: String, limit: Int, exists: ([UInt8]) -> Bool = Self.exists
    ) throws(InputError) {
        guard text != "-" else {
            self = .standardInput
            return
        }
        guard !text.isEmpty else { throw InputError("the name of an image is empty; name a file") }
        let literal = ByteText.bytes(text)
        guard !exists(literal) else {
            self = .file(literal)
            return
        }
        let unquoted = ShellWords.unquoted(text)
        for candidate in [text, unquoted].compactMap({ $0 }) {
            if let address = try Self.address(candidate, limit: limit) {
                self = address
                return
            }
        }
        let paths = [HomeFolder.expanding(text), unquoted, unquoted.flatMap(HomeFolder.expanding)]
            .compactMap { $0 }.map(ByteText.bytes)
        // What is not there is named as it was written, but for the home folder.
        self = .file(paths.first(where: exists) ?? HomeFolder.expanding(text).map(ByteText.bytes) ?? literal)
    }

    /// Whether there is something at a path; a link that leads nowhere is.
    public static func exists(_ path: [UInt8]) -> Bool {
        FileNames.exists(path)
    }

    /// Whether a text begins as an address does that is understood here.
    static func hasScheme(_ text: String) -> Bool {
        ["data:", "file:", "http://", "https://"].contains { text.lowercased().hasPrefix($0) }
    }

    private static func address(_ text: String, limit: Int) throws(InputError) -> ImageReference? {
        let start = text.prefix(8).lowercased()
        if start.hasPrefix("data:") { return .data(try DataAddress.bytes(text, limit: limit)) }
        if start.hasPrefix("file:") { return .file(try path(ofFileAddress: text)) }
        if start.hasPrefix("http://") || start.hasPrefix("https://") {
            return .web(try WebAddress.checked(text))
        }
        if let scheme = text.firstMatch(of: #/^([A-Za-z][A-Za-z0-9+.\-]*):\/\//#)?.1 {
            throw InputError("'\(scheme)://' is not understood; use a path, file://, https:// or data:")
        }
        return nil
    }

    /// `file:///a%20b`, `file:/a`, `file://localhost/a`.
    private static func path(ofFileAddress text: String) throws(InputError) -> [UInt8] {
        var rest = Substring(text).dropFirst("file:".count)
        if rest.hasPrefix("//") {
            rest = rest.dropFirst(2)
            let host = rest.prefix { $0 != "/" }
            guard host.isEmpty || host.lowercased() == "localhost" else {
                throw InputError(
                    "'\(ByteText.shown(text))' is a file of the machine '\(host)'; copy it here or use https://"
                )
            }
            rest = rest.dropFirst(host.count)
        }
        guard rest.hasPrefix("/"), let path = PercentEncoding.decoded(ByteText.bytes(String(rest))),
            !path.contains(0)
        else {
            throw InputError("'\(ByteText.shown(text))' is not a file address; write file:///folder/name.jpg")
        }
        return path
    }
}

/// `%20` and its like.
enum PercentEncoding {
    /// - Returns: nil where a percent sign is not followed by two hexadecimal digits.
    static func decoded(_ text: some Collection<UInt8>) -> [UInt8]? {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var iterator = text.makeIterator()
        while let byte = iterator.next() {
            guard byte == UInt8(ascii: "%") else {
                result.append(byte)
                continue
            }
            guard let high = iterator.next().flatMap(digit), let low = iterator.next().flatMap(digit) else {
                return nil
            }
            result.append(high << 4 | low)
        }
        return result
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// `data:image/png;base64,…`
enum DataAddress {
    static func bytes(_ text: String, limit: Int) throws(InputError) -> Data {
        guard let comma = text.firstIndex(of: ",") else {
            throw InputError("the data: URI has no comma before its data; write data:image/png;base64,…")
        }
        let kind = text[..<comma].lowercased()
        let payload = text[text.index(after: comma)...]
        // Percent signs make it three times as long at most, base64 four thirds.
        guard payload.utf8.count / 4 <= limit else { throw tooLong(limit) }
        guard var bytes = PercentEncoding.decoded(payload.utf8) else {
            throw InputError(
                "the data: URI has a percent sign without two hexadecimal digits; encode it again")
        }
        if kind.hasSuffix(";base64") {
            bytes.removeAll { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
            for index in bytes.indices {
                // The alphabet of addresses and file names.
                if bytes[index] == UInt8(ascii: "-") { bytes[index] = UInt8(ascii: "+") }
                if bytes[index] == UInt8(ascii: "_") { bytes[index] = UInt8(ascii: "/") }
            }
            while !bytes.count.isMultiple(of: 4) { bytes.append(UInt8(ascii: "=")) }
            guard let decoded = Data(base64Encoded: Data(bytes)) else {
                throw InputError("the data: URI does not hold base64 after its comma; encode it again")
            }
            guard decoded.count <= limit else { throw tooLong(limit) }
            return decoded
        }
        guard bytes.count <= limit else { throw tooLong(limit) }
        return Data(bytes)
    }

    private static func tooLong(_ limit: Int) -> InputError {
        InputError("the data: URI holds more than \(limit) bytes; raise the file size limit or name a file")
    }
}
