import Foundation
import Testing

/// The program under limits of the system: an error that says which, never a signal.
@Suite("What the system refuses is an error") struct LimitTests {
    /// Runs the program with a limit of `ulimit`, which the shell sets for it.
    private func run(_ limit: String, _ arguments: String) throws -> Outcome {
        let program = try Program.url().path
        return try Program.run(
            ["-c", "ulimit \(limit); exec '\(program)' \(arguments)"], executable: URL(filePath: "/bin/sh"))
    }

    @Test(
        "threads that the address space has no room for",
        arguments: [180_000, 230_000, 250_000, 300_000, 500_000, 800_000])
    func addressSpace(kibibytes: Int) throws {
        for threads in [64, 512] {
            let outcome = try run("-v \(kibibytes)", "info -t \(threads)")
            #expect(
                [0, 70].contains(outcome.status),
                "\(kibibytes) KiB, \(threads): \(outcome.status) \(outcome.errors)")
            #expect(
                outcome.status == 0 || outcome.errors.contains("of \(threads) threads"), "\(outcome.errors)")
        }
        #expect(try run("-v 300000", "info -t 512").status == 70)
    }

    @Test(
        "an answer on many threads in little memory",
        arguments: [500_000, 550_000, 600_000, 650_000, 700_000, 750_000, 1_000_000, 1_500_000])
    func answer(kibibytes: Int) throws {
        // The embedded model: its activations take what the stacks of 256 threads leave.
        let outcome = try run("-v \(kibibytes)", "describe -t 256 --max-tokens 2 '\(Program.image)' hello")
        #expect(
            outcome.signal == nil && [0, 70].contains(outcome.status),
            "\(kibibytes) KiB: \(outcome.status) \(outcome.errors.prefix(300))")
    }

    @Test("files that may not be opened", arguments: 4...9)
    func files(limit: Int) throws {
        let outcome = try run("-n \(limit)", "info")
        #expect([0, 70].contains(outcome.status), "\(limit) files: \(outcome.status) \(outcome.errors)")
        if limit < 8 {
            #expect(outcome.status == 70 && outcome.errors.contains("ulimit -n"), "\(outcome.errors)")
        }
    }

    @Test("more threads than any machine has are refused with the range")
    func range() throws {
        let outcome = try Program.run(["info", "-t", "1024"])
        #expect(outcome.status == 64 && outcome.errors.contains("between 1 and 512"), "\(outcome.errors)")
    }

    @Test("info says how many threads and why")
    func info() throws {
        let text = try Program.run(["info"]).text
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("threads") })
        #expect(line.contains(": ") && line.contains("physical core") && line.contains("logical"), "\(line)")
        let object = try Program.run(["info", "--json"]).text
        #expect(object.contains("physical_cores") && object.contains("logical_processors"))
    }
}
