/// Finds stop strings in text that arrives in pieces, and holds back what might still become one.
package struct StopMatcher {
    static let most = 64
    static let longest = 4096

    private let stops: [[UInt8]]
    private var held: [UInt8] = []

    /// - Throws: `GenerationError.invalidOption` for an empty stop string.
    package init(_ stops: [String]) throws(GenerationError) {
        guard !stops.contains("") else {
            throw .invalidOption(name: "stop", expected: "a string that is not empty", got: "\"\"")
        }
        // Looked for after every token, beside other requests.
        guard stops.count <= Self.most, stops.allSatisfy({ $0.utf8.count <= Self.longest }) else {
            throw .invalidOption(
                name: "stop", expected: "at most \(Self.most) strings of at most \(Self.longest) bytes",
                got: "\(stops.count), the longest of \(stops.map(\.utf8.count).max() ?? 0)")
        }
        self.stops = stops.map { Array($0.utf8) }
    }

    /// - Parameter text: the next piece; whole characters.
    /// - Returns: text that is safe to show, and whether a stop string ended it (the string itself is not shown).
    package mutating func append(_ text: String) -> (text: String, stopped: Bool) {
        guard !stops.isEmpty else { return (text, false) }
        held += Array(text.utf8)
        var end: Int?
        for stop in stops {
            if let found = Self.firstIndex(of: stop, in: held) { end = min(end ?? found, found) }
        }
        if let end {
            let shown = String(decoding: held[..<end], as: UTF8.self)
            held = []
            return (shown, true)
        }
        let keep = stops.reduce(0) { max($0, Self.overlap(held, $1)) }
        let shown = String(decoding: held[..<(held.count - keep)], as: UTF8.self)
        held.removeFirst(held.count - keep)
        return (shown, false)
    }

    /// What was held back when generation ends otherwise.
    package mutating func finish() -> String {
        defer { held = [] }
        return String(decoding: held, as: UTF8.self)
    }

    private static func firstIndex(of needle: [UInt8], in haystack: [UInt8]) -> Int? {
        guard haystack.count >= needle.count else { return nil }
        return (0...(haystack.count - needle.count)).first {
            haystack[$0..<($0 + needle.count)].elementsEqual(needle)
        }
    }

    /// Length of the longest end of `text` that is a beginning of `stop`.
    private static func overlap(_ text: [UInt8], _ stop: [UInt8]) -> Int {
        var length = min(text.count, stop.count - 1)
        while length > 0 {
            if text[(text.count - length)...].elementsEqual(stop[..<length]) { return length }
            length -= 1
        }
        return 0
    }
}
