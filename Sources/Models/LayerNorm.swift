package import Tensors

/// A norm over the channels of each row, with weight and bias.
package struct LayerNorm: Sendable {
    private let weight: Vector
    private let bias: Vector
    private let epsilon: Float

    /// - Parameter loader: at the norm; reads `weight` and `bias`.
    package init(_ loader: WeightLoader, channels: Int, epsilon: Float) throws {
        weight = try loader.vector("weight", count: channels)
        bias = try loader.vector("bias", count: channels)
        self.epsilon = epsilon
    }

    /// - Parameters:
    ///   - x: [rows, channels]
    ///   - y: [rows, channels], overwritten; may be x.
    package func callAsFunction(_ x: Matrix, into y: Matrix, on compute: Compute) {
        compute.layerNorm(x, weight: weight, bias: bias, epsilon: epsilon, into: y)
    }
}
