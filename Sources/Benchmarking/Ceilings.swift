package import Tensors

/// What the machine can do at most, measured in the run that it is compared with.
package struct Ceilings: Sendable {
    /// Operations per second of all threads, for each kind of arithmetic.
    package let operations: [Compute.Arithmetic: Double]
    /// Bytes per second read from memory by all threads.
    package let bytes: Double

    /// Measures for about a second, the best of a few tries: a ceiling is what is possible.
    /// - Throws: `TensorError.allocationFailed`.
    package init(_ compute: Compute) throws {
        var operations: [Compute.Arithmetic: Double] = [:]
        for arithmetic in Compute.Arithmetic.allCases {
            operations[arithmetic] = (0..<4).map { _ in compute.peakOperations(arithmetic) }.max()
        }
        self.operations = operations
        bytes = try (0..<4).map { _ in try compute.readBandwidth() }.max() ?? 0
    }

    /// The arithmetic that a precision's products run on.
    package static func arithmetic(_ precision: Precision) -> Compute.Arithmetic {
        switch precision {
        // Weights are widened to float32.
        case .float32, .int8Weights, .int4Weights: .float32
        case .bfloat16: .bfloat16
        case .int8, .int4: .int8
        }
    }

    /// Operations per second that a precision's products could reach.
    package func peak(_ precision: Precision) -> Double { operations[Self.arithmetic(precision)] ?? 0 }
}
