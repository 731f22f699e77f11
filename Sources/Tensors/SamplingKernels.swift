internal import CKernels

/// The operations that sampling needs, of one instruction set; every instruction set gives the same bits.
///
/// They run on the calling thread: a vocabulary of scores takes less time than waking others.
package struct SamplingKernels: @unchecked Sendable {
    /// An immutable table with static lifetime: that makes `@unchecked Sendable` true.
    private let kernels: UnsafePointer<fv_kernels>

    /// Those of the best instruction set of this processor.
    package static let best: SamplingKernels = {
        guard let kernels = InstructionSet.allCases.compactMap(\.kernels).last else {
            preconditionFailure("there always are the scalar kernels")
        }
        return SamplingKernels(kernels)
    }()

    /// Nil where the processor or the build lacks the instruction set.
    package init?(_ instructionSet: InstructionSet) {
        guard let kernels = instructionSet.kernels else { return nil }
        self.init(kernels)
    }

    fileprivate init(_ kernels: UnsafePointer<fv_kernels>) { self.kernels = kernels }

    /// Scores, and what makes exponents of them.
    package struct Scores {
        /// Without NaN; negative infinity for tokens without mass.
        package var values: UnsafeBufferPointer<Float>
        /// The largest score, which is finite.
        package var highest: Float
        /// 1 / temperature, finite.
        package var inverse: Float

        package init(_ values: UnsafeBufferPointer<Float>, highest: Float, inverse: Float) {
            (self.values, self.highest, self.inverse) = (values, highest, inverse)
        }

        /// Numbers that are exponents already.
        package init(exponents: UnsafeBufferPointer<Float>) { self.init(exponents, highest: 0, inverse: 1) }

        /// How far a score is from the highest, at most 0, in units of the temperature.
        @inline(__always)
        package func exponent(_ index: Int) -> Float { (values[index] - highest) * inverse }

        /// Calls `body`; 0 where there are no scores.
        fileprivate func pass<Number: BinaryInteger>(to body: (inout fv_scores) -> Number) -> Number {
            guard let base = values.baseAddress, !values.isEmpty else { return 0 }
            var scores = fv_scores(x: base, count: values.count, highest: highest, inverse: inverse)
            return body(&scores)
        }
    }

    /// Mass of all tokens: the sum of e^exponent · 2^40, each an integer.
    /// - Parameter bound: tokens have mass where their exponent is above it; −80…0
    package func mass(_ scores: Scores, above bound: Float) -> UInt64 {
        scores.pass { kernels.pointee.score_masses(&$0, bound, nil) }
    }

    /// Mass of each token, [count].
    package func masses(
        _ scores: Scores, above bound: Float, into masses: UnsafeMutableBufferPointer<UInt64>
    ) {
        precondition(masses.count >= scores.values.count, "no room for the masses")
        guard let target = masses.baseAddress else { return }
        _ = scores.pass { kernels.pointee.score_masses(&$0, bound, target) }
    }

    /// Mass of one token.
    package func mass(at exponent: Float, above bound: Float) -> UInt64 {
        withUnsafePointer(to: exponent) {
            mass(Scores(exponents: UnsafeBufferPointer(start: $0, count: 1)), above: bound)
        }
    }

    /// Writes down the tokens whose exponents are above `low` and not above `high`, in order.
    /// - Parameters:
    ///   - ids: room for all that there may be
    ///   - exponents: as ids
    /// - Returns: how many there are
    package func select(
        _ scores: Scores, above low: Float, through high: Float,
        ids: UnsafeMutableBufferPointer<UInt32>, exponents: UnsafeMutableBufferPointer<Float>
    ) -> Int {
        precondition(scores.values.count <= UInt32.max, "ids have 32 bits")
        guard let ids = ids.baseAddress, let exponents = exponents.baseAddress else { return 0 }
        return scores.pass { kernels.pointee.select_scores(&$0, low, high, ids, exponents) }
    }
}

extension Compute {
    /// The operations of sampling of the same instruction set.
    package var sampling: SamplingKernels { SamplingKernels(kernels) }
}
