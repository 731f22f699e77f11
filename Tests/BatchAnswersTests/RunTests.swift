import Foundation
import Synchronization
import SystemFiles
import Testing

@testable import BatchAnswers

@Suite("A batch runs through")
struct RunTests {
    private func lines(_ count: Int, extra: String = "") -> String {
        (0..<count).map { "{\"id\":\($0),\"question\":\"\($0)\(extra)\"}\n" }.joined()
    }

    /// Runs a batch whose items take as long as `work` does, which gets their lines.
    private func run(
        _ run: BatchRun, _ lines: String, inFlight: Peak = Peak(),
        work: @escaping @Sendable (Int) async throws -> Void = { _ in }, written: (Int) -> Void = { _ in }
    ) async throws -> (names: [String], counts: BatchCounts) {
        try await withSource(lines) { source in
            var names: [String] = []
            let counts = try await run.run(source) { item in
                inFlight.enter()
                defer { inFlight.leave() }
                try await work(item.line)
                return try .made(item)
            } write: { record, counts in
                names.append("\(record.object["id"] ?? "")")
                #expect(counts.written == names.count)
                written(names.count)
            }
            return (names, counts)
        }
    }

    /// Holds all who come until there are `count` of them.
    private final class Meeting: Sendable {
        private let state: Mutex<(missing: Int, waiting: [CheckedContinuation<Void, Never>])>

        init(of count: Int) { state = Mutex((count, [])) }

        func join() async {
            await withCheckedContinuation { one in
                let complete = state.withLock { state in
                    state.missing -= 1
                    state.waiting.append(one)
                    guard state.missing <= 0 else { return [CheckedContinuation<Void, Never>]() }
                    defer { state.waiting = [] }
                    return state.waiting
                }
                for waiting in complete { waiting.resume() }
            }
        }
    }

    /// What was written, in order.
    private final class Written: Sendable {
        private let names = Mutex<[String]>([])

        func add(_ record: BatchRecord) { names.withLock { $0.append("\(record.object["id"] ?? "")") } }
        var all: [String] { names.withLock { $0 } }
    }

    /// Counts what is worked on at once.
    private final class Peak: Sendable {
        private let state = Mutex((now: 0, most: 0))

        func enter() {
            state.withLock { state in
                state.now += 1
                state.most = max(state.most, state.now)
            }
        }

        func leave() { state.withLock { $0.now -= 1 } }
        var most: Int { state.withLock { $0.most } }
    }

    @Test(
        "In order, however long each takes; as many at once as the window, no more", .timeLimit(.minutes(10)),
        arguments: [1, 3, 8])
    func ordered(_ window: Int) async throws {
        let peak = Peak(), meeting = Meeting(of: window)
        var run = BatchRun()
        run.window = window
        let result = try await self.run(run, lines(40), inFlight: peak) { line in
            if line <= window { await meeting.join() }
            try await Task.sleep(for: .milliseconds(line * 7 % 5))
        }
        #expect(result.names == (0..<40).map(String.init))
        #expect(result.counts.written == 40 && result.counts.tokens == 80 && result.counts.failed == 0)
        #expect(peak.most == window)
    }

    @Test("Or as they finish", .timeLimit(.minutes(10)))
    func unordered() async throws {
        // The first item and the 19th record that is written.
        let meeting = Meeting(of: 2)
        var run = BatchRun()
        run.isOrdered = false
        run.window = 4
        let result = try await self.run(run, lines(20)) { line in
            if line == 1 { await meeting.join() }
        } written: { count in
            if count == 19 { Task { await meeting.join() } }
        }
        #expect(result.names.last == "0" && Set(result.names).count == 20)
    }

    @Test("Lines beyond the memory wait, one at least goes on", .timeLimit(.minutes(10)))
    func memory() async throws {
        let peak = Peak(), meeting = Meeting(of: 2)
        var run = BatchRun()
        run.memory = 1000
        let extra = String(repeating: "x", count: 600)
        let result = try await self.run(run, lines(12, extra: extra), inFlight: peak) { line in
            if line <= 2 { await meeting.join() }
        }
        #expect(result.names.count == 12 && peak.most == 2)
        run.memory = 1
        let alone = Peak()
        #expect(try await self.run(run, lines(5), inFlight: alone).names.count == 5)
        #expect(alone.most == 1)
    }

