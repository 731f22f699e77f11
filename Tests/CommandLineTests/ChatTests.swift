import Foundation
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

@Suite("fastvlm chat")
struct ChatTests {
    private static let other = Fixture.url("models/images/image-1.png").path

    private static func chat(_ lines: [String], _ more: String...) throws -> Outcome {
        try Program.run(
            ["chat", Program.image, "--model", Program.model, "--max-tokens", "4", "--json"] + more,
            input: Data(lines.joined(separator: "\n").utf8))
    }

    @Test("A piped chat ends with 65 at an image that cannot be used, before the next question")
    func failedImage() throws {
        try Program.inFolder { folder in
            let broken = folder.appending(path: "broken.png")
            try Data(contentsOf: URL(filePath: Program.image)).prefix(60).write(to: broken)
            for name in ["/nonexistent.png", broken.path, folder.path, "data:,", "-", ""] {
                let outcome = try Self.chat(["What is this?", "/image \(name)", "And this?"])
                #expect(outcome.status == 65, "\(name): \(outcome.errors)")
                #expect(outcome.text.split(separator: "\n").count == 1, "\(name)")
                #expect(outcome.errors.contains(name.isEmpty || name == "-" ? "/image" : name.prefix(9)))
            }
        }
    }

    @Test("/drop leaves out what waits, and only that")
    func drop() throws {
        let outcome = try Self.chat(["/drop", "Who?", "/image \(Self.other)", "/drop", "/drop", "And?"])
        #expect(outcome.status == 0)
        #expect(try outcome.usage("image_tokens", line: 0) == 0)
        #expect(try outcome.usage("image_tokens", line: 1) == 0)
        #expect(outcome.errors.contains("1 image left out") && outcome.errors.contains("no image waits"))
    }

    @Test("/image takes quotes, backslashes, addresses, and several files at once")
    func names() throws {
        try Program.inFolder { folder in
            let file = folder.appending(path: "my photo.png")
            try FileManager.default.copyItem(atPath: Self.other, toPath: file.path)
            for name in [
                file.path, "'\(file.path)' ", file.path.replacing(" ", with: "\\ "), file.absoluteString,
                "data:;base64," + (try Data(contentsOf: file)).base64EncodedString(),
            ] {
                let outcome = try Self.chat(["/drop", "/image \(name)", "What?"])
                #expect(try outcome.usage("image_tokens") == 9, "\(name): \(outcome.errors)")
            }
            let both = try Self.chat(["/drop", "/image '\(file.path)' \(Program.image)", "What?"])
            #expect(try both.usage("image_tokens") == 18)
        }
    }

