package import Tensors

/// Where a network takes its weights from: canonical names in, tensors of exactly the asked shape out.
///
/// A checkpoint's `CanonicalWeights` is one; tests bring their own.
package protocol WeightSource: Sendable {
    /// - Throws: an error that names the tensor when it is missing or has another shape.
    func tensor(_ name: String, shape: [Int]) throws -> Tensor
    func contains(_ name: String) -> Bool
}

/// Turns named tensors into the packed form that the operations read, for one precision.
///
/// `prefix` grows as a network hands the loader to its parts, so each part asks for its own short names.
package struct WeightLoader: Sendable {
    package let source: any WeightSource
    /// How matrices are stored.
    package let format: WeightFormat
    package let compute: Compute
    private let prefix: String

    package init(_ source: any WeightSource, format: WeightFormat, compute: Compute) {
        self.init(source: source, format: format, compute: compute, prefix: "")
    }

    private init(source: any WeightSource, format: WeightFormat, compute: Compute, prefix: String) {
        self.source = source
        self.format = format
        self.compute = compute
        self.prefix = prefix
    }

    /// How small matrices are stored that many numbers depend on: never as integers.
    package var sensitiveFormat: WeightFormat { format == .float32 ? .float32 : .bfloat16 }

    /// The loader for the part called `name`.
    package func part(_ name: String) -> WeightLoader {
        WeightLoader(source: source, format: format, compute: compute, prefix: prefix + name + ".")
    }

    package func tensor(_ name: String, shape: [Int]) throws -> Tensor {
        try source.tensor(prefix + name, shape: shape)
    }

    package func contains(_ name: String) -> Bool { source.contains(prefix + name) }

    package func vector(_ name: String, count: Int) throws -> Vector {
        try Vector(tensor(name, shape: [count]))
    }

    /// A linear layer `name.weight` [outputs, inputs], with `name.bias` [outputs] when the checkpoint has one.
    /// - Parameter isSensitive: see ``sensitiveFormat``.
    package func linear(
        _ name: String, outputs: Int, inputs: Int, isSensitive: Bool = false
    ) throws -> Linear {
        let weight = try tensor(name + ".weight", shape: [outputs, inputs])
        return Linear(
            weight: try PackedMatrix(
                weight, format: isSensitive ? sensitiveFormat : format, compute: compute),
            bias: contains(name + ".bias") ? try vector(name + ".bias", count: outputs) : nil)
    }

    /// A 1×1 convolution `name.weight` [outputs, inputs, 1, 1]: on NHWC activations, a linear layer.
    package func pointwise(_ name: String, outputs: Int, inputs: Int) throws -> Linear {
        let weight = try tensor(name + ".weight", shape: [outputs, inputs, 1, 1])
        return Linear(
            weight: try PackedMatrix(
                weight.reshaped([outputs, inputs]), format: format, compute: compute),
            bias: try vector(name + ".bias", count: outputs))
    }

    /// A depthwise convolution `name.weight` [outputs, 1, kernel, kernel]; `outputs` is a multiple of `inputs`.
    package func depthwise(
        _ name: String, outputs: Int, inputs: Int, kernel: Int, stride: Int = 1
    ) throws -> DepthwiseWeights {
        try DepthwiseWeights(
            weight: tensor(name + ".weight", shape: [outputs, 1, kernel, kernel]),
            bias: tensor(name + ".bias", shape: [outputs]),
            inputChannels: inputs, stride: stride)
    }
}

/// A linear layer: y = x·Wᵀ + b.
package struct Linear: Sendable {
    package let weight: PackedMatrix
    package let bias: Vector?

    /// - Parameters:
    ///   - x: [rows, inputs]
    ///   - y: [rows, outputs], overwritten
    package func callAsFunction(
        _ x: Matrix, activation: Activation = .none, into y: Matrix, on compute: Compute
    ) {
        compute.linear(x, weight, bias: bias, activation: activation, into: y)
    }
}
