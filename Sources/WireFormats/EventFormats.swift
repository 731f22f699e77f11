package import Foundation

/// How answers become bytes.
package enum WireText {
    /// JSON with its keys in alphabetical order, so that the same answer has the same bytes.
    package static func json(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return try encoder.encode(value)
    }

    /// One server-sent event.
    package static func event(_ value: some Encodable) throws -> Data {
        var data = Data("data: ".utf8)
        data.append(try json(value))
        data.append(contentsOf: "\n\n".utf8)
        return data
    }

    /// What ends OpenAI's streams.
    package static let done = Data("data: [DONE]\n\n".utf8)

    /// A line that clients of server-sent events skip; it keeps the connection from looking dead.
    package static func comment(_ text: String) -> Data { Data(": \(text)\n\n".utf8) }

    /// One line of a stream of JSON objects.
    package static func line(_ value: some Encodable) throws -> Data {
        var data = try json(value)
        data.append(UInt8(ascii: "\n"))
        return data
    }
}
