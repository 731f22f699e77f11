internal import Tensors

/// A matrix in MLX's affine quantisation: w[o, i] = scale[o, i / group] · q[o, i] + bias[o, i / group].
///
/// `packed` is uint32 [outputs, inputs · bits / 32], the first input in the lowest bits; scales and biases
/// are [outputs, inputs / group]. The linear layer's own bias is another tensor.
struct StoredIntegerMatrix: Sendable {
    let packed: StoredTensor
    let scales: StoredTensor
    let biases: StoredTensor
    let outputs: Int
    let inputs: Int
    let quantization: CheckpointLayout.Quantization

    /// The integers as they are.
    func integers(from catalog: TensorCatalog) throws(CheckpointError) -> IntegerMatrix {
        let (words, scaleValues) = (try catalog.tensor(packed), try catalog.tensor(scales))
        let biasValues = try catalog.tensor(biases)
        return try CheckpointError.wrapping { () throws(TensorError) in
            try IntegerMatrix(
                words: words, scales: scaleValues, biases: biasValues, outputs: outputs, inputs: inputs,
                bits: quantization.bits, group: quantization.groupSize)
        }
    }

    /// The weights as float32, [outputs, inputs].
    func values(from catalog: TensorCatalog) throws(CheckpointError) -> Tensor {
        let scaleValues = try catalog.tensor(scales).floats()
        let biasValues = try catalog.tensor(biases).floats()
        let words = try catalog.tensor(packed)
        let bits = quantization.bits
        let group = quantization.groupSize
        let perWord = 32 / bits
        let mask: UInt32 = (1 << UInt32(bits)) - 1
        let groups = inputs / group
        do {
            return try Tensor(float32: [outputs, inputs]) { target in
                let source = words.bytes
                var word = 0
                for output in 0..<outputs {
                    for first in stride(from: 0, to: inputs, by: perWord) {
                        // Groups are multiples of 32 and a word holds at most 8: one group per word.
                        let at = output * groups + first / group
                        let (scale, bias) = (scaleValues[at], biasValues[at])
                        var packed = UInt32(
                            littleEndian: source.loadUnaligned(fromByteOffset: word * 4, as: UInt32.self))
                        for index in 0..<perWord {
                            target[output * inputs + first + index] = scale * Float(packed & mask) + bias
                            packed >>= UInt32(bits)
                        }
                        word += 1
                    }
                }
            }
        } catch {
            throw .tensor(error)
        }
    }
}
