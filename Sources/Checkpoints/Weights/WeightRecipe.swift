internal import Tensors

/// The order of a stored convolution kernel's dimensions.
enum KernelOrder: String, Sendable {
    /// PyTorch: [output, input, height, width].
    case outputInputHeightWidth = "OIHW"
    /// MLX: [output, height, width, input].
    case outputHeightWidthInput = "OHWI"

    /// The stored shape of a square kernel.
    func shape(outputs: Int, inputs: Int, side: Int) -> [Int] {
        switch self {
        case .outputInputHeightWidth: [outputs, inputs, side, side]
        case .outputHeightWidthInput: [outputs, side, side, inputs]
        }
    }
}

/// How a canonical weight comes out of stored tensors. Nothing is computed until the weight is asked for.
enum WeightRecipe: Sendable {
    /// The stored elements in their order, under the canonical shape.
    case asStored(StoredTensor)
    /// A kernel stored output-height-width-input, turned to output-input-height-width.
    case turnedKernel(StoredTensor)
    case dequantized(StoredIntegerMatrix)
    case foldedWeight(FoldedConvolution)
    case foldedBias(FoldedConvolution)
    /// Another recipe's weight, changed by an adapter.
    indirect case adapted(WeightRecipe, AdapterUpdate)

    /// The stored tensors that go into it.
    var sources: [StoredTensor] {
        switch self {
        case .asStored(let stored), .turnedKernel(let stored): [stored]
        case .dequantized(let matrix): [matrix.packed, matrix.scales, matrix.biases]
        case .foldedWeight(let convolution), .foldedBias(let convolution): convolution.sources
        case .adapted(let base, _): base.sources
        }
    }

    /// The element type that comes out.
    var dataType: DataType {
        switch self {
        case .asStored(let stored), .turnedKernel(let stored): stored.dataType
        case .dequantized, .foldedWeight, .foldedBias, .adapted: .float32
        }
    }

    /// Makes the weight.
    /// - Parameter shape: canonical shape; has as many elements as the recipe yields.
    func make(shape: [Int], from catalog: TensorCatalog) throws(CheckpointError) -> Tensor {
        switch self {
        case .asStored(let stored):
            let tensor = try catalog.tensor(stored)
            return try CheckpointError.wrapping { () throws(TensorError) in try tensor.reshaped(shape) }
        case .turnedKernel(let stored):
            let tensor = try catalog.tensor(stored)
            return try CheckpointError.wrapping { () throws(TensorError) in
                try Self.turned(tensor, shape: shape)
            }
        case .dequantized(let matrix):
            return try matrix.values(from: catalog)
        case .foldedWeight(let convolution):
            let values = try convolution.weight(from: catalog)
            return try CheckpointError.wrapping { () throws(TensorError) in try Tensor(values, shape: shape) }
        case .foldedBias(let convolution):
            let values = try convolution.bias(from: catalog)
            return try CheckpointError.wrapping { () throws(TensorError) in try Tensor(values, shape: shape) }
        case .adapted(let base, let update):
            return try update.applied(to: base, shape: shape, from: catalog)
        }
    }

    /// [O, H, W, I] to [O, I, H, W] in the stored element type.
    private static func turned(_ tensor: Tensor, shape: [Int]) throws(TensorError) -> Tensor {
        let width = tensor.dataType.byteWidth
        let (outputs, inputs, area) = (shape[0], shape[1], shape[2] * shape[3])
        let storage = try Storage(byteCount: tensor.byteCount)
        let source = tensor.bytes
        let target = storage.mutableBytes
        for output in 0..<outputs {
            for position in 0..<area {
                for input in 0..<inputs {
                    let from = ((output * area + position) * inputs + input) * width
                    let to = ((output * inputs + input) * area + position) * width
                    for byte in 0..<width { target[to + byte] = source[from + byte] }
                }
            }
        }
        return try Tensor(tensor.dataType, shape: shape, storage: storage)
    }
}
