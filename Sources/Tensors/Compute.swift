internal import CKernels
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// What follows a sum in the same pass.
package enum Activation: Sendable {
    case none
    /// x · Φ(x) with the exact error function.
    case gelu
    /// The same within 2e-4 · max(1, |x|), at half the cost: for numbers that become 8-bit integers next.
    case coarseGelu
    /// x / (1 + e^−x)
    case silu
    case relu
    /// x / (1 + e^(−1.702 x)): CLIP's stand-in for GELU.
    case quickGelu
    /// x · (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2: GELU as SigLIP has it.
    case tanhGelu

    var code: fv_activation {
        switch self {
        case .none: FV_NONE
        case .gelu: FV_GELU
        case .coarseGelu: FV_COARSE_GELU
        case .silu: FV_SILU
        case .relu: FV_RELU
        case .quickGelu: FV_QUICK_GELU
        case .tanhGelu: FV_TANH_GELU
        }
    }
}

/// Everything that an operation needs to run: the kernels of one instruction set, threads and a cancellation
/// flag. Cheap to copy; copies share their threads.
///
/// Operations are methods, one extension per family. They require shapes that agree (`precondition`): models
/// check shapes when they are loaded, so no input reaches these checks. Results have the same bits for any
/// number of threads. When the flag is raised, or the system has no memory, operations skip what is left of their work
/// and leave their results undefined; whoever goes on calls ``checkCancellation()`` first.
package struct Compute: @unchecked Sendable {
    package let instructionSet: InstructionSet
    package let pool: ThreadPool
    package private(set) var cancellation: Cancellation?
    /// An immutable table with static lifetime: that makes `@unchecked Sendable` true.
    let kernels: UnsafePointer<fv_kernels>
    /// Where operations write down what they took; nil outside of benchmarks.
    package private(set) var log: OperationLog?
    /// Whom products show their inputs; nil except while a checkpoint is quantised.
    package private(set) var observer: InputObserver?
    /// Where operations put what all threads read, such as quantised activations.
    private let scratch = SharedScratch()
    /// Raised when the system had no memory for an operation.
    private var shortage = Shortage()

    package var threads: Int { pool.threads }

    /// - Parameters:
    ///   - threads: nil for what ``ProcessorAllowance`` finds, or fewer where the system starts no more.
    ///   - instructionSet: nil for the one that the environment variable `FASTVLM_ISA` names, or else the best.
    /// - Throws: `TensorError.unavailableInstructionSet`, `.threadsRefused`, `.noRoomBesideThreads`,
    ///   `.allocationFailed`.
    package init(threads: Int? = nil, instructionSet: InstructionSet? = nil) throws(TensorError) {
        let word = getenv("FASTVLM_ISA").map { String(cString: $0) }
        let requested: InstructionSet
        if let instructionSet {
            requested = instructionSet
        } else {
            requested = try Self.instructionSet(named: word)
        }
        guard let kernels = requested.kernels else { throw Self.unavailable(requested.rawValue) }
        self.kernels = kernels
        self.instructionSet = requested
        pool = try ThreadPool(
            threads: threads ?? ProcessorAllowance.current().threads, acceptsFewer: threads == nil)
    }

    /// The best instruction set where `word` is nil or empty, else the one that it names.
    static func instructionSet(named word: String?) throws(TensorError) -> InstructionSet {
        guard let word, !word.isEmpty else { return .preferred }
        guard let named = InstructionSet(rawValue: word), named.kernels != nil else {
            throw unavailable(word)
        }
        return named
    }

    private static func unavailable(_ name: String) -> TensorError {
        .unavailableInstructionSet(requested: name, available: InstructionSet.available.map(\.rawValue))
    }

    /// The same kernels and threads with another flag.
    package func withCancellation(_ cancellation: Cancellation?) -> Compute {
        var copy = self
        copy.cancellation = cancellation
        copy.shortage = Shortage()
        return copy
    }

    /// The same kernels and threads, with every operation written to `log`.
    package func recording(to log: OperationLog?) -> Compute {
        var copy = self
        copy.log = log
        return copy
    }

    /// The same kernels and threads, with the inputs of products shown to `observer`.
    package func observed(by observer: InputObserver?) -> Compute {
        var copy = self
        copy.observer = observer
        return copy
    }

    /// Runs one operation, timed where there is a log.
    /// - Parameters:
    ///   - shape: what tells this use of the operation from others
    ///   - operations: multiplications and additions
    ///   - bytes: of operands and results, each counted once
    func measured(
        _ kind: OperationLog.Kind, _ shape: @autoclosure () -> String, operations: Int, bytes: Int,
        _ body: () -> Void
    ) {
        guard let log else { return body() }
        let clock = ContinuousClock()
        let start = clock.now
        body()
        log.record(kind, shape(), operations: operations, bytes: bytes, took: clock.now - start)
    }

    /// - Throws: `TensorError.cancelled` when the flag is raised; `.allocationFailed` when an operation of this value or
    ///   of its copies with the same flag had no memory.
    package func checkCancellation() throws(TensorError) {
        if cancellation?.isCancelled == true { throw .cancelled }
        let missing = shortage.bytes.load(ordering: .relaxed)
        if missing > 0 { throw .allocationFailed(bytes: missing) }
    }

    /// The processor's name and those of its features that kernels look at.
    package static func processorDescription() -> String {
        var text = [CChar](repeating: 0, count: 64)
        fv_cpu_name(&text, text.count)
        let found = fv_cpu_features()
        let names: [(fv_cpu_feature, String)] = [
            (FV_CPU_AVX2, "avx2"), (FV_CPU_FMA, "fma"), (FV_CPU_F16C, "f16c"), (FV_CPU_BMI2, "bmi2"),
            (FV_CPU_AVXVNNI, "avxvnni"), (FV_CPU_AVX512F, "avx512f"), (FV_CPU_AVX512BW, "avx512bw"),
            (FV_CPU_AVX512VL, "avx512vl"), (FV_CPU_AVX512DQ, "avx512dq"),
            (FV_CPU_AVX512BF16, "avx512bf16"), (FV_CPU_AVX512VNNI, "avx512vnni"), (FV_CPU_AMX_TILE, "amx"),
            (FV_CPU_AMX_BF16, "amx-bf16"), (FV_CPU_AMX_INT8, "amx-int8"), (FV_CPU_NEON, "neon"),
            (FV_CPU_DOTPROD, "dotprod"),
            (FV_CPU_BF16, "bf16"), (FV_CPU_I8MM, "i8mm"),
        ]
        let features = names.filter { found & $0.0.rawValue != 0 }.map(\.1)
        let name = text.withUnsafeBufferPointer { buffer in
            String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        let words = name.split(separator: " ").joined(separator: " ")
        return features.isEmpty ? words : "\(words) (\(features.joined(separator: " ")))"
    }

    /// Runs tasks on the pool unless the flag is raised.
    /// - Parameter body: captures nothing, which would be allocated for every operation; what it needs is `context`.
    func run<Context>(
        _ tasks: Int, scratchBytes: Int = 0, with context: Context,
        _ body: @escaping (_ context: Context, _ task: Int, _ scratch: UnsafeMutableRawPointer) -> Void
    ) {
        let done = pool.run(
            tasks, scratchBytes: scratchBytes,
            with: Cancellable(context: context, body: body, cancellation: cancellation)
        ) { job, task, _, scratch in
            if job.cancellation?.isCancelled != true { job.body(job.context, task, scratch) }
        }
        if !done { shortage.bytes.store(max(scratchBytes, 1), ordering: .relaxed) }
    }

    /// Runs `body` with memory that all threads read and write.
    func withScratch(_ bytes: Int, _ body: (UnsafeMutableRawPointer) -> Void) {
        if !scratch.withBlock(bytes, body) { shortage.bytes.store(max(bytes, 1), ordering: .relaxed) }
    }

    /// Runs `body`, which captures nothing, over ranges of `0..<count` that are `step` long.
    func run<Context>(
        ranges count: Int, step: Int, scratchBytes: Int = 0, with context: Context,
        _ body:
            @escaping (
                _ context: Context, _ range: Range<Int>, _ scratch: UnsafeMutableRawPointer
            ) -> Void
    ) {
        run(
            (count + step - 1) / step, scratchBytes: scratchBytes,
            with: Ranged(context: context, body: body, count: count, step: step)
        ) { job, task, scratch in
            job.body(job.context, task * job.step..<min((task + 1) * job.step, job.count), scratch)
        }
    }
}

/// Bytes that the system did not grant; 0 when it always did.
private final class Shortage: Sendable {
    let bytes = Atomic<Int>(0)
}

private struct Cancellable<Context> {
    let context: Context
    let body: (Context, Int, UnsafeMutableRawPointer) -> Void
    let cancellation: Cancellation?
}

private struct Ranged<Context> {
    let context: Context
    let body: (Context, Range<Int>, UnsafeMutableRawPointer) -> Void
    let count: Int
    let step: Int
}
