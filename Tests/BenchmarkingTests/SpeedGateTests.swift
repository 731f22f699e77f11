import AllocationCounter
import Benchmarking
import Checkpoints
import Foundation
import Models
import Synchronization
import Tensors
import TestSupport
import Testing

/// Gates on speed that no neighbour of the machine can move: how much is computed and how often memory is asked
/// for, not how long it takes.
@Suite("Speed gates")
struct SpeedGateTests {
    /// The model that the package carries, beside the synthetic one.
    private static func embedded() throws -> Checkpoint {
        try Checkpoint(
            directory: Fixture.root.deletingLastPathComponent().deletingLastPathComponent()
                .appending(path: "Models/fastvlm-small"))
    }

    private func counted(_ bench: Workbench, _ item: Workbench.Item) throws -> ExpectedOperations {
        let log = OperationLog()
        _ = try bench.run(item, log: log)
        return ExpectedOperations(log)
    }

    @Test("The formula gives the published model its known GFLOP per image of 1024²")
    func published() {
        let expected = ExpectedOperations.encoding(SyntheticModel.half.configuration.vision, side: 1024)
        func giga(_ operations: Int) -> Int { (operations + 500_000_000) / 1_000_000_000 }
        let networks = expected.kinds[.feedForward]?.operations ?? 0
        // The usual count, by layers with weights, leaves out the products within attention.
        let attention = expected.kinds[.attention]?.operations ?? 0
        #expect(giga(networks) == 425)
        #expect(giga(expected.operations - attention) == 473)
    }

