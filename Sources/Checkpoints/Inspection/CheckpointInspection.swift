package import Tensors

/// What is in a checkpoint, for people: `fastvlm inspect`.
package struct CheckpointInspection: Sendable {
    /// A part of the network.
    package struct Part: Sendable, Equatable {
        package let name: String
        /// As used, that is with training branches and batch normalisation folded.
        package let parameters: Int
        /// As stored.
        package let bytes: Int
    }

    /// Stored tensors of one element type.
    package struct DataTypeCount: Sendable, Equatable {
        package let dataType: DataType
        package let tensors: Int
        package let bytes: Int
    }

    /// What a packed checkpoint says of its integers.
    package struct Packing: Sendable, Equatable {
        /// Bits that 8-bit weights really have: 7.6 where they were packed for kernels that add two products in 16 bits.
        package let bitsOfInt8: Double
        /// What rounding changes of a matrix' products, as a share of their size, by canonical name.
        package let errors: [String: Double]
    }

    package let layout: CheckpointLayout
    package let configuration: ModelConfiguration
    /// Names of the weight files.
    package let files: [String]
    /// Bytes of the weight files.
    package let fileBytes: Int
    /// In the order of an image's way through.
    package let parts: [Part]
    /// By bytes, most first.
    package let dataTypes: [DataTypeCount]
    /// Bytes that the weights take once loaded, per precision. Vectors and depthwise kernels stay float32, and the
    /// embedding stays as it is stored, because its rows are read in place; a tied one is there a second time, packed.
    package let weightBytes: [Precision: Int]
    /// Bytes of one token's keys and values in all layers, per precision.
    package let cacheBytesPerToken: [Precision: Int]
    /// Stored tensors that are passed over; see ``Checkpoint``.
    package let ignoredTensors: [String]
    /// Of packed weights; nil of others.
    package let packing: Packing?
    /// Values assumed, contradictions that change nothing, and what else is worth a look.
    package let oddities: [CheckpointRemark]

    package var parameters: Int { parts.reduce(0) { $0 + $1.parameters } }
}

extension Checkpoint {
    /// Counts what the checkpoint holds.
    package func inspection() throws(CheckpointError) -> CheckpointInspection {
        let catalog = weights.catalog
        var types: [DataType: (tensors: Int, bytes: Int)] = [:]
        for stored in catalog.tensors.values {
            types[stored.dataType, default: (0, 0)].tensors += 1
            types[stored.dataType, default: (0, 0)].bytes += stored.byteCount
        }
        var used: Set<String> = []
        for entry in weights.entries.values { used.formUnion(entry.recipe.sources.map(\.name)) }
        let text = configuration.text
        let cached = 2 * text.layers * text.keyValueWidth
        return CheckpointInspection(
            layout: layout, configuration: configuration, files: catalog.files.map(\.name),
            fileBytes: catalog.byteCount, parts: parts(),
            dataTypes: types.map { .init(dataType: $0.key, tensors: $0.value.tensors, bytes: $0.value.bytes) }
                .sorted { ($1.bytes, $0.dataType.rawValue) < ($0.bytes, $1.dataType.rawValue) },
            weightBytes: [.float32: weightBytes(.float32), .bfloat16: weightBytes(.bfloat16)],
            cacheBytesPerToken: [.float32: cached * 4, .bfloat16: cached * 2],
            ignoredTensors: catalog.tensors.keys.filter { !used.contains($0) }.sorted(),
            packing: try PackedCheckpointMetadata(catalog)?.packing,
            oddities: remarks + oddities(types: Set(types.keys)))
    }

    private func parts() -> [CheckpointInspection.Part] {
        let groups = [
            ("vision tower", "vision."), ("projector", "projector."), ("embedding", "decoder.embedding."),
            ("decoder layers", "decoder.layers."), ("decoder norm", "decoder.norm."),
            ("output projection", "decoder.output."),
        ]
        return groups.compactMap { name, prefix in
            let entries = weights.entries.filter { $0.key.hasPrefix(prefix) }.values
            guard !entries.isEmpty else { return nil }
            // Weight and bias of a folded module share sources: count each stored tensor once.
            let stored = Dictionary(
                entries.flatMap(\.recipe.sources).map { ($0.name, $0.byteCount) },
                uniquingKeysWith: { first, _ in first })
            return .init(
                name: name, parameters: entries.reduce(0) { $0 + $1.shape.reduce(1, *) },
                bytes: stored.values.reduce(0, +))
        }
    }

    private func weightBytes(_ precision: Precision) -> Int {
        let matrixWidth = precision == .float32 ? 4 : 2
        let table = "decoder.embedding.weight"
        let scores = configuration.text.tiedEmbeddings ? table : "decoder.output.weight"
        return weights.entries.reduce(0) { total, item in
            let (name, entry) = item
            let count = entry.shape.reduce(1, *)
            let isMatrix = entry.shape.count >= 2 && entry.shape[1] > 1
            // The table of the scores is packed in bfloat16 where it is stored so, in float32 precision too.
            let width = name == scores && entry.recipe.dataType == .bfloat16 ? 2 : matrixWidth
            guard name == table else { return total + count * (isMatrix ? width : 4) }
            let packed = scores == table ? count * width : 0
            if case .adapted = entry.recipe { return total + count * 4 + packed }
            return total + entry.recipe.sources.reduce(packed) { $0 + $1.byteCount }
        }
    }

    private func oddities(types: Set<DataType>) -> [CheckpointRemark] {
        var found: [CheckpointRemark] = []
        let floats = types.filter(\.isFloatingPoint)
        if floats.count > 1 {
            found.append(
                .notice("mixed element types: \(floats.map(\.rawValue).sorted().joined(separator: ", "))"))
        }
        if layout.trainTime {
            found.append(.notice("the vision tower has training branches; they are folded at every load"))
        }
        if configuration.text.tiedEmbeddings,
            weights.catalog.tensors.keys.contains(where: { $0.hasSuffix("lm_head.weight") })
        {
            found.append(
                .notice("the output projection is stored but repeats the embedding table; it is not loaded"))
        }
        return found
    }
}
