package import Foundation

/// The parts of a `multipart/form-data` body.
package struct MultipartForm: Sendable, Equatable {
    package struct Part: Sendable, Equatable {
        package let name: String
        package let fileName: String?
        package let data: Data
    }

    package let parts: [Part]

    /// The first part of a name.
    package func part(_ name: String) -> Part? { parts.first { $0.name == name } }

    /// The text of the first part of a name; nil where there is none, or it is not UTF-8.
    /// - Throws: `RequestError` for what is not UTF-8.
    package func text(_ name: String) throws(RequestError) -> String? {
        guard let part = part(name) else { return nil }
        guard let text = String(bytes: part.data, encoding: .utf8) else {
            throw RequestError("\(name) is not UTF-8", parameter: name)
        }
        return text
    }

    static let mostParts = 64
    static let longestHead = 4096

    /// - Parameters:
    ///   - contentType: of the request, with its boundary
    ///   - body: of the request, whole
    /// - Throws: `RequestError` for what is no such body.
    package init(contentType: String, body: Data) throws(RequestError) {
        guard contentType.hasASCIIPrefix("multipart/form-data"),
            let boundary = Self.parameter("boundary", of: contentType), (1...70).contains(boundary.utf8.count)
        else {
            throw RequestError("the body must be multipart/form-data with a boundary")
        }
        // With a line break before it, so that the first delimiter is like the others.
        let delimiter = Data(("\r\n--" + boundary).utf8)
        guard body.starts(with: delimiter.dropFirst(2)) else {
            throw RequestError("the form does not begin with its boundary")
        }
        var parts: [Part] = []
        var position = body.startIndex + delimiter.count - 2
        while true {
            // After a delimiter: "--" ends the form, a line break begins a part.
            let rest = body[position...]
            if rest.starts(with: Data("--".utf8)) { break }
            guard rest.starts(with: Data("\r\n".utf8)) else {
                throw RequestError("a boundary of the form is followed by something else than a line break")
            }
            guard parts.count < Self.mostParts else {
                throw RequestError("the form has more than \(Self.mostParts) parts")
            }
            let start = position + 2
            let headLimit = min(start + Self.longestHead, body.endIndex)
            guard let head = body[start..<headLimit].range(of: Data("\r\n\r\n".utf8)) else {
                throw RequestError("a part of the form has no head of at most \(Self.longestHead) bytes")
            }
            guard let end = body[(head.upperBound - 2)...].range(of: delimiter) else {
                throw RequestError("the form ends early")
            }
            parts.append(
                try Self.part(
                    head: body[start..<head.lowerBound],
                    data: body[head.upperBound..<max(end.lowerBound, head.upperBound)]))
            position = end.upperBound
        }
        self.parts = parts
    }

    private static func part(head: Data, data: Data) throws(RequestError) -> Part {
        guard let text = String(bytes: head, encoding: .utf8) else {
            throw RequestError("the head of a part of the form is not UTF-8")
        }
        for line in text.components(separatedBy: "\r\n") where line.hasASCIIPrefix("content-disposition:") {
            guard let name = parameter("name", of: line) else { break }
            return Part(name: name, fileName: parameter("filename", of: line), data: data)
        }
        throw RequestError("a part of the form has no name")
    }

    /// The value of `; name=value` or `; name="value"`.
    private static func parameter(_ name: String, of header: String) -> String? {
        for piece in header.split(separator: ";").dropFirst() {
            let pair = piece.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2,
                pair[0].trimmingCharacters(in: .whitespaces).lowercased() == name
            else { continue }
            let value = pair[1].trimmingCharacters(in: .whitespaces)
            return value.count >= 2 && value.hasPrefix("\"") && value.hasSuffix("\"")
                ? String(value.dropFirst().dropLast()) : value
        }
        return nil
    }
}