    @Test(
        "Encoding, prefill and a decoding step do exactly what the configuration says",
        arguments: Precision.allCases)
    func operations(precision: Precision) throws {
        let checkpoint = try Self.embedded()
        let compute = try Compute(threads: 2)
        let small = Workbench(
            network: try VisionLanguageNetwork(
                checkpoint.weights, configuration: checkpoint.configuration, precision: precision,
                compute: compute), compute: compute)
        for bench in [small, try WorkbenchTests.workbench(precision)] {
            let (vision, text) = (bench.network.configuration.vision, bench.network.configuration.text)
            for side in [64, 256] {
                #expect(
                    try counted(bench, .encoder(side: side)) == .encoding(vision, side: side),
                    "\(side)²")
            }
            for positions in [1, 9, 47] {
                #expect(
                    try counted(bench, .prefill(positions: positions))
                        == .prefill(text, count: positions, cached: 0), "\(positions)")
            }
            #expect(
                try counted(bench, .decode(context: 21, tokens: 1)) == .prefill(text, count: 1, cached: 21))
        }
    }

    @Test(
        "A slice of an encoding is a small part of it, whatever the precision", arguments: Precision.allCases)
    func slices(precision: Precision) throws {
        // The published depths; widths and sides are as they are to each other, but for the heads of 32 channels.
        var configuration = WorkbenchTests.configuration
        configuration.vision = WorkbenchTests.tower(
            depths: [2, 12, 24, 4, 2], widths: [16, 32, 64, 128, 256])
        let log = OperationLog()
        let compute = try Compute(threads: 2).recording(to: log)
        let encoder = try VisionLanguageNetwork(
            SyntheticWeights(), configuration: configuration, precision: precision, compute: compute
        ).encoder
        let workspace = Workspace()
        let side = 192
        let pixels = try workspace.map(height: side, width: side, channels: 3)
        pixels.buffer.initialize(repeating: 0.5)
        let features = try workspace.matrix(encoder.tokens(side: side), encoder.featureChannels)
        let encoding = encoder.begin(pixels, into: features, workspace: workspace)
        func operations() -> Int { log.entries.reduce(0) { $0 + $1.operations } }
        var largest = 0
        var before = 0
        var complete = false
        while !complete {
            complete = try encoding.step(on: compute)
            largest = max(largest, operations() - before)
            before = operations()
        }
        #expect(Double(largest) <= 0.04 * Double(before), "\(largest) of \(before)")
    }

    /// Allocations of all threads of `compute`, the calling one included, while `work` runs.
    private static func allocations(_ compute: Compute, _ work: () throws -> Void) rethrows -> Int {
        let counter = Int32(nextCounter.wrappingAdd(1, ordering: .relaxed).oldValue)
        let arrived = Atomic<Int>(0)
        func attach(_ counter: Int32) {
            arrived.store(0, ordering: .sequentiallyConsistent)
            // Nobody leaves before everybody has come: each thread takes one task.
            compute.pool.run(compute.threads) { _, _ in
                allocation_counter_attach(counter)
                arrived.wrappingAdd(1, ordering: .sequentiallyConsistent)
                while arrived.load(ordering: .sequentiallyConsistent) < compute.threads { sched_yield() }
            }
        }
        attach(counter)
        let before = allocation_counter_value(counter)
        defer { attach(-1) }
        try work()
        return allocation_counter_value(counter) - before
    }

    /// Those below belong to other suites.
    private static let nextCounter = Atomic<Int>(64)

    #if DEBUG
        private static let isOptimized = false
    #else
        private static let isOptimized = true
    #endif

    /// Not under the address sanitizer, nor where the C library is not glibc; unoptimised Swift allocates at will.
    static let areCounted = allocation_counter_works() && isOptimized

    @Test("The counter counts, on every thread of the pool", .enabled(if: areCounted))
    func counter() throws {
        let compute = try Compute(threads: 2)
        try #require(compute.threads == 2)
        func made(_ tasks: Int) -> Int {
            Self.allocations(compute) {
                _ = compute.pool.run(tasks, with: 4096) { size, _, _, _ in
                    UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64).deallocate()
                }
            }
        }
        // The difference, because a first call across modules has costs of its own.
        _ = made(1)
        #expect(made(164) - made(100) == 64)
        #expect(Self.allocations(compute) {} == 0)
        var numbers: [Int] = []
        #expect(Self.allocations(compute) { numbers.reserveCapacity(1000) } == 1)
        numbers.append(1)
    }

    @Test(
        "Warm, an encoding, a prefill and a decoding step allocate nothing", .enabled(if: areCounted),
        arguments: Precision.allCases, [1, 2])
    func allocations(precision: Precision, threads: Int) throws {
        let compute = try Compute(threads: threads)
        let network = try VisionLanguageNetwork(
            SyntheticWeights(), configuration: WorkbenchTests.configuration, precision: precision,
            compute: compute)
        let workspace = Workspace()
        let (side, positions) = (256, 40)
        let pixels = try workspace.map(height: side, width: side, channels: 3)
        pixels.buffer.initialize(repeating: 0.5)
        let tokens = network.encoder.tokens(side: side)
        let features = try workspace.matrix(tokens, network.encoder.featureChannels)
        let hidden = network.configuration.text.hiddenSize
        let projected = try workspace.matrix(tokens, hidden)
        let prompt = try workspace.matrix(positions, hidden)
        let vocabulary = network.configuration.text.vocabularySize
        let logits = try workspace.matrix(1, vocabulary)
        let batch = DecoderBatch()
        let cache = network.decoder.makeCache()
        let sequences = (0..<5).map { _ in network.decoder.makeCache() }
        let step = try workspace.matrix(sequences.count, hidden)
        let stepLogits = try workspace.matrix(sequences.count, vocabulary)
        let ids = [3, 1, 4, 1, 5]

        func encode() throws {
            try network.encoder.encode(pixels, into: features, workspace: workspace, on: compute)
            try network.projector(features, into: projected, workspace: workspace, on: compute)
        }
        func encodeInSlices() throws {
            let encoding = network.encoder.begin(pixels, into: features, workspace: workspace)
            while try !encoding.step(on: compute) {}
        }
        func prefill() throws {
            cache.truncate(to: 0)
            prompt.pointer.update(repeating: 0.25, count: positions * hidden)
            try network.decoder.forward(
                prompt, cache: cache, logits: logits, workspace: workspace, on: compute, batch: batch)
        }
        // One row of each of several sequences, which cross the border of a block now and then.
        for (number, sequence) in sequences.enumerated() {
            try sequence.reserve(positions + 8)
            sequence.advance(by: 30 + number)
        }
        func decode() throws {
            network.decoder.embed(ids, into: step, on: compute)
            batch.removeAll()
            for sequence in sequences { batch.append(sequence, positions: 1, wanted: 1) }
            try network.decoder.forward(
                step, batch: batch, logits: stepLogits, workspace: workspace, on: compute)
        }
        for _ in 0..<3 {
            try encode()
            try encodeInSlices()
            try prefill()
            try decode()
        }
        // The encoding itself.
        let objects = try Self.allocations(compute, encodeInSlices)
        #expect(objects <= 1, "encode in slices")
        for (name, work) in [("encode", encode), ("prefill", prefill), ("decode", decode)] {
            let made = try Self.allocations(compute, work)
            #expect(made == 0, "\(name)")
        }
    }
}
