internal import CKernels
internal import Synchronization

/// How large the inputs of a product are, each for itself: what quantising its weights with feedback of the rounding errors
/// needs to know (GPTQ, arXiv 2210.17323, in the blocks that are rotated together).
///
/// Rows count alike whatever their length: the first positions of a text can be a thousand times as long as all others.
package final class InputMoments: Sendable {
    package let inputs: Int
    /// Σ over rows of the square of each input, as a share of the row's.
    private let sums: Mutex<[Float]>

    package init(inputs: Int) {
        self.inputs = inputs
        sums = Mutex([Float](repeating: 0, count: inputs))
    }

    /// - Parameter x: [rows, inputs]
    package func add(_ x: Matrix) {
        precondition(x.columns == inputs, "rows of another length")
        sums.withLock { sums in
            for row in 0..<x.rows {
                let numbers = UnsafeBufferPointer(start: x.pointer + row * x.rowStride, count: x.columns)
                let square = numbers.reduce(0) { $0 + $1 * $1 }
                guard square > 0, square.isFinite else { continue }
                let share = Float(inputs) / square
                for index in numbers.indices {
                    sums[index] += numbers[index] * numbers[index] * share
                }
            }
        }
    }

    /// Mean square of each input, 1 on average; 0 before any row.
    package var shares: [Float] {
        let sums = sums.withLock { $0 }
        let mean = sums.reduce(0, +) / Float(max(inputs, 1))
        return mean > 0 ? sums.map { $0 / mean } : sums
    }

    /// - Parameters:
    ///   - format: of the weights to be quantised
    ///   - damping: the share by which each input's own moment is made larger: inputs that were seen to vary together in
    ///     few rows may not always.
    /// - Returns: nil for a format without groups
    package func feedback(for format: WeightFormat, damping: Double = 0.1) -> ErrorFeedback? {
        guard let group = format.group else { return nil }
        let block = Int(FV_FEEDBACK_BLOCK)
        let sums = sums.withLock { $0 }
        let blocks = (inputs + block - 1) / block
        var factors = [Float](repeating: 0, count: blocks * block * block)
        factors.withUnsafeMutableBufferPointer { factors in
            sums.withUnsafeBufferPointer { sums in
                guard let target = factors.baseAddress, let source = sums.baseAddress else { return }
                for first in stride(from: 0, to: inputs, by: block) {
                    fv_feedback_factors(
                        source + first, min(block, inputs - first), group, damping, target + first * block)
                }
            }
        }
        return ErrorFeedback(inputs: inputs, group: group, factors: factors)
    }
}

/// How the rounding error of a weight is made up for by the weights after it.
package struct ErrorFeedback: Sendable {
    package let inputs: Int
    let group: Int
    /// [blocks of 64 inputs, 64, 64]
    let factors: [Float]

    /// Whether it was made for weights in such a format, which are rotated alike.
    func fits(_ format: WeightFormat, inputs: Int) -> Bool {
        self.inputs == inputs && format.group.map { min($0, 64) == min(group, 64) } == true
    }
}

/// Watches the inputs of some products while a network runs.
///
/// It only compares addresses, which makes `@unchecked Sendable` true.
package struct InputObserver: @unchecked Sendable {
    /// By where the product's weights begin.
    private let moments: [UnsafeRawPointer: InputMoments]

    /// - Parameter products: packed weights and what to add their inputs to; the weights must outlive the observer.
    package init(_ products: [(PackedPanels, InputMoments)]) {
        moments = Dictionary(products.map { ($0.0.base, $0.1) }) { first, _ in first }
    }

    func observe(_ x: Matrix, _ panels: PackedPanels) {
        moments[panels.base]?.add(x)
    }
}

extension Tensor {
    /// How far results of products with this matrix are from those with `exact`, ÷ their size, for independent inputs of
    /// given mean squares.
    /// - Parameters:
    ///   - exact: [outputs, inputs], as this one
    ///   - step: every how manyth output is looked at
    package func relativeError(from exact: Tensor, sizes: [Float], every step: Int) -> Double {
        let (outputs, inputs) = (shape[0], sizes.count)
        guard let type = exact.dataType.kernelType, let base = exact.bytes.baseAddress,
            let own = bytes.baseAddress?.assumingMemoryBound(to: Float.self), dataType == .float32,
            count == exact.count, count == outputs * inputs
        else { return .nan }
        var row = [Float](repeating: 0, count: inputs)
        var (difference, total) = (0.0, 0.0)
        for output in stride(from: 0, to: outputs, by: step) {
            fv_convert(
                base + output * inputs * exact.dataType.byteWidth, type, &row, FV_FLOAT32, inputs)
            for (index, value) in row.enumerated() {
                let error = Double(own[output * inputs + index] - value)
                difference += Double(sizes[index]) * error * error
                total += Double(sizes[index]) * Double(value) * Double(value)
            }
        }
        withExtendedLifetime((self, exact)) {}
        return total > 0 ? (difference / total).squareRoot() : 0
    }
}
