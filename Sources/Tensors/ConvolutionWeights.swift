internal import CKernels

/// Weights of a depthwise k×k convolution, one plane of channels per tap.
///
/// Padding is k/2. With a multiplier m, output channel o reads input channel o / m.
package struct DepthwiseWeights: Sendable {
    package let inputChannels: Int
    package let outputChannels: Int
    package let kernel: Int
    package let stride: Int
    /// [k·k][multiplier][plane] and then the bias [multiplier][plane].
    private let storage: Storage
    let plane: Int
    var multiplier: Int { outputChannels / inputChannels }

    /// - Parameters:
    ///   - weight: [outputs, 1, k, k], k odd and at most 9.
    ///   - bias: [outputs], zero where nil.
    ///   - inputChannels: divides outputs; the quotient (multiplier) is 1 or 2.
    ///   - stride: 1 or 2.
    /// - Throws: `TensorError.unexpectedShape` or `.allocationFailed`.
    package init(weight: Tensor, bias: Tensor?, inputChannels: Int, stride: Int) throws(TensorError) {
        let shape = weight.shape
        guard shape.count == 4, shape[1] == 1, shape[2] == shape[3], shape[2] % 2 == 1, shape[2] <= 9,
            inputChannels > 0, shape[0] == inputChannels || shape[0] == 2 * inputChannels,
            stride == 1 || stride == 2, bias.map({ $0.count == shape[0] }) ?? true
        else {
            throw .unexpectedShape(
                what: "depthwise weight",
                expected: "[C or 2C, 1, k, k] for C = \(inputChannels), odd k up to 9, stride 1 or 2",
                got: "\(shape), bias \(bias.map { "\($0.shape)" } ?? "none"), stride \(stride)")
        }
        self.inputChannels = inputChannels
        outputChannels = shape[0]
        kernel = shape[2]
        self.stride = stride
        plane = (inputChannels + 15) / 16 * 16
        let multiplier = shape[0] / inputChannels
        let taps = kernel * kernel
        storage = try Storage(byteCount: (taps + 1) * multiplier * plane * 4)
        let values = weight.floats()
        let offsets = bias?.floats()
        let target = storage.floats
        for output in 0..<outputChannels {
            let place = output % multiplier * plane + output / multiplier
            for tap in 0..<taps { target[tap * multiplier * plane + place] = values[output * taps + tap] }
            if let offsets { target[taps * multiplier * plane + place] = offsets[output] }
        }
    }

    var weights: UnsafePointer<Float> { UnsafePointer(storage.floats) }
    var bias: UnsafePointer<Float> {
        UnsafePointer(storage.floats + kernel * kernel * multiplier * plane)
    }
}

/// Weights of a dense k×k convolution on few input channels (the network's first one), as a packed matrix
/// whose inputs are ordered [ky][kx][channel]. Padding is k/2.
package struct StemWeights: Sendable {
    package let inputChannels: Int
    package let outputChannels: Int
    package let kernel: Int
    package let stride: Int
    let matrix: PackedMatrix
    let bias: Vector?

    /// - Parameters:
    ///   - weight: [outputs, inputs, k, k], k odd.
    ///   - bias: [outputs].
    ///   - stride: at least 1.
    ///   - format: `.float32` or `.bfloat16`.
    /// - Throws: `TensorError.unexpectedShape` or `.allocationFailed`.
    package init(
        weight: Tensor, bias: Tensor?, stride: Int, format: WeightFormat, compute: Compute
    ) throws(TensorError) {
        let shape = weight.shape
        guard shape.count == 4, shape[2] == shape[3], shape[2] % 2 == 1, stride >= 1, weight.count > 0,
            bias.map({ $0.count == shape[0] }) ?? true
        else {
            throw .unexpectedShape(
                what: "convolution weight", expected: "[outputs, inputs, k, k] with an odd k",
                got: "\(shape), bias \(bias.map { "\($0.shape)" } ?? "none"), stride \(stride)")
        }
        let outputs = shape[0]
        let inputs = shape[1]
        let taps = shape[2] * shape[2]
        let values = weight.floats()
        var rows = [Float](repeating: 0, count: values.count)
        for output in 0..<outputs {
            for channel in 0..<inputs {
                for tap in 0..<taps {
                    rows[(output * taps + tap) * inputs + channel] =
                        values[(output * inputs + channel) * taps + tap]
                }
            }
        }
        inputChannels = inputs
        outputChannels = outputs
        kernel = shape[2]
        self.stride = stride
        matrix = try PackedMatrix(
            Tensor(rows, shape: [outputs, taps * inputs]), format: format, compute: compute)
        if let bias { self.bias = try Vector(bias) } else { self.bias = nil }
    }
}
