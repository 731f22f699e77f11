import Synchronization
import Testing

@testable import Tensors

#if canImport(Glibc)
    import Glibc  // usleep
#endif

@Suite struct ComputeTests {
    @Test("any number of threads gives the same bits")
    func sameBits() throws {
        var random = Random()
        let (side, channels, hidden, heads) = (24, 48, 192, 3)
        let rows = side * side
        let x = random.floats(rows * channels)
        let w1 = try Tensor(random.floats(hidden * channels, scale: 0.2), shape: [hidden, channels])
        let w2 = try Tensor(random.floats(channels * hidden, scale: 0.1), shape: [channels, hidden])
        let taps = try Tensor(random.floats(channels * 49, scale: 0.2), shape: [channels, 1, 7, 7])
        for set in InstructionSet.available {
            for format in [WeightFormat.float32, .bfloat16, .int8(group: 32)] {
                var first: [[UInt32]]?
                for threads in [1, 2, 3, 5] {
                    let compute = try Compute(threads: threads, instructionSet: set)
                    #expect(compute.threads == threads)
                    let up = try PackedMatrix(w1, format: format, compute: compute)
                    let down = try PackedMatrix(w2, format: format, compute: compute)
                    let gated = try PackedGatedMatrix(
                        gate: w1, up: w1, format: format, compute: compute)
                    let convolution = try DepthwiseWeights(
                        weight: taps, bias: nil, inputChannels: channels, stride: 1)
                    let input = Guarded(rows, channels, values: x)
                    let image = Guarded(rows, channels)
                    compute.depthwise(input.map(side, side), convolution, into: image.map(side, side))
                    compute.feedForwardAdding(
                        image.matrix, expand: up, expandBias: nil, project: down, projectBias: nil,
                        scale: nil,
                        to: input.matrix)
                    let attended = Guarded(rows, channels)
                    compute.attention(
                        queries: input.matrix, keys: image.matrix, values: input.matrix, heads: heads,
                        keyValueHeads: heads, scale: 0.25, causalOffset: nil, into: attended.matrix)
                    let wide = Guarded(rows, hidden)
                    compute.linear(attended.matrix, up, activation: .gelu, into: wide.matrix)
                    let single = Guarded(1, hidden)
                    compute.gatedLinear(attended.matrix.rows(0..<1), gated, into: single.matrix)
                    let logits = Guarded(1, hidden)
                    compute.logits(attended.matrix.rows(0..<1), up, into: logits.matrix)
                    let results = [image, input, attended, wide, single, logits].map { bits($0.values) }
                    if let first { #expect(first == results, "\(set) \(format) \(threads) threads") }
                    if first == nil { first = results }
                }
            }
        }
    }

    @Test("every task of a job runs exactly once, for jobs from several callers at a time")
    func everyTaskOnce() async throws {
        let pool = try ThreadPool(threads: 3)
        await withTaskGroup(of: Bool.self) { group in
            for caller in 0..<4 {
                group.addTask {
                    for round in 0..<200 {
                        let tasks = (round * 7 + caller) % 40
                        let counts = Counts(tasks)
                        let done = pool.run(tasks, scratchBytes: 128 + round) { task, thread, scratch in
                            precondition(thread >= 0 && thread < 3)
                            scratch.storeBytes(of: UInt8(thread), as: UInt8.self)
                            counts.add(task)
                        }
                        if !done || !counts.allOnce { return false }
                    }
                    return true
                }
            }
            for await good in group { #expect(good) }
        }
    }

    /// Counters that several threads raise.
    private final class Counts: @unchecked Sendable {
        private let values: Mutex<[Int]>
        init(_ count: Int) { values = Mutex(Array(repeating: 0, count: count)) }
        func add(_ index: Int) { values.withLock { $0[index] += 1 } }
        var allOnce: Bool { values.withLock { $0.allSatisfy { $0 == 1 } } }
    }

    @Test("a pool that sleeps wakes up again, and a pool that is dropped ends its threads")
    func sleeping() throws {
        for _ in 0..<20 {
            let pool = try ThreadPool(threads: 2)
            for round in 0..<3 {
                let counts = Counts(8)
                pool.run(8) { task, _ in counts.add(task) }
                #expect(counts.allOnce)
                if round == 1 { usleep(3000) }
            }
        }
    }

    @Test("work stops when the flag is raised, and the check throws")
    func cancellation() throws {
        let flag = Cancellation()
        let compute = try Compute(threads: 2).withCancellation(flag)
        try compute.checkCancellation()
        var random = Random()
        let weights = try PackedMatrix(
            Tensor(random.floats(64 * 64), shape: [64, 64]), format: .float32, compute: compute)
        let input = Guarded(8, 64, values: random.floats(8 * 64))
        flag.cancel()
        let output = Guarded(8, 64)
        compute.linear(input.matrix, weights, into: output.matrix)
        #expect(output.values.allSatisfy { $0.isNaN }, "nothing was computed")
        #expect(throws: TensorError.cancelled) { try compute.checkCancellation() }
        try compute.withCancellation(nil).checkCancellation()
        try compute.withCancellation(Cancellation()).checkCancellation()
    }

    @Test("memory that the system refuses is an error that is thrown, not the end of the program")
    func shortage() throws {
        let pool = try ThreadPool(threads: 3)
        let ran = Counts(4)
        #expect(!pool.run(4, scratchBytes: 1 << 60) { task, _, _ in ran.add(task) })
        #expect(!ran.allOnce)
        // Later jobs that need less run as before.
        #expect(pool.run(4, scratchBytes: 4096) { task, _, _ in ran.add(task) })
        #expect(ran.allOnce)

        let compute = try Compute(threads: 2)
        compute.run(3, scratchBytes: 1 << 60, with: 0) { _, _, _ in Issue.record("there is no such memory") }
        #expect(throws: TensorError.allocationFailed(bytes: 1 << 60)) { try compute.checkCancellation() }
        // Of the next request it is not true.
        let next = compute.withCancellation(Cancellation())
        try next.checkCancellation()
        next.withScratch(1 << 60) { _ in Issue.record("there is no such memory") }
        #expect(throws: TensorError.allocationFailed(bytes: 1 << 60)) { try next.checkCancellation() }
        #expect(!SharedScratch().withBlock(1 << 60) { _ in Issue.record("there is no such memory") })
    }

    @Test("an instruction set that does not exist or is missing here is an error that names the others")
    func dispatch() throws {
        #expect(InstructionSet.available.first == .scalar)
        for set in InstructionSet.allCases where !InstructionSet.available.contains(set) {
            let error = #expect(throws: TensorError.self) { try Compute(instructionSet: set) }
            #expect(error?.description.contains(set.rawValue) == true)
            #expect(error?.description.contains("scalar") == true)
        }
        for set in InstructionSet.available {
            let compute = try Compute(threads: 1, instructionSet: set)
            #expect(compute.instructionSet == set)
        }
        #expect(!Compute.processorDescription().isEmpty)
        // Each needs what those have that stand before it in this list.
        for (less, more) in [
            (InstructionSet.avx2, InstructionSet.avxvnni), (.avx2, .avx512), (.avx512, .avx512vnni),
            (.avx512vnni, .avx512bf16), (.avx512bf16, .avx512amx),
        ] where InstructionSet.available.contains(more) {
            #expect(InstructionSet.available.contains(less))
        }
        for set in [InstructionSet.avxvnni, .avx512vnni, .avx512bf16]
        where InstructionSet.available.contains(set) {
            #expect(try Compute(threads: 1, instructionSet: set).keepsIntegers(bits: 8), "\(set) has 7 bits")
        }
        let compute = try Compute()
        #expect(compute.threads >= 1)
    }

    @Test("FASTVLM_ISA chooses an instruction set, and a word that names none is refused")
    func environment() throws {
        func choice(_ word: String?) throws -> InstructionSet { try Compute.instructionSet(named: word) }
        let best = InstructionSet.preferred
        #expect(try choice("scalar") == .scalar)
        #expect(try choice(nil) == best)
        #expect(try choice("") == best)
        let names = InstructionSet.available.map(\.rawValue)
        for word in ["sse9", "AVX2", "scalar "] {
            #expect(throws: TensorError.unavailableInstructionSet(requested: word, available: names)) {
                try choice(word)
            }
        }
    }
}