    @Test("/image takes what can be read once only, and an interrupt ends the wait for its writer")
    func pipes() throws {
        try Program.inFolder { folder in
            #expect(mkfifo(folder.appending(path: "pipe").path, 0o600) == 0)
            let program = "timeout -k 1 60 $fastvlm chat --model $model --max-tokens 4 --json -q"
            for (script, status) in [
                ("cat $image > pipe & printf '/image pipe\\nWhat?\\nAnd?\\n' | \(program)", 0),
                ("printf '/image /dev/fd/7\\nWhat?\\nAnd?\\n' | \(program) 7< <(cat $image)", 0),
                ("\(program) pipe <<< 'What?' & cat $image > pipe; wait $!", 0),
                (
                    "printf '/image pipe\\n' | timeout -k 40 --preserve-status -s INT 3 $fastvlm chat --model $model",
                    130
                ),
                (
                    "cat /dev/zero 2> /dev/null > pipe & printf '/image pipe\\n' | \(program) --max-file-mib 1",
                    65
                ),
            ] {
                let outcome = try Program.shell(script, in: folder)
                #expect(outcome.status == Int32(status), "\(script): \(outcome.errors)")
                if status == 0 { #expect(try outcome.usage("image_tokens") == 9, "\(script)") }
                if status == 65 { #expect(outcome.errors.contains("--max-file-mib"), "\(outcome.errors)") }
            }
        }
    }

    @Test("At a terminal: an image that fails at the question is told with the next answer")
    func failedQuestion() throws {
        try Program.inFolder { folder in
            let broken = folder.appending(path: "broken.png")
            try Data(contentsOf: URL(filePath: Program.image)).prefix(60).write(to: broken)
            let session = try TerminalSession([
                "chat", Self.other, "--model", Program.model, "--max-tokens", "4",
            ])
            try session.wait(for: "> ")
            try session.type("What?\r", waitFor: "first token")
            try session.wait(for: "> ")
            // Good when it is named, no image any more at the question.
            let image = folder.appending(path: "image.png")
            try FileManager.default.copyItem(atPath: Program.image, toPath: image.path)
            try session.type("/image \(image.path)\r", waitFor: "image.png")
            try session.wait(for: "> ")
            try Data(contentsOf: broken).write(to: image)
            try session.type("And this?\r", waitFor: "fastvlm: ")
            try session.wait(for: "> ")
            try session.type("And now?\r", waitFor: "was not read; this answer is about the earlier images")
            try session.wait(for: "first token")
            try session.wait(for: "> ")
            try session.type("\u{04}", waitFor: "")
            #expect(try session.end().status == 0)
        }
    }

    @Test("A full context names what helps")
    func fullContext() throws {
        let outcome = try Self.chat(["/image \(Self.other)", "What?"], "--context", "24")
        #expect(outcome.status == 64)
        #expect(outcome.errors.contains("/reset") && outcome.errors.contains("/drop"), "\(outcome.errors)")
    }

    @Test("Unknown commands are named; what only begins with a slash is a question")
    func unknown() throws {
        let outcome = try Self.chat(["/jump", "/usr/share is what?", "/quit", "never asked"])
        #expect(outcome.status == 0 && outcome.errors.contains("unknown command /jump"))
        #expect(outcome.text.split(separator: "\n").count == 1)
    }

    @Test(
        "At a terminal: a failed image is told with the next answer, Tab completes, arrows recall, Ctrl-D leaves"
    )
    func terminal() throws {
        try Program.inFolder { folder in
            let file = folder.appending(path: "the only öne.png")
            try FileManager.default.copyItem(atPath: Self.other, toPath: file.path)
            let session = try TerminalSession([
                "chat", Program.image, "--model", Program.model, "--max-tokens", "4", "--json",
            ])
            try session.wait(for: "> ")
            try session.type("/image /nonexistent.png\r", waitFor: "cannot read '/nonexistent.png'")
            try session.wait(for: "> ")
            // The waiting image is that of the command line: nobody is to believe that it is the new one.
            try session.type("What?\r", waitFor: "'/nonexistent.png' was not read")
            try session.wait(for: "first token")
            try session.wait(for: "> ")
            try session.type("/im\t", waitFor: "age ")
            try session.type("\(folder.path)/the\t", waitFor: "ne.png")
            try session.type("\r", waitFor: "> ")
            try session.type("And what is thös?\r", waitFor: "first token")
            try session.wait(for: "> ")
            // Arrow up: the same question again.
            try session.type("\u{1B}[A", waitFor: "And what is th")
            try session.type("\r", waitFor: "first token")
            try session.wait(for: "> ")
            try session.type("\u{04}", waitFor: "")
            let outcome = try session.end()
            #expect(outcome.status == 0)
            #expect(outcome.text.split(separator: "\n").count == 3)
            #expect(try (0..<3).map { try outcome.usage("image_tokens", line: $0) } == [9, 9, 0])
            #expect(!outcome.text.contains("> "))
        }
    }

    @Test("An interrupt at the prompt of a terminal leaves it as it was")
    func interrupted() throws {
        let session = try TerminalSession(["chat", Program.image, "--model", Program.model])
        let before = session.settings
        try session.wait(for: "> ")
        try session.type("half a quest", waitFor: "quest")
        try session.type("\u{03}", waitFor: "")
        #expect(try session.end().status == 130)
        #expect(session.settings == before)
    }
}

/// The program at a terminal, with its answers in a pipe.
private final class TerminalSession {
    private let process = Process()
    private let output = Pipe()
    private let terminal: Int32
    private let side: Int32
    private static let prompt = "> "
    /// What the terminal shows, from the last thing waited for on.
    private var shown = ""

    init(_ arguments: [String]) throws {
        var (terminal, side): (Int32, Int32) = (-1, -1)
        var size = winsize(ws_row: 40, ws_col: 250, ws_xpixel: 0, ws_ypixel: 0)
        try #require(openpty(&terminal, &side, nil, nil, &size) == 0)
        (self.terminal, self.side) = (terminal, side)
        // The program is not the terminal's foreground group, so the keys do not send signals; end() does.
        process.executableURL = try Program.url()
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging([
            "TERM": "xterm", "HOME": "/nonexistent",
        ]) {
            $1
        }
        process.standardInput = FileHandle(fileDescriptor: side, closeOnDealloc: false)
        process.standardError = FileHandle(fileDescriptor: side, closeOnDealloc: false)
        process.standardOutput = output
        try process.run()
    }

    deinit {
        close(terminal)
        close(side)
        if process.isRunning { process.terminate() }
    }

    /// What a terminal remembers of how lines are edited.
    var settings: [UInt32] {
        var settings = termios()
        tcgetattr(side, &settings)
        return [settings.c_iflag, settings.c_oflag, settings.c_lflag].map { UInt32($0) }
    }

    func type(_ text: String, waitFor answer: String) throws {
        let bytes = Array(text.utf8)
        try #require(write(terminal, bytes, bytes.count) == bytes.count)
        if text == "\u{03}" { process.interrupt() }
        try wait(for: answer)
    }

    func wait(for text: String) throws {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let end = ContinuousClock.now + .seconds(60)
        while !text.isEmpty {
            if let found = shown.range(of: text) {
                shown.removeSubrange(..<found.upperBound)
                if text == Self.prompt { try waitForEditing(until: end) }
                return
            }
            var poll = pollfd(fd: terminal, events: Int16(POLLIN), revents: 0)
            try #require(ContinuousClock.now < end && process.isRunning, "waiting for '\(text)' in: \(shown)")
            guard Glibc.poll(&poll, 1, 100) > 0 else { continue }
            let count = read(terminal, &buffer, buffer.count)
            try #require(count > 0)
            shown += String(decoding: buffer[..<count], as: UTF8.self)
        }
    }

    /// libedit shows its prompt before it takes single keys; what is typed between the two is the terminal's to
    /// understand, and Ctrl-D is then lost.
    private func waitForEditing(until end: ContinuousClock.Instant) throws {
        var settings = termios()
        while tcgetattr(side, &settings) == 0, settings.c_lflag & tcflag_t(ICANON) != 0 {
            try #require(ContinuousClock.now < end && process.isRunning, "waiting for keys")
            usleep(1000)
        }
    }

    func end() throws -> Outcome {
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Outcome(status: process.terminationStatus, signal: nil, output: data, errors: shown)
    }
}
