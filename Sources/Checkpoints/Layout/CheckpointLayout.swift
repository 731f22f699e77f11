package import Tensors

/// Which of the published layouts a checkpoint follows.
package struct CheckpointLayout: Sendable, Equatable {
    package enum Family: String, Sendable, Equatable {
        /// Apple's original (`llava_qwen2`): `model.vision_tower.vision_tower.model.*`,
        /// `model.mm_projector.*`.
        case apple
        /// Transformers' `fast_vlm`: timm names, `multi_modal_projector.linear_1`.
        case huggingFace
        /// LLaVA's original programs: `model.vision_tower.vision_tower.vision_model.*`, `model.mm_projector.*`.
        case llava
        /// mlx-vlm and its relatives: convolutions stored output-height-width-input, or quantised.
        case mlx
        /// Written by `fastvlm quantize`: integers packed for the kernels, used where they stand in the file.
        case packed
    }

    /// Affine quantisation as MLX stores it: w = scale · q + bias in groups along the input.
    package struct Quantization: Sendable, Hashable {
        package let bits: Int
        package let groupSize: Int

        package init(bits: Int, groupSize: Int) {
            self.bits = bits
            self.groupSize = groupSize
        }
    }

    package let family: Family
    /// The vision tower has its training branches, which are folded at load.
    package let trainTime: Bool
    /// The commonest affine quantisation among the tensors; nil when none is quantised.
    package let quantization: Quantization?
    /// The precision that keeps the weights as they are stored.
    package var precision: Precision {
        packedPrecision ?? quantization.map { $0.bits == 4 ? .int4 : .int8 } ?? .bfloat16
    }
    /// What a packed checkpoint was made for.
    let packedPrecision: Precision?

    package init(
        family: Family, trainTime: Bool, quantization: Quantization?, packedPrecision: Precision? = nil
    ) {
        self.packedPrecision = packedPrecision
        self.family = family
        self.trainTime = trainTime
        self.quantization = quantization
    }
}

extension CheckpointLayout: CustomStringConvertible {
    package var description: String {
        let name =
            switch family {
            case .apple: "Apple"
            case .huggingFace: "Hugging Face"
            case .llava: "LLaVA"
            case .mlx: "MLX"
            case .packed: "packed"
            }
        let quantized = quantization.map { ", \($0.bits)-bit in groups of \($0.groupSize)" } ?? ""
        if let packedPrecision { return "\(name), \(packedPrecision.rawValue)" }
        return name + (trainTime ? ", train-time vision tower" : "") + quantized
    }
}
