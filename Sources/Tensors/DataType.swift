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

/// How the weights of a product are stored in memory.
package enum WeightFormat: Sendable, Hashable {
    case float32
    case bfloat16
    /// Bytes with a float32 scale for every `group` inputs of an output: unsigned around 128, around 98 with 195 values
    /// (AVX2, AVX-512 without VNNI), or signed (NEON).
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

    /// 8 bits in place of 4, in the same groups.
    package var inEightBits: WeightFormat {
        if case .int4(let group) = self { .int8(group: group) } else { self }
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
