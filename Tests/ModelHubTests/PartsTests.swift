import Foundation
import Synchronization
import TestSupport
import Testing

@testable import ModelHub

@Suite("A large file in parts")
struct PartsTests {
    private static let weights = LocalHub.Conduct.weights
    private static let digits = LocalHub.hash(weights, large: true).digits

    /// A model whose weights come in six parts, the last one being shorter.
    private static func with(
        _ change: (inout LocalHub.Conduct) -> Void = { _ in }, _ body: (Machine) async throws -> Void
    ) async throws {
        var conduct = LocalHub.Conduct.model
        conduct.files = conduct.files.filter { ["config.json", "model.safetensors"].contains($0.key) }
        change(&conduct)
        try await Machine.with(conduct) { machine in
            var machine = machine
            machine.partBytes = 55_000
            try await body(machine)
        }
    }

    private static func expectComplete(_ machine: Machine) throws {
        let got = try Data(contentsOf: machine.snapshot.appending(path: "model.safetensors"))
        #expect(got == weights)
        let blobs = try FileManager.default.contentsOfDirectory(
            atPath: machine.models.appending(path: "blobs").path)
        #expect(blobs.allSatisfy { !$0.hasSuffix(".incomplete") }, "\(blobs)")
    }

    private static func blob(_ machine: Machine, _ suffix: String) throws -> URL {
        let blobs = machine.models.appending(path: "blobs")
        try FileManager.default.createDirectory(at: blobs, withIntermediateDirectories: true)
        return blobs.appending(path: digits + suffix)
    }

    @Test("is asked for part by part, and transfers no byte twice, over cuts too", arguments: [0, 20])
    func cuts(count: Int) async throws {
        try await Self.with { machine in
            let pull = try machine.pull()
            let plan = try await pull.plan()
            let before = machine.hub.sentBytes
            machine.hub.conduct.withLock { $0.cuts = [1000] + (0..<count).map { 100 + $0 * 997 } }
            let outcome = try await pull.run(plan)
            try Self.expectComplete(machine)
            #expect(machine.hub.sentBytes - before == plan.bytes && outcome.downloaded == plan.bytes)
            let ranges = machine.hub.requests.filter { $0.host == "store" }.compactMap {
                $0.request.fields["range"]
            }
            #expect(ranges.count >= 6 + count / 2 && ranges.contains("bytes=275000-"), "\(ranges)")
            #expect(ranges.contains { $0.hasSuffix("-54999") })
        }
    }

    @Test("goes on where another process ended")
    func resumed() async throws {
        // Some of every part, then nothing until it is given up.
        let cuts = [1 << 20, 10_000, 20_000, 30_000, 40_000] + Array(repeating: 0, count: 100)
        try await Self.with({ $0.cuts = cuts }) { machine in
            #expect(await machine.failure().contains("cannot reach"))
            #expect(try machine.cache.modelFolder(machine.repository) == nil)
            machine.hub.conduct.withLock { $0.cuts = [] }
            let missing = try await machine.pull().plan().missing
            #expect((1..<Self.weights.count).contains(missing))
            #expect(try machine.cache.models().first?.unfinished ?? 0 > 0)
            let outcome = try await machine.run()
            #expect(outcome.downloaded == missing)
            try Self.expectComplete(machine)
        }
    }

    @Test("begins with what an ordinary download left")
    func beginning() async throws {
        try await Self.with { machine in
            try Self.weights.prefix(123_456).write(to: Self.blob(machine, ".incomplete"))
            let outcome = try await machine.run()
            let configuration = LocalHub.Conduct.model.files["config.json"]?.count ?? 0
            #expect(outcome.downloaded == Self.weights.count - 123_456 + configuration)
            try Self.expectComplete(machine)
        }
    }

    @Test("comes in one piece where the server gives no parts")
    func noParts() async throws {
        try await Self.with({ $0.givesParts = false }) { machine in
            try await machine.run()
            try Self.expectComplete(machine)
        }
    }

    @Test("does not believe what was left behind", arguments: ["bytes", "counts", "size", "nothing", "long"])
    func damaged(what: String) async throws {
        try await Self.with { machine in
            func numbers(_ numbers: [Int]) -> Data {
                numbers.map(\.littleEndian).withUnsafeBytes { Data($0) }
            }
            let mark = 0x3173_7472_6170_7666
            let left =
                switch what {
                // Counted, and wrong.
                case "bytes":
                    Data(count: 300_000) + numbers([mark, 55_000, 55_000, 0, 0, 0, 0, 0])
                case "counts": Data(count: 300_000) + numbers([mark, 55_000, 55_001, -1, Int.max, 0, 0, 0])
                case "size": Data(count: 300_000) + numbers([mark, Int.max, 1])
                case "long": Data(count: 400_000)
                default: Data()
                }
            try left.write(to: Self.blob(machine, ".parts.incomplete"))
            try await machine.run()
            try Self.expectComplete(machine)
        }
    }

    @Test("is never kept with another hash")
    func wrong() async throws {
        var wrong = Self.weights
        wrong[200_000] ^= 4
        try await Self.with({ $0.replaced["model.safetensors"] = wrong }) { machine in
            let words = await machine.failure()
            #expect(words.contains("its hash differs") && words.contains("model.safetensors"), "\(words)")
            for suffix in ["", ".parts.incomplete"] {
                let path = try Self.blob(machine, suffix).path
                #expect(!FileManager.default.fileExists(atPath: path), "\(suffix)")
            }
        }
    }

    @Test("of another size is none", arguments: [-1, 1, 100_000])
    func size(more: Int) async throws {
        let other = more < 0 ? Self.weights.dropLast() : Self.weights + Data(count: more)
        try await Self.with({ $0.replaced["model.safetensors"] = Data(other) }) { machine in
            #expect(await machine.failure().contains("in place of"))
        }
    }

    @Test("ends when it is cancelled, and leaves its parts")
    func cancelled() async throws {
        try await Self.with { machine in
            let pull = try machine.pull()
            let plan = try await pull.plan()
            let cancellation = Cancellation()
            // Slow enough to be cancelled in the middle of it.
            machine.hub.conduct.withLock { $0.cuts = Array(repeating: 4000, count: 100_000) }
            #expect(throws: CancellationError.self) {
                try pull.run(plan, cancellation) { event in
                    if case .progress(let done, _) = event, done > 1000 { cancellation.cancel() }
                }
            }
            machine.hub.conduct.withLock { $0.cuts = [] }
            try await machine.run()
            try Self.expectComplete(machine)
        }
    }
}
