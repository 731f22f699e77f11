import ArgumentParser
import BatchAnswers
import CommandInput
import Foundation
import SystemFiles

/// What the items of a batch are read from.
struct BatchInputFile {
    let input: BatchSource.Input
    /// For messages.
    let name: String
    /// Where relative paths of images begin.
    let folder: String
    /// What the output must not be.
    let identities: [FileIdentity]

    /// - Parameters:
    ///   - argument: the file of lines; nil and `-` are stdin
    ///   - images: a folder in place of lines
    /// - Throws: `CommandFailure`, `ValidationError`.
    init(argument: String?, images: String?, question: String, lineLimit: Int) throws {
        if let images {
            name = "'\(images)'"
            folder = images
            identities = []
            do {
                let folder = try ImageFolder(images, endings: Question.imageExtensions) { path, reason in
                    Terminal.note("note: '\(path)' is left out: \(reason)")
                }
                input = .images(folder, question: question)
            } catch {
                throw CommandFailure(
                    error.reason.isExhaustion ? .system : .usage,
                    "cannot read '\(images)': \(error.reason); \(error.reason.advice ?? "name a folder")")
            }
            return
        }
        guard let argument, argument != "-" else {
            guard !Terminal.inputIsTerminal else {
                throw ValidationError("Name a file of JSON lines, pipe them into stdin, or take --images.")
            }
            name = "stdin"
            folder = "."
            identities = [FileIdentity(descriptor: STDIN_FILENO)].compactMap { $0 }
            input = Self.lines(STDIN_FILENO, lineLimit)
            return
        }
        name = "'\(argument)'"
        let descriptor = open(argument, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            let reason = SystemReason.last
            throw CommandFailure(
                reason.isExhaustion ? .system : .usage,
                "cannot read '\(argument)': \(reason); \(reason.advice ?? "check the path")")
        }
        var information = stat()
        guard fstat(descriptor, &information) == 0, information.st_mode & S_IFMT != S_IFDIR else {
            throw CommandFailure(
                .usage, "cannot read '\(argument)': it is a folder; --images takes a folder of images")
        }
        folder = parent(of: argument)
        identities = [FileIdentity(descriptor: descriptor)].compactMap { $0 }
        input = Self.lines(descriptor, lineLimit)
    }

    private static func lines(_ descriptor: Int32, _ limit: Int) -> BatchSource.Input {
        var information = stat()
        let isFile = fstat(descriptor, &information) == 0 && information.st_mode & S_IFMT == S_IFREG
        return .lines(
            LineReader(descriptor: descriptor, limit: limit), size: isFile ? Int(information.st_size) : nil)
    }
}

/// Where the records of a batch go. For one task.
final class BatchOutput {
    /// What an earlier run has left in it.
    let finished: FinishedItems
    /// nil for stdout.
    private let file: LineFile?

    /// - Throws: `CommandFailure` with the status `output`, for a file that is no output of a batch too.
    init(_ name: String, inputs: [FileIdentity], resumes: Bool) throws {
        guard name != "-", name != "/dev/stdout" else {
            file = nil
            finished = FinishedItems()
            return
        }
        guard !ByteText.hasForeignBytes(name) else {
            throw CommandFailure(
                .output, "cannot write '\(ByteText.shown(name))': the name is not UTF-8; choose another name")
        }
        do {
            let file = try LineFile(name, inputs: inputs, keeping: resumes)
            finished = resumes ? try FinishedItems(of: file) { Task.isCancelled } : FinishedItems()
            self.file = file
        } catch let error as OutputError {
            throw CommandFailure(error)
        } catch let error as BoundedFile.ReadError {
            throw CommandFailure(.output, "cannot read '\(name)': \(error.reason)")
        }
    }

    var canResume: Bool { file != nil }
    /// Whether records appear where people look.
    var isTerminal: Bool { file == nil && isatty(STDOUT_FILENO) == 1 }

    func write(_ record: BatchRecord) throws {
        try record.line.withUnsafeBytes { bytes in
            if let file { try file.append(bytes) } else { try Terminal.answer(bytes) }
        }
    }

    func synchronize() throws { try file?.synchronize() }

    func discardIfUnused() { file?.discardIfUnused() }
}

/// What is told of a batch on stderr: a bar at a terminal, a line at the end. For one task.
final class BatchDisplay {
    private var progress: BatchProgress
    private let isQuiet: Bool
    private let showsBar: Bool
    private let canResume: Bool
    private var shown: ContinuousClock.Instant?
    private var isVisible = false
    private var ignored: Set<String> = []

    /// Fields that nobody reads are told by their names, so many of them.
    private static let mostNames = 20

    init(size: Int?, output: BatchOutput, verbosity: VerbosityOptions) {
        progress = BatchProgress(size: size)
        canResume = output.canResume
        isQuiet = verbosity.quiet
        showsBar = !verbosity.quiet && Terminal.errorIsTerminal && !output.isTerminal
    }

    func update(_ record: BatchRecord, _ counts: BatchCounts) {
        progress.counts = counts
        if !isQuiet { note(record.ignored) }
        guard showsBar else { return }
        let now = ContinuousClock.now
        if let shown, now - shown < .milliseconds(100) { return }
        shown = now
        isVisible = true
        Terminal.note(
            "\r\u{1B}[K" + progress.line(columns: Terminal.errorColumns), terminator: "")
    }

    private func note(_ names: [String]) {
        for name in names where ignored.count < Self.mostNames && ignored.insert(name).inserted {
            erase()
            Terminal.note("note: the field '\(name)' is not read")
        }
    }

    private func erase() {
        if isVisible { Terminal.note("\r\u{1B}[K", terminator: "") }
        isVisible = false
    }

    func finish(_ counts: BatchCounts) {
        erase()
        guard !isQuiet else { return }
        progress.counts = counts
        Terminal.note(summary)
    }

    func interrupted() {
        erase()
        guard !isQuiet else { return }
        Terminal.note(summary + "; interrupted" + (canResume ? ", --resume goes on" : ""))
    }

    private var summary: String {
        let counts = progress.counts
        var words = ["\(counts.written - counts.failed) answered"]
        if counts.failed > 0 { words.append("\(counts.failed) failed") }
        if counts.skipped > 0 { words.append("\(counts.skipped) there already") }
        return words.joined(separator: ", ")
            + " in \(BatchProgress.text(seconds: counts.seconds)): \(BatchProgress.text(rate: progress.rate)), "
            + "\(counts.tokens) tokens"
    }
}

extension Terminal {
    /// Of the terminal that stderr is.
    static var errorColumns: Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }
}