    @Test("Answers come while the input waits for them")
    func conversation() async throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { close(ends[0]) }
        let writing = ends[1]
        @Sendable func ask(_ number: Int) {
            let line = Array("{\"id\":\(number),\"question\":\"?\"}\n".utf8)
            #expect(write(writing, line, line.count) == line.count)
        }
        let source = BatchSource(.lines(LineReader(descriptor: ends[0], limit: 100), size: nil))
        ask(0)
        var answered = 0
        let counts = try await BatchRun().run(source) {
            try .made($0)
        } write: { _, _ in
            answered += 1
            // The next question depends on the answer to the last one.
            if answered < 4 { ask(answered) } else { close(writing) }
        }
        #expect(counts.written == 4)
    }

    @Test("What cannot be written ends the run")
    func writing() async throws {
        struct Full: Error {}
        var written = 0
        await #expect(throws: Full.self) {
            _ = try await withSource(lines(40)) { source in
                try await BatchRun().run(source) {
                    try .made($0)
                } write: { _, _ in
                    if written == 5 { throw Full() }
                    written += 1
                }
            }
        }
        #expect(written == 5)
    }

    @Test("Cancelled, it ends soon, and what was written is the beginning")
    func cancelled() async throws {
        let written = Written()
        try await withSource(lines(40)) { source in
            let task = Task {
                try await BatchRun().run(source) { item in
                    if item.line > 10 { try await Task.sleep(for: .seconds(60)) }
                    return try .made(item)
                } write: { record, _ in
                    written.add(record)
                }
            }
            while written.all.count < 10 { try await Task.sleep(for: .milliseconds(1)) }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
        }
        #expect(written.all == (0..<10).map(String.init))
    }

    @Test("Cancelled while it waits for a pipe")
    func cancelledReading() async throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let reading = ends[0]
        let source = BatchSource(.lines(LineReader(descriptor: reading, limit: 100), size: nil))
        let task = Task {
            try await BatchRun().run(source) {
                try .made($0)
            } write: { _, _ in
            }
        }
        try await Task.sleep(for: .milliseconds(20))
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        // Its thread looks at it ten times a second, until then the pipe must stay.
        try await Task.sleep(for: .milliseconds(300))
        for end in ends { close(end) }
    }

    @Test("An input that fails ends the run after what came before")
    func unreadable() async throws {
        // A folder opens, and cannot be read.
        let folder = open("/", O_RDONLY)
        defer { close(folder) }
        let source = BatchSource(.lines(LineReader(descriptor: folder, limit: 100), size: nil))
        await #expect(throws: BoundedFile.ReadError.self) {
            _ = try await BatchRun().run(source) {
                try .made($0)
            } write: { _, _ in
            }
        }
    }
}

@Suite("How far a batch is")
struct ProgressTests {
    @Test("A bar, counts, the rate and the time left")
    func line() {
        var progress = BatchProgress(size: 1000)
        progress.counts.written = 11
        progress.counts.failed = 1
        progress.counts.skipped = 40
        progress.counts.start = 400
        progress.counts.position = 500
        progress.counts.seconds = 22
        let line = progress.line(columns: 120)
        #expect(
            line.hasPrefix("[###############---------------] 50 % · 11 done · 40 there already · 1 failed · ")
        )
        // 10 items took 20 seconds and a hundred units; five hundred are left.
        #expect(line.hasSuffix("30.0 per minute · 1:40 left"), "\(line)")
        #expect(progress.line(columns: 20).count < 20)
        let unknown = BatchProgress(size: nil)
        #expect(unknown.fraction == nil && unknown.secondsLeft == nil)
        #expect(unknown.line(columns: 80) == "0 done · 0.0 per second")
    }

    @Test("Rates and times as people say them")
    func texts() {
        #expect(BatchProgress.text(rate: 123.4) == "123 per second")
        #expect(BatchProgress.text(rate: 12.34) == "12.3 per second")
        #expect(BatchProgress.text(rate: 0.5) == "30.0 per minute")
        #expect(BatchProgress.text(rate: 0.001) == "3.6 per hour")
        #expect(BatchProgress.text(seconds: 59.6) == "1:00" && BatchProgress.text(seconds: 7265) == "2:01:05")
        #expect(BatchProgress.text(seconds: .infinity) == "277777:46:40")
    }
}
