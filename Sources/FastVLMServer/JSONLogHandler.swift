internal import Foundation
package import Logging

/// Writes each message as one line of JSON to stderr.
package struct JSONLogHandler: LogHandler {
    package var logLevel = Logger.Level.info
    package var metadata: Logger.Metadata = [:]
    private let label: String
    private let write: @Sendable (String) -> Void

    /// - Parameter write: receives each line without its end
    package init(
        label: String,
        write: @escaping @Sendable (String) -> Void = { line in
            // At once: lines of several threads must not mix. A full disk or a closed pipe loses lines, not the server.
            try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
        }
    ) {
        self.label = label
        self.write = write
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var fields = metadata.merging(event.metadata ?? [:]) { _, new in new }.mapValues { "\($0)" }
        fields["logger"] = label
        fields["time"] = FastVLMService.timestamp()
        fields["level"] = event.level.rawValue
        fields["message"] = "\(event.message)"
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let line = try? encoder.encode(fields) else { return }
        write(String(decoding: line, as: UTF8.self))
    }
}
