import ArgumentParser
import FastVLM
import Foundation
import Synchronization
import SystemFiles

/// The three streams that a process is born with.
enum StandardStreams {
    /// Occupies those that are closed: else the next file that is opened becomes stdout, and the answer ends up in it.
    /// Opened the wrong way round, so that using them is still an error.
    static func reserve() {
        for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) < 0 {
            // The lowest free number, which is this one.
            _ = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
        }
        // A file larger than the limit is an error of writing, not the end of the program.
        signal(SIGXFSZ, SIG_IGN)
    }
}

/// Writing to the two streams: the answer to stdout, everything else to stderr.
enum Terminal {
    enum Stream: Int32 {
        case output = 1
        case errors = 2
    }

    /// - Throws: `CommandFailure` with the status `output` when the stream cannot be written, as on a full disk.
    static func answer(_ text: String, terminator: String = "", to stream: Stream = .output) throws {
        try Array((text + terminator).utf8).withUnsafeBytes { try answer($0, to: stream) }
    }

    /// - Throws: as for text.
    static func answer(_ bytes: UnsafeRawBufferPointer, to stream: Stream = .output) throws {
        var written = 0
        while written < bytes.count {
            let count = write(stream.rawValue, bytes.baseAddress.map { $0 + written }, bytes.count - written)
            if count < 0 {
                if errno == EINTR { continue }
                // Whoever read it has seen enough, also where the parent made this program ignore the signal.
                if errno == EPIPE, stream == .output {
                    signal(SIGPIPE, SIG_DFL)
                    raise(SIGPIPE)
                }
                let name = stream == .output ? "stdout" : "stderr"
                throw CommandFailure(.output, "cannot write to \(name): \(SystemReason.last)")
            }
            written += count
        }
    }

    /// Nobody can be told when stderr cannot be written.
    static func note(_ text: String, terminator: String = "\n") {
        try? answer(text, terminator: terminator, to: .errors)
    }

    static let errorIsTerminal = isatty(STDERR_FILENO) == 1
    static let inputIsTerminal = isatty(STDIN_FILENO) == 1

    /// Says once, when the embedded model looks at images, what it has never seen and what to use instead.
    static func noteLimits(of model: VisionLanguageModel, images: Bool, verbosity: VerbosityOptions) {
        guard images, model.information.isEmbedded, !verbosity.quiet else { return }
        note(
            "The embedded model has seen drawn pictures and typeset text only; for photographs, download a "
                + "published checkpoint (fastvlm pull fastvlm-0.5b) and name it with --model.")
    }

    /// One line of JSON on stdout, keys sorted.
    static func json(_ value: some Encodable, pretty: Bool = false, to stream: Stream = .output) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
        encoder.keyEncodingStrategy = .convertToSnakeCase
        try answer(String(decoding: try encoder.encode(value), as: UTF8.self), terminator: "\n", to: stream)
    }

    /// Whether the program waits for a line of stdin, which cancelling a task does not interrupt.
    private static let isReading = Mutex(false)

    /// Runs what waits for a line, so that a signal can end the program meanwhile.
    static func waiting<Result>(_ body: () throws -> Result) rethrows -> Result {
        isReading.withLock { $0 = true }
        defer { isReading.withLock { $0 = false } }
        return try body()
    }

    /// The next line of stdin; nil at its end.
    static func line() -> String? { waiting { readLine() } }

    /// Ends the program if it waits for a line.
    static func leaveIfReading(_ signal: Int32) {
        guard isReading.withLock({ $0 }) else { return }
        LineEditor.restoreTerminal()
        note("")
        exit(128 + signal)
    }
}

/// A progress line on stderr, shown only on a terminal and only when the work takes a moment.
final class ProgressLine: Sendable {
    private struct State { var shown = false; var percent = -1 }

    private let label: String
    private let enabled: Bool
    private let start = ContinuousClock.now
    private let state = Mutex(State())

    init(_ label: String, enabled: Bool) {
        self.label = label
        self.enabled = enabled && Terminal.errorIsTerminal
    }

    func update(_ fraction: Double) {
        guard enabled, ContinuousClock.now - start > .milliseconds(200) else { return }
        let percent = Int((fraction * 100).rounded(.down))
        state.withLock { state in
            guard percent != state.percent else { return }
            state.percent = percent
            state.shown = true
            Terminal.note("\r\(label) \(percent) %", terminator: "")
        }
    }

    func clear() {
        state.withLock { state in
            if state.shown { Terminal.note("\r\u{1B}[K", terminator: "") }
            state.shown = false
        }
    }
}

/// Stdin up to its end.
/// - Throws: `CommandFailure` when it cannot be read or holds more than `limit` bytes.
func readStandardInput(limit: Int) throws -> Data {
    do {
        return Data(try BoundedFile.read(descriptor: STDIN_FILENO, limit: limit))
    } catch  where error.isTooLarge {
        throw CommandFailure(.image, "stdin holds more than \(limit >> 20) MiB")
    } catch {
        throw CommandFailure(.image, "cannot read stdin: \(error.reason)")
    }
}

/// One line that says where the time went.
func summary(_ answer: Answer) -> String {
    let timings = answer.timings
    func milliseconds(_ seconds: Double) -> String {
        String(format: seconds < 0.01 ? "%.1f" : "%.0f", seconds * 1000)
    }
    var parts = [
        "first token \(milliseconds(timings.timeToFirstToken)) ms = decode \(milliseconds(timings.decodeImage))"
            + " + resize \(milliseconds(timings.preprocess)) + encode \(milliseconds(timings.encode))"
            + " + project \(milliseconds(timings.project)) + prefill \(milliseconds(timings.prefill))",
        "\(answer.usage.imageTokens) visual + \(answer.usage.promptTokens - answer.usage.imageTokens) text tokens",
    ]
    if answer.usage.cachedTokens > 0 { parts.append("\(answer.usage.cachedTokens) kept") }
    if !timings.perToken.isEmpty {
        parts.append(
            "\(answer.usage.completionTokens) tokens, \(String(format: "%.1f", timings.tokensPerSecond)) per second"
        )
    }
    return parts.joined(separator: " · ")
}

extension Terminal {
    /// Whether somebody is there to answer a question.
    static let canAsk = inputIsTerminal && errorIsTerminal

    /// A question that takes yes for an answer, and everything else for no.
    static func confirms(_ question: String) -> Bool {
        note("\(question) [y/N] ", terminator: "")
        return ["y", "yes"].contains(line()?.trimmingCharacters(in: .whitespaces).lowercased() ?? "")
    }
}
