import ArgumentParser
import FastVLM
import Foundation
import Synchronization

/// Writing to the two streams: the answer to stdout, everything else to stderr.
enum Terminal {
    /// - Throws: `ExitCode` 74 when stdout cannot be written, as on a full disk.
    static func answer(_ text: String, terminator: String = "") throws {
        do {
            try FileHandle.standardOutput.write(contentsOf: Data((text + terminator).utf8))
        } catch {
            note("fastvlm: cannot write to stdout: \(error.localizedDescription)")
            throw ExitCode(74)
        }
    }

    /// Nobody can be told when stderr cannot be written.
    static func note(_ text: String, terminator: String = "\n") {
        try? FileHandle.standardError.write(contentsOf: Data((text + terminator).utf8))
    }

    static let errorIsTerminal = isatty(STDERR_FILENO) == 1
    static let inputIsTerminal = isatty(STDIN_FILENO) == 1

    /// Says once, when the embedded model looks at images, what it has never seen and what to use instead.
    static func noteLimits(of model: VisionLanguageModel, images: Bool, verbosity: VerbosityOptions) {
        guard images, model.information.isEmbedded, !verbosity.quiet else { return }
        note(
            "The embedded model has seen drawn pictures and typeset text only; for photographs, download a "
                + "published checkpoint and name its folder with --model.")
    }

    /// One line of JSON on stdout, keys sorted.
    static func json(_ value: some Encodable, pretty: Bool = false) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
        encoder.keyEncodingStrategy = .convertToSnakeCase
        try answer(String(decoding: try encoder.encode(value), as: UTF8.self), terminator: "\n")
    }

    /// Whether the program waits for a line of stdin, which cancelling a task does not interrupt.
    private static let isReading = Mutex(false)

    /// The next line of stdin; nil at its end.
    static func line() -> String? {
        isReading.withLock { $0 = true }
        defer { isReading.withLock { $0 = false } }
        return readLine()
    }

    /// Ends the program if it waits for a line.
    static func leaveIfReading() {
        guard isReading.withLock({ $0 }) else { return }
        note("")
        exit(130)
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

/// Runs a command's work so that Ctrl-C cancels it and every error ends in its documented exit code.
func running(_ work: @escaping @Sendable () async throws -> Void) async throws {
    signal(SIGINT, SIG_IGN)
    let task = Task { try await work() }
    let source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
    source.setEventHandler {
        task.cancel()
        Terminal.leaveIfReading()
    }
    source.resume()
    defer { source.cancel() }
    do {
        try await task.value
        if task.isCancelled { throw ExitCode(130) }
    } catch is CancellationError {
        throw ExitCode(130)
    } catch let error as FastVLMError {
        Terminal.note("fastvlm: \(error)")
        switch error.kind {
        case .request: throw ExitCode(64)
        case .image: throw ExitCode(65)
        case .model: throw ExitCode(69)
        case .system: throw ExitCode(70)
        }
    }
}

/// Images named on the command line; `-` is stdin, once.
/// - Parameter fileLimit: most bytes that the decoder accepts.
func imageSources(_ names: [String], fileLimit: Int) throws -> [ImageSource] {
    guard names.filter({ $0 == "-" }).count <= 1 else {
        throw ValidationError("Only one image can come from stdin.")
    }
    return try names.map { name in
        guard name == "-" else { return .file(URL(filePath: name)) }
        guard !Terminal.inputIsTerminal else {
            throw ValidationError(
                "'-' reads an image from stdin, but stdin is a terminal; pipe a file into it.")
        }
        return .data(try readStandardInput(limit: fileLimit))
    }
}

/// Stdin up to its end, or `limit` + 1 bytes of it, by which the reader sees that there are too many.
func readStandardInput(limit: Int) throws -> Data {
    var data = Data()
    do {
        while data.count <= limit,
            let chunk = try FileHandle.standardInput.read(upToCount: min(1 << 20, limit + 1 - data.count)),
            !chunk.isEmpty
        {
            data.append(chunk)
        }
    } catch {
        Terminal.note("fastvlm: cannot read stdin: \(error.localizedDescription)")
        throw ExitCode(65)
    }
    return data
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
