#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Cosines and sines of rotary position embedding, [positions, headDimension / 2], computed in double and
/// stored in float32: angle = position · theta^(−2i / headDimension).
package struct RotaryTable: Sendable {
    package let headDimension: Int
    package let positions: Int
    private let storage: Storage

    /// - Parameters:
    ///   - headDimension: even.
    ///   - theta: base of the frequencies.
    ///   - positions: positions 0 ..< positions can be rotated.
    /// - Throws: `TensorError.unexpectedShape` for an odd or non-positive head dimension, negative positions
    ///   or a base that is not positive; `TensorError.allocationFailed`.
    package init(headDimension: Int, theta: Double, positions: Int) throws(TensorError) {
        guard headDimension > 0, headDimension % 2 == 0, positions >= 0, theta > 0, theta.isFinite else {
            throw .unexpectedShape(
                what: "rotary table", expected: "an even head dimension and a positive base",
                got: "dimension \(headDimension), base \(theta), \(positions) positions")
        }
        guard let bytes = Tensor.checkedByteCount(.float32, shape: [positions, headDimension]) else {
            throw .allocationFailed(bytes: Int.max)
        }
        self.headDimension = headDimension
        self.positions = positions
        storage = try Storage(byteCount: bytes)
        let half = headDimension / 2
        let cosine = storage.floats
        let sine = cosine + positions * half
        for index in 0..<half {
            let frequency = pow(theta, -2 * Double(index) / Double(headDimension))
            for position in 0..<positions {
                let angle = Double(position) * frequency
                cosine[position * half + index] = Float(cos(angle))
                sine[position * half + index] = Float(sin(angle))
            }
        }
    }

    /// Row `position` and those after it. Valid while the table lives.
    func cosine(from position: Int) -> UnsafePointer<Float> {
        UnsafePointer(storage.floats + position * headDimension / 2)
    }

    func sine(from position: Int) -> UnsafePointer<Float> {
        UnsafePointer(storage.floats + (positions + position) * headDimension / 2)
    }
}
