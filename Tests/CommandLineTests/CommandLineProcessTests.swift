import Foundation
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The program as a process among others: exit codes, signals, a terminal.
@Suite("The program as a process")
struct CommandLineProcessTests {
    /// A question that takes the plain kernels about a second.
    private static let longQuestion = String(repeating: "word ", count: 1500)

    @Test("A machine that lacks what was asked for exits with 70")
    func missingInstructionSet() throws {
        let outcome = try Program.run(
            ["describe", "--model", Program.model, Program.image], environment: ["FASTVLM_ISA": "abacus"])
        #expect(outcome.status == 70)
        #expect(outcome.errors.contains("abacus") && outcome.output.isEmpty)
    }

    #if os(Linux)
        @Test("A full disk exits with 74 and says so")
        func fullDisk() throws {
            let process = Process()
            process.executableURL = try Program.url()
            process.arguments = [
                "describe", "--model", Program.model, Program.image, "--max-tokens", "2", "-q",
            ]
            process.standardOutput = try FileHandle(forWritingTo: URL(filePath: "/dev/full"))
            let errors = Pipe()
            process.standardError = errors
            try process.run()
            let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            #expect(process.terminationStatus == 74)
            #expect(text.contains("cannot write to stdout"))
        }
    #endif

    @Test("An interrupt ends an answer with 130 and keeps what was written")
    func interruptedAnswer() throws {
        let process = Process()
        process.executableURL = try Program.url()
        process.arguments = [
            "describe", "--model", Program.model, Program.image, "--max-tokens", "8000", "--context",
            "8192",
            "--temperature", "1", "--seed", "1", "--json", "--stream", "-q",
        ]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        // The first line is there: the program is in the middle of its answer.
        #expect(!output.fileHandleForReading.availableData.isEmpty)
        process.interrupt()
        _ = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        #expect(process.terminationReason == .exit && process.terminationStatus == 130)
    }

    @Test("An interrupt ends a chat that waits for a question with 130")
    func interruptedWait() throws {
        let process = Process()
        process.executableURL = try Program.url()
        process.arguments = [
            "chat", Program.image, "--model", Program.model, "--max-tokens", "2", "--json", "-q",
        ]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data("What?\n".utf8))
        #expect(!output.fileHandleForReading.availableData.isEmpty)
        // Whether the interrupt comes just before or while it waits, it must end.
        process.interrupt()
        process.waitUntilExit()
        #expect(process.terminationReason == .exit && process.terminationStatus == 130)
        try input.fileHandleForWriting.close()
    }

    @Test("Progress shows on a terminal, is cleared before the answer, and never reaches stdout")
    func progress() throws {
        var (terminal, side): (Int32, Int32) = (-1, -1)
        try #require(openpty(&terminal, &side, nil, nil, nil) == 0)
        let process = Process()
        process.executableURL = try Program.url()
        process.arguments = [
            "describe", "--model", Program.model, "--precision", "float32", "--max-tokens", "2", "--prompt",
            Self.longQuestion,
        ]
        process.environment = ProcessInfo.processInfo.environment.merging(["FASTVLM_ISA": "scalar"]) { $1 }
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle(fileDescriptor: side, closeOnDealloc: false)
        try process.run()
        close(side)
        // Reading ends with an error once the program has closed its side.
        var shown = Data()
        var buffer = [UInt8](repeating: 0, count: 4096)
        while case let count = read(terminal, &buffer, buffer.count), count > 0 {
            shown.append(contentsOf: buffer[..<count])
        }
        close(terminal)
        let answer = String(
            decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        let text = String(decoding: shown, as: UTF8.self)
        let last = try #require(text.range(of: "reading the prompt", options: .backwards))
        #expect(text[last.upperBound...].contains(" %\r\u{1B}[K"))
        #expect(!answer.contains("reading the prompt") && !answer.isEmpty)
    }
}
