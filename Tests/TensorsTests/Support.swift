import TestSupport
import Testing

@testable import Tensors

/// Random numbers of a test, whose seed stands in the failure message.
struct Random {
    /// Of all tests of this run.
    let seed = SeededGenerator.runSeed
    private var generator: SeededGenerator

    init(fileID: String = #fileID, function: String = #function) {
        generator = SeededGenerator(fileID: fileID, function: function)
    }

    mutating func next() -> UInt64 { generator.next() }

    /// Roughly normal, variance 1.
    mutating func float() -> Float {
        var sum: Float = 0
        for _ in 0..<4 { sum += Float(next() >> 40) * 0x1p-24 }
        return (sum - 2) * 1.7320508
    }

    mutating func floats(_ count: Int, scale: Float = 1) -> [Float] {
        (0..<count).map { _ in float() * scale }
    }
}

/// A float32 matrix between guard zones, its numbers NaN until they are written, its row gaps guarded too.
///
/// The memory is never freed: a ``Matrix`` does not keep its memory alive, and a test that is careless about
/// that would be a test of freed memory.
struct Guarded {
    private static let guardBits: UInt32 = 0x7FC0_BEEF
    private static let zone = 64

    private let memory: UnsafeMutablePointer<Float>
    private let total: Int
    let matrix: Matrix

    init(_ rows: Int, _ columns: Int, gap: Int = 0, misaligned: Int = 0) {
        let stride = columns + gap
        total = Self.zone * 2 + rows * stride + misaligned
        memory = .allocate(capacity: total)
        for index in 0..<total { memory[index] = Float(bitPattern: Self.guardBits) }
        matrix = Matrix(
            pointer: memory + Self.zone + misaligned, rows: rows, columns: columns, rowStride: stride)
    }

    init(_ rows: Int, _ columns: Int, gap: Int = 0, values: [Float]) {
        self.init(rows, columns, gap: gap)
        for row in 0..<rows {
            for column in 0..<columns { matrix[row, column] = values[row * columns + column] }
        }
    }

    var values: [Float] {
        (0..<matrix.rows).flatMap { row in (0..<matrix.columns).map { matrix[row, $0] } }
    }

    func map(_ height: Int, _ width: Int) -> FeatureMap {
        FeatureMap(pointer: matrix.pointer, height: height, width: width, channels: matrix.columns)
    }

    /// Whether nothing outside the matrix was written.
    var isIntact: Bool {
        let first = matrix.pointer - memory
        for index in 0..<total {
            let place = index - first
            let inside =
                place >= 0 && place < matrix.rows * matrix.rowStride
                && place % matrix.rowStride < matrix.columns
            if !inside, memory[index].bitPattern != Self.guardBits { return false }
        }
        return true
    }
}

/// Σ(got − expected)² / Σ expected²; infinite when anything is not finite.
func normalisedError(_ got: [Float], _ expected: [Double]) -> Double {
    guard got.count == expected.count else { return .infinity }
    var difference = 0.0
    var total = 0.0
    for (a, b) in zip(got, expected) {
        difference += (Double(a) - b) * (Double(a) - b)
        total += b * b
    }
    guard difference.isFinite else { return .infinity }
    return total == 0 ? difference : difference / total
}

/// A sum in float64, and the squares of its terms, which say how large a sum of such terms is as a rule.
///
/// Where terms cancel, or an activation leaves nothing of a sum, rounding is all that is left of a result. So the errors of
/// sums are measured by the squares: a test of a few results would fail once in a thousand runs otherwise.
struct Sum {
    private(set) var value: Double
    private(set) var squares: Double

    init(_ term: Double = 0) {
        value = term
        squares = term * term
    }

    static func += (sum: inout Sum, term: Double) {
        sum.value += term
        sum.squares += term * term
    }

    static func + (sum: Sum, term: Double) -> Sum {
        var result = sum
        result += term
        return result
    }

    static func * (sum: Sum, factor: Double) -> Sum {
        var result = sum
        result.value *= factor
        result.squares *= factor * factor
        return result
    }

    /// An error of either factor weighs as much as the other factor is large.
    static func * (sum: Sum, other: Sum) -> Sum {
        var result = sum
        result.value *= other.value
        result.squares =
            sum.squares * other.squares + sum.squares * other.value * other.value
            + other.squares * sum.value * sum.value
        return result
    }

    /// What an activation, which is nowhere much steeper than 1, makes of the sum.
    func activated(_ activation: (Double) -> Double) -> Sum {
        var result = self
        result.value = activation(value)
        return result
    }
}

/// Σ(got − expected)² / Σ squares of the terms; infinite when anything is not finite.
func normalisedError(_ got: [Float], _ expected: [Sum]) -> Double {
    guard got.count == expected.count else { return .infinity }
    let difference = zip(got, expected).reduce(0) {
        $0 + (Double($1.0) - $1.1.value) * (Double($1.0) - $1.1.value)
    }
    let total = expected.reduce(0) { $0 + $1.squares }
    guard difference.isFinite else { return .infinity }
    return total == 0 ? difference : difference / total
}

func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

/// Rounds to bfloat16 as the weights are rounded.
func rounded(_ value: Float) -> Float {
    let pattern = value.bitPattern
    return Float(bitPattern: (pattern &+ 0x7FFF &+ (pattern >> 16 & 1)) & 0xFFFF_0000)
}

func gelu(_ x: Double) -> Double { 0.5 * x * erfc(-x * 0.5.squareRoot()) }
func silu(_ x: Double) -> Double { x / (1 + exp(-x)) }

func apply(_ activation: Activation, _ x: Double) -> Double {
    switch activation {
    case .none: x
    case .gelu, .coarseGelu: gelu(x)
    case .silu: silu(x)
    case .relu: max(x, 0)
    case .quickGelu: x / (1 + exp(-1.702 * x))
    case .tanhGelu: x / (1 + exp(-2 * (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
    }
}

/// Bounds of the normalised squared error against float64 on the same (rounded) weights.
func tolerance(_ set: InstructionSet, _ format: WeightFormat) -> Double {
    set.roundsInputs && format == .bfloat16 ? 5e-4 : 1e-7
}

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif
