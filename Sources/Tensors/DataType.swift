/// The element types that checkpoints may store, named as safetensors names them.
package enum DataType: String, Sendable, Hashable, CaseIterable {
    case float32 = "F32"
    case float16 = "F16"
    case bfloat16 = "BF16"
    case int8 = "I8"
    case uint8 = "U8"
    case int32 = "I32"
    case uint32 = "U32"
    case int64 = "I64"

    /// Bytes that one element takes.
    package var byteWidth: Int {
        switch self {
        case .int8, .uint8: 1
        case .float16, .bfloat16: 2
        case .float32, .int32, .uint32: 4
        case .int64: 8
        }
    }

    package var isFloatingPoint: Bool {
        switch self {
        case .float32, .float16, .bfloat16: true
        case .int8, .uint8, .int32, .uint32, .int64: false
        }
    }
}

/// The arithmetic that a model is loaded for. Accumulation is in float32 in every case.
package enum Precision: String, Sendable, Hashable, CaseIterable {
    /// Weights and activations in float32: the reference.
    case float32
    /// Weights in bfloat16, as checkpoints are published.
    case bfloat16
    /// Weights in 8 bits (7 on processors without VNNI); activations are quantised just before a product.
    case int8
    /// The decoder's layers in 4 bits, all else as with `int8`.
    case int4
}

/// How the weights of a product are stored in memory.
package enum WeightFormat: Sendable, Hashable {
    case float32
    case bfloat16
    /// Unsigned bytes around 128 (around 64, with 7 bits, without VNNI), with a float32 scale for every `group` inputs of an output.
    /// A group is 32, 64, 128 or 256 inputs, the last one of a matrix perhaps fewer.
    case int8(group: Int)
    /// The same with 4 bits around 8.
    case int4(group: Int)

    /// Inputs that can share a scale.
    static let groups = [32, 64, 128, 256]

    package var group: Int? {
        switch self {
        case .float32, .bfloat16: nil
        case .int8(let group), .int4(let group): group
        }
    }

    package var bits: Int {
        switch self {
        case .float32: 32
        case .bfloat16: 16
        case .int8: 8
        case .int4: 4
        }
    }
}
