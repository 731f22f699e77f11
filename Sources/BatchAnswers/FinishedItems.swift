internal import StrictJSON
package import SystemFiles
internal import WireFormats

/// What the output of an earlier run has.
package struct FinishedItems: Sendable {
    private var keys = ItemKeySet()
    package private(set) var count = 0
    /// Those of them that have an error instead of an answer.
    package private(set) var failed = 0

    package init() {}

    func contains(_ key: ItemKey) -> Bool { keys.contains(key) }

    /// Bytes of the longest line of an answer.
    package static let longestLine = 256 << 20

    /// What every line of an answer begins with.
    static let beginning = Array(#"{"id":"#.utf8)

    /// Reads an output, and cuts off the half line that an interruption may have left at its end.
    /// - Throws: `OutputError` for a file that is no such output, which is left as it is.
    package init(of file: LineFile, isCancelled: () -> Bool = { false }) throws {
        func refusal(_ line: Int) -> OutputError {
            OutputError.refused(
                path: file.name, reason: "its line \(line) is not the answer of a batch",
                advice: "name the output of an earlier run, or a new file")
        }
        var reader = try file.lines(limit: Self.longestLine)
        var end = 0
        while let line = try reader.next(isCancelled: isCancelled) {
            guard let bytes = line.bytes else { throw refusal(line.number) }
            let value = try? bytes.withUnsafeBytes { try JSONParser.parse($0, limits: Self.limits) }
            guard line.isWhole else {
                // Half a line begins as all of ours do, and is no other program's whole one.
                let beginning = Self.beginning.prefix(bytes.count)
                guard bytes.starts(with: beginning), value.map(Self.isAnswer) ?? true else {
                    throw refusal(line.number)
                }
                break
            }
            guard let value, Self.isAnswer(value), let key = Self.key(value) else {
                throw refusal(line.number)
            }
            if keys.insert(key) { count += 1 }
            if let error = value["error"], !error.isNull { failed += 1 }
            end = line.end
        }
        try file.cut(to: end)
    }

    /// Log-probabilities make many values.
    private static let limits = JSONLimits(depth: 64, elements: 1 << 24, members: 4096)

    private static func isAnswer(_ value: JSONValue) -> Bool {
        guard value["line"]?.integer != nil, value["id"] != nil, key(value) != nil else { return false }
        return value["text"]?.string != nil || value["response"] != nil || value["error"]?.object != nil
    }

    private static func key(_ value: JSONValue) -> ItemKey? {
        guard let line = value["line"]?.integer else { return nil }
        let id = value["custom_id"] ?? value["id"]
        if let text = id?.string { return .id(text) }
        if let number = id?.integer { return .id("\(number)") }
        return id?.isNull == true ? .line(line) : nil
    }
}
