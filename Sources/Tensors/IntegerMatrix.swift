internal import CKernels

/// A matrix [outputs, inputs] that somebody else quantised, in MLX's affine form:
/// w[o, i] = scale[o, i / group] · q[o, i] + bias[o, i / group], q unsigned.
package struct IntegerMatrix: Sendable {
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
    private let scales: [Float]
    private let biases: [Float]

    /// - Parameters:
    ///   - words: uint32 [outputs, inputs · bits / 32], the first input in the lowest bits.
    ///   - scales: [outputs, inputs / group]
    ///   - biases: [outputs, inputs / group]
    /// - Throws: `TensorError.unexpectedShape`.
    package init(
        words: Tensor, scales: Tensor, biases: Tensor, outputs: Int, inputs: Int, bits: Int, group: Int
    ) throws(TensorError) {
        guard Self.bitWidths.contains(bits), Self.groupSizes.contains(group), outputs > 0, inputs > 0,
            inputs.isMultiple(of: group), words.dataType == .uint32,
            words.shape == [outputs, inputs * bits / 32], scales.shape == [outputs, inputs / group],
            biases.shape == scales.shape
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
        self.scales = scales.floats()
        self.biases = biases.floats()
    }

    var format: WeightFormat { bits == 4 ? .int4(group: group) : .int8(group: group) }

    func withValues(_ body: (fv_integers) -> Void) {
        scales.withUnsafeBufferPointer { scales in
            biases.withUnsafeBufferPointer { biases in
                guard let scales = scales.baseAddress, let biases = biases.baseAddress,
                    let words = words.bytes.baseAddress
                else { return }
                body(fv_integers(words: words, scales: scales, biases: biases))
            }
        }
        withExtendedLifetime(words) {}
    }

    func releasePages() { words.releasePages() }
}

extension Compute {
    /// Whether the kernels multiply unsigned integers of so many bits as they are. Without VNNI, weights have
    /// 7 bits.
    package func keepsIntegers(bits: Int) -> Bool { bits == 4 || kernels.pointee.weight_limit == 127 }
}
