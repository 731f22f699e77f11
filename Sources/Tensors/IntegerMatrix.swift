internal import CKernels

/// A matrix [outputs, inputs] that somebody else quantised, in MLX's affine form:
/// w[o, i] = scale[o, i / group] · q[o, i] + bias[o, i / group], q unsigned.
///
/// It keeps the tensors, which are immutable, so `values` points to what never changes: that makes `@unchecked Sendable`
/// true.
package struct IntegerMatrix: @unchecked Sendable {
    /// Bits of an integer, and inputs that share a scale: what MLX writes.
    package static let bitWidths = [4, 8]
    package static let groupSizes = [32, 64, 128]

    package let outputs: Int
    package let inputs: Int
    /// One of ``bitWidths``.
    package let bits: Int
    /// One of ``groupSizes``.
    package let group: Int
    private let words: Tensor
    private let scales: Tensor
    private let biases: Tensor
    /// The same for the kernels; valid while the matrix lives.
    let values: fv_integers

    /// - Parameters:
    ///   - words: uint32 [outputs, inputs · bits / 32], the first input in the lowest bits.
    ///   - scales: [outputs, inputs / group], float32, float16 or bfloat16
    ///   - biases: [outputs, inputs / group], float32, float16 or bfloat16
    /// - Throws: `TensorError.unexpectedShape`.
    package init(
        words: Tensor, scales: Tensor, biases: Tensor, outputs: Int, inputs: Int, bits: Int, group: Int
    ) throws(TensorError) {
        guard Self.bitWidths.contains(bits), Self.groupSizes.contains(group), outputs > 0, inputs > 0,
            inputs.isMultiple(of: group), words.dataType == .uint32,
            words.shape == [outputs, inputs * bits / 32], scales.shape == [outputs, inputs / group],
            biases.shape == scales.shape, let scaleType = scales.dataType.kernelType,
            let biasType = biases.dataType.kernelType, let wordBase = words.bytes.baseAddress,
            let scaleBase = scales.bytes.baseAddress, let biasBase = biases.bytes.baseAddress
        else {
            throw .unexpectedShape(
                what: "quantised weight",
                expected: "[\(outputs), \(inputs)] in \(bits) bits and groups of \(group)",
                got: "words \(words.shape), scales \(scales.shape), biases \(biases.shape)")
        }
        self.outputs = outputs
        self.inputs = inputs
        self.bits = bits
        self.group = group
        self.words = words
        self.scales = scales
        self.biases = biases
        values = fv_integers(
            words: wordBase, scales: scaleBase, biases: biasBase, scale_type: scaleType, bias_type: biasType)
    }

    /// Bytes of integers, scales and biases as they are stored.
    package var byteCount: Int { words.byteCount + scales.byteCount + biases.byteCount }

    var format: WeightFormat { bits == 4 ? .int4(group: group) : .int8(group: group) }

    /// What scales and biases say of the numbers; neither alone says that an output is 0.
    func seen(compute: Compute) -> [WeightsSeen] {
        [scales, biases].compactMap { WeightsSeen($0, compute: compute) }
    }

    func releasePages() {
        for tensor in [words, scales, biases] { tensor.releasePages() }
    }
}

extension Compute {
    /// Whether the kernels multiply unsigned integers of so many bits as they are. Without VNNI, weights have
    /// 195 values.
    package func keepsIntegers(bits: Int) -> Bool { bits == 4 || kernels.pointee.weight_limit == 127 }
}
