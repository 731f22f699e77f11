package import Tensors

/// The weights of a model under one set of names, whatever layout they are stored in.
///
/// Names and shapes (C channels of the stage, D hidden size, V vocabulary rows, H heads, K key-value heads):
///
/// | name | shape |
/// |---|---|
/// | `vision.stem.{0,1,2}.{weight,bias}` | [C, 3, 3, 3], [C, 1, 3, 3], [C, C, 1, 1] |
/// | `vision.stages.s.downsample.large.{weight,bias}` (s ≥ 1) | [C, 1, 7, 7] |
/// | `vision.stages.s.downsample.pointwise.{weight,bias}` | [C, C, 1, 1] |
/// | `vision.stages.s.position.{weight,bias}`, identity folded in | [C, 1, 7, 7] |
/// | `vision.stages.s.blocks.b.mixer.{weight,bias}` (RepMixer) | [C, 1, 3, 3] |
/// | `vision.stages.s.blocks.b.norm.{weight,bias}` (attention) | [C] |
/// | `….attention.qkv.weight`, `….attention.projection.{weight,bias}` | [3C, C], [C, C] |
/// | `….ffn.depthwise.{weight,bias}`, batch normalisation folded, float32 | [C, 1, 7, 7] |
/// | `….ffn.expand.{weight,bias}`, `….ffn.project.{weight,bias}` | [hidden, C], [C, hidden] |
/// | `….scale.mixer` (attention), `….scale.ffn` | [C] |
/// | `vision.final.{weight,bias}` | [F, 1, 3, 3] |
/// | `vision.final.squeeze.reduce.{weight,bias}`, `….expand.{weight,bias}` | [R, F], [F, R] |
/// | `vision.patch.{weight,bias}`, `vision.class_token`, `vision.positions.weight` (vision transformer) | [C, 3, p, p], [C], [N, C] |
/// | `vision.pre_norm.{weight,bias}`, `vision.post_norm.{weight,bias}` | [C] |
/// | `vision.layers.n.attention_norm.{weight,bias}`, `….mlp_norm.{weight,bias}` | [C] |
/// | `….attention.{query,key,value,output}.{weight,bias}` | [C, C] |
/// | `….mlp.expand.{weight,bias}`, `….mlp.project.{weight,bias}` | [hidden, C], [C, hidden] |
/// | `projector.{0,1}.{weight,bias}` | [D, F], [D, D] |
/// | `projector.newline`, the end of a row of visual tokens (tiled images) | [D] |
/// | `decoder.embedding.weight`, `decoder.output.weight` (absent when tied) | [V, D] |
/// | `decoder.layers.n.input_norm.weight`, `.post_norm.weight`, `decoder.norm.weight` | [D] |
/// | `….attention.{query,key,value}.{weight,bias}` | [H · d, D], [K · d, D] |
/// | `….attention.output.weight` | [D, H · d] |
/// | `….mlp.{gate,up}.weight`, `….mlp.down.weight` | [I, D], [D, I] |
///
/// Biases are [outputs]; those of attention are there when the configuration says so. Names and shapes were
/// checked when the checkpoint was opened; asking again with a shape catches a model that expects another.
package struct CanonicalWeights: Sendable {
    struct Entry: Sendable {
        let recipe: WeightRecipe
        let shape: [Int]
        /// Under which source name and shape it is stored once it is folded; nil for its own.
        var source: Source?

        struct Source: Sendable {
            let name: String
            let shape: [Int]

            init(_ name: String, _ shape: [Int]) {
                self.name = name
                self.shape = shape
            }
        }
    }

    private(set) var entries: [String: Entry]
    let catalog: TensorCatalog

    /// Every canonical name, sorted.
    package var names: [String] { entries.keys.sorted() }

    package func contains(_ name: String) -> Bool { entries[name] != nil }

    /// The shape of a weight; nil when there is none of that name.
    package func shape(of name: String) -> [Int]? { entries[name]?.shape }

    /// Makes a weight: a zero-copy view where it is stored as it is used, else a fresh tensor. Folded and
    /// dequantised weights are float32, all others keep the stored element type.
    /// - Parameter shape: what the caller expects, exactly.
    /// - Throws: `CheckpointError.missingTensor`, `CheckpointError.unexpectedShape`.
    package func tensor(_ name: String, shape: [Int]) throws(CheckpointError) -> Tensor {
        guard let tensor = try tensorIfPresent(name, shape: shape) else {
            throw .missingTensor(tensor: name, shape: shape, location: location, others: 0)
        }
        return tensor
    }

    /// As ``tensor(_:shape:)``, but nil when the checkpoint has no weight of that name.
    package func tensorIfPresent(_ name: String, shape: [Int]) throws(CheckpointError) -> Tensor? {
        guard let entry = entries[name] else { return nil }
        guard entry.shape == shape else {
            throw .unexpectedShape(file: location, tensor: name, expected: shape, got: entry.shape)
        }
        return try entry.recipe.make(shape: shape, from: catalog)
    }

    /// A matrix in the form it is stored in.
    /// - Parameter shape: what the caller expects, exactly.
    /// - Throws: as ``tensor(_:shape:)``.
    package func matrix(_ name: String, shape: [Int]) throws(CheckpointError) -> MatrixValues {
        if let entry = entries[name], entry.shape == shape {
            switch entry.recipe {
            case .dequantized(let matrix):
                return .integers(try matrix.integers(from: catalog))
            case .asStored(let stored):
                if let packing = stored.packing {
                    let panels = try CheckpointError.wrapping { () throws(TensorError) in
                        try catalog.files[stored.fileIndex].panels(stored, packing.layout)
                    }
                    return .panels(panels, isSecond: packing.isSecond)
                }
            case .turnedKernel, .foldedWeight, .foldedBias, .adapted: break
            }
        }
        return .numbers(try tensor(name, shape: shape))
    }

    /// Puts a changed weight in place of the one of that name.
    mutating func adapt(_ name: String, _ update: AdapterUpdate) {
        guard let entry = entries[name] else { return }
        entries[name] = Entry(
            recipe: .adapted(entry.recipe, update), shape: entry.shape, source: entry.source)
    }

    /// The file and tensor that a weight comes from, of several the first.
    package func origin(of name: String) -> WeightOrigin {
        guard let stored = entries[name]?.recipe.sources.first else {
            return WeightOrigin(file: location, tensor: name)
        }
        return WeightOrigin(file: stored.file, tensor: stored.name)
    }

    private var location: String { catalog.files.first?.name ?? "checkpoint" }
}

/// Where a weight comes from.
package struct WeightOrigin: Sendable, Hashable {
    package let file: String
    package let tensor: String

    package init(file: String, tensor: String) {
        self.file = file
        self.tensor = tensor
    }
}

/// A matrix as a checkpoint stores it.
package enum MatrixValues: Sendable {
    /// Floating-point numbers.
    case numbers(Tensor)
    /// Integers of another program, which packing keeps as they are.
    case integers(IntegerMatrix)
    /// Integers packed already; of a gated pair the first or the second matrix.
    case panels(PackedPanels, isSecond: Bool)
}
