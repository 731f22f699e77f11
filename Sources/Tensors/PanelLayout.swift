internal import CKernels

/// How a matrix, or the two of a gated pair, stands in packed panels: all that one needs to know to use the bytes.
package struct PanelLayout: Sendable, Hashable {
    /// Of one of the two matrices where it is a gated pair.
    package let outputs: Int
    package let inputs: Int
    package let isGated: Bool
    package let format: WeightFormat
    /// Groups have minima: w = scale · q + minimum.
    package let hasMinima: Bool
    /// Inputs are spread over each other, in the weights as in what they are multiplied with
    /// (`CKernels/include/fv_quantised.h`).
    package let isRotated: Bool
    /// Outputs per panel.
    package let panelWidth: Int
    /// Largest integer of an 8-bit weight, a key of ``weightLimits``.
    package let weightLimit: Int
    /// What an 8-bit 0 is stored as: 0 where bytes are signed, else the limit and one.
    package let weightZero: Int
    /// Whose floating-point numbers these are; nil of integers, whose panels several instruction sets read.
    let instructionSet: InstructionSet?
    package let byteCount: Int

    /// The limits, and how many bits −limit … limit are: of processors with VNNI or NEON, of others, and of these before
    /// (such files are packed anew).
    package static let weightLimits = [127: 8.0, 97: 7.6, 63: 7.0]

    /// Integers, as a file describes them.
    /// - Returns: nil when there can be no such panels.
    package init?(
        outputs: Int, inputs: Int, isGated: Bool, format: WeightFormat, hasMinima: Bool, isRotated: Bool,
        panelWidth: Int,
        weightLimit: Int, weightZero: Int
    ) {
        guard let group = format.group, WeightFormat.groups.contains(group), outputs > 0, inputs > 0,
            inputs <= 1 << 32, outputs <= 1 << 32, [8, 16, 32, 64].contains(panelWidth),
            Self.weightLimits[weightLimit] != nil, weightZero == 0 || weightZero == weightLimit + 1
        else { return nil }
        self.init(
            outputs: outputs, inputs: inputs, isGated: isGated, format: format, hasMinima: hasMinima,
            isRotated: isRotated, panelWidth: panelWidth, weightLimit: weightLimit, weightZero: weightZero,
            instructionSet: nil)
    }

    /// As the kernels of `compute` read them.
    /// - Throws: `TensorError.allocationFailed` for more bytes than can be counted.
    init(
        outputs: Int, inputs: Int, isGated: Bool, format: WeightFormat, hasMinima: Bool, isRotated: Bool,
        for compute: Compute
    ) throws(TensorError) {
        if let group = format.group {
            precondition(WeightFormat.groups.contains(group), "groups of \(group) are not possible")
        }
        let table = compute.kernels.pointee
        guard
            let layout = PanelLayout(
                outputs: outputs, inputs: inputs, isGated: isGated, format: format, hasMinima: hasMinima,
                isRotated: isRotated, panelWidth: table.panel_width, weightLimit: Int(table.weight_limit),
                weightZero: Int(table.weight_zero),
                instructionSet: format.group == nil ? compute.instructionSet : nil)
        else { throw .allocationFailed(bytes: Int.max) }
        self = layout
    }

    /// - Returns: nil for more bytes than can be counted.
    private init?(
        outputs: Int, inputs: Int, isGated: Bool, format: WeightFormat, hasMinima: Bool, isRotated: Bool,
        panelWidth: Int,
        weightLimit: Int, weightZero: Int, instructionSet: InstructionSet?
    ) {
        self.outputs = outputs
        self.inputs = inputs
        self.isGated = isGated
        self.format = format
        self.hasMinima = hasMinima
        self.isRotated = isRotated
        self.panelWidth = panelWidth
        self.weightLimit = weightLimit
        self.weightZero = weightZero
        self.instructionSet = instructionSet
        let perPanel = isGated ? panelWidth / 2 : panelWidth
        let panelBytes = Self.panelBytes(format, inputs: inputs, hasMinima: hasMinima, width: panelWidth)
        let (bytes, overflow) = panelBytes.multipliedReportingOverflow(
            by: (outputs + perPanel - 1) / perPanel)
        guard !overflow else { return nil }
        byteCount = bytes
    }

    private static func panelBytes(_ format: WeightFormat, inputs: Int, hasMinima: Bool, width: Int) -> Int {
        guard let group = format.group else {
            return fv_packed_panel_bytes(format == .float32 ? FV_FLOAT32 : FV_BFLOAT16, inputs, width)
        }
        return fv_quantised_panel_bytes(inputs, group, Int32(format.bits), hasMinima ? 1 : 0, width)
    }

    /// Bytes of one panel.
    var panelBytes: Int {
        Self.panelBytes(format, inputs: inputs, hasMinima: hasMinima, width: panelWidth)
    }

    /// Number of panels.
    var panels: Int {
        let perPanel = isGated ? panelWidth / 2 : panelWidth
        return (outputs + perPanel - 1) / perPanel
    }

    /// Whether the kernels of `compute` read such panels.
    func fits(_ compute: Compute) -> Bool {
        guard format.group != nil else { return instructionSet == compute.instructionSet }
        let table = compute.kernels.pointee
        return panelWidth == table.panel_width
            && (format.bits == 4
                || weightLimit == Int(table.weight_limit) && weightZero == Int(table.weight_zero))
    }
}
