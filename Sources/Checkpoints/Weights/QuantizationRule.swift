internal import StrictJSON
internal import Tensors

/// What config.json says about MLX's affine quantisation, and how it is checked against the tensors.
struct QuantizationRule: Sendable {
    /// The setting for all tensors; nil when config.json has none.
    let global: CheckpointLayout.Quantization?
    /// Whether config.json has settings for single layers, which the tensors themselves then decide.
    let hasOverrides: Bool

    static let none = QuantizationRule(global: nil, hasOverrides: false)

    /// Reads `quantization` (or its twin `quantization_config`) of config.json.
    init(global: CheckpointLayout.Quantization?, hasOverrides: Bool) {
        self.global = global
        self.hasOverrides = hasOverrides
    }

    init(_ root: ConfigurationReader) throws(CheckpointError) {
        let first = try root.section("quantization")
        let second = try root.section("quantization_config")
        guard let section = first ?? second else {
            self = .none
            return
        }
        try section.require("mode", isOneOf: ["affine"])
        guard let bits = try section.integer("bits", in: 1...64),
            let groupSize = try section.integer("group_size", in: 1...65536)
        else { throw section.invalid("bits", expected: "bits and group_size", got: "none") }
        guard IntegerMatrix.bitWidths.contains(bits), IntegerMatrix.groupSizes.contains(groupSize) else {
            throw section.unsupported(
                "bits", expected: "4 or 8 bits in groups of 32, 64 or 128",
                got: "\(bits) bits in groups of \(groupSize)")
        }
        global = .init(bits: bits, groupSize: groupSize)
        hasOverrides = section.keys.contains { section.value($0)?.object != nil }
    }

    /// Checks the three tensors of a quantised matrix; bits and group size follow from their shapes.
    func matrix(
        packed: StoredTensor, scales: StoredTensor, biases: StoredTensor, outputs: Int, inputs: Int
    ) throws(CheckpointError) -> StoredIntegerMatrix {
        guard packed.dataType == .uint32 else {
            throw .unexpectedDataType(
                file: packed.file, tensor: packed.name, expected: "U32, as it is quantised",
                got: packed.dataType.rawValue)
        }
        for stored in [scales, biases] where !stored.dataType.isFloatingPoint {
            throw .unexpectedDataType(
                file: stored.file, tensor: stored.name, expected: "F32, F16 or BF16",
                got: stored.dataType.rawValue)
        }
        let expected = global ?? .init(bits: 4, groupSize: 64)
        guard
            let bits = IntegerMatrix.bitWidths.first(where: { packed.shape == [outputs, inputs * $0 / 32] }),
            inputs.isMultiple(of: 32 / bits)
        else {
            throw .unexpectedShape(
                file: packed.file, tensor: packed.name, expected: [outputs, inputs * expected.bits / 32],
                got: packed.shape)
        }
        guard
            let groupSize = IntegerMatrix.groupSizes.first(where: {
                inputs.isMultiple(of: $0) && scales.shape == [outputs, inputs / $0]
            })
        else {
            throw .unexpectedShape(
                file: scales.file, tensor: scales.name, expected: [outputs, inputs / expected.groupSize],
                got: scales.shape)
        }
        guard biases.shape == scales.shape else {
            throw .unexpectedShape(
                file: biases.file, tensor: biases.name, expected: scales.shape, got: biases.shape)
        }
        let found = CheckpointLayout.Quantization(bits: bits, groupSize: groupSize)
        if let global, global != found, !hasOverrides {
            throw .configurationContradictsTensors(
                file: ConfigurationReader.mainFile, key: "quantization",
                configuration: "\(global.bits) bits in groups of \(global.groupSize)",
                tensors: "\(bits) bits in groups of \(groupSize) (\(packed.name))")
        }
        return StoredIntegerMatrix(
            packed: packed, scales: scales, biases: biases, outputs: outputs, inputs: inputs,
            quantization: found)
    }
}
