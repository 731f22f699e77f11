internal import CKernels

/// What this machine can do at most, for benchmarks to compare with.
extension Compute {
    /// Arithmetic that has a ceiling of its own.
    package enum Arithmetic: String, Sendable, CaseIterable {
        case float32
        case bfloat16
        case int8
    }

    /// Operations per second of all threads together in loops that touch registers only.
    package func peakOperations(_ arithmetic: Arithmetic) -> Double {
        let kernel =
            switch arithmetic {
            case .float32: kernels.pointee.peak_f32
            case .bfloat16: kernels.pointee.peak_bf16
            case .int8: kernels.pointee.peak_q8
            }
        // A tenth of a second or so: long enough for a clock to settle, short enough to repeat.
        let rounds = 20_000_000
        let clock = ContinuousClock()
        let start = clock.now
        pool.run(threads) { _, _ in _ = kernel(rounds) }
        let seconds = (clock.now - start) / .seconds(1)
        return kernel(0) + Double(threads) * kernel(1) * Double(rounds) / seconds
    }

    /// Bytes per second that all threads together read from memory that no cache holds.
    /// - Throws: `TensorError.allocationFailed`.
    package func readBandwidth() throws(TensorError) -> Double {
        let count = 512 << 20
        let storage = try Storage(byteCount: count)
        let kernel = kernels.pointee.read_memory
        let part = 4 << 20
        let clock = ContinuousClock()
        let start = clock.now
        pool.run(count / part) { task, _ in kernel(storage.base + task * part, part) }
        return Double(count) / ((clock.now - start) / .seconds(1))
    }
}
