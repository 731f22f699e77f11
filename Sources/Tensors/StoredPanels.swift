internal import CKernels

/// What one needs to know of packed integer weights to use them where they stand.
package struct PanelLayout: Sendable, Hashable {
    /// Of one of the two matrices where it is a gated pair.
    package let outputs: Int
    package let inputs: Int
    package let isGated: Bool
    /// `.int8` or `.int4`.
    package let format: WeightFormat
    package let hasMinima: Bool
    /// Outputs per panel.
    package let panelWidth: Int
    /// Largest integer of an 8-bit weight: 63 or 127.
    package let weightLimit: Int
    package let byteCount: Int

    /// - Returns: nil when there can be no such panels.
    package init?(
        outputs: Int, inputs: Int, isGated: Bool, format: WeightFormat, hasMinima: Bool, panelWidth: Int,
        weightLimit: Int
    ) {
        guard let group = format.group, WeightFormat.groups.contains(group), outputs > 0, inputs > 0,
            inputs <= 1 << 32, outputs <= 1 << 32, [8, 16, 32, 64].contains(panelWidth),
            weightLimit == 63 || weightLimit == 127
        else { return nil }
        self.outputs = outputs
        self.inputs = inputs
        self.isGated = isGated
        self.format = format
        self.hasMinima = hasMinima
        self.panelWidth = panelWidth
        self.weightLimit = weightLimit
        let perPanel = isGated ? panelWidth / 2 : panelWidth
        let panelBytes = fv_quantised_panel_bytes(
            inputs, group, Int32(format.bits), hasMinima ? 1 : 0, panelWidth)
        let (bytes, overflow) = panelBytes.multipliedReportingOverflow(
            by: (outputs + perPanel - 1) / perPanel)
        guard !overflow else { return nil }
        byteCount = bytes
    }

    func fits(_ compute: Compute) -> Bool {
        panelWidth == compute.kernels.pointee.panel_width
            && (format.bits == 4 || weightLimit == compute.kernels.pointee.weight_limit)
    }
}

/// Packed integer weights somewhere in a file or in memory.
package struct StoredPanels: Sendable {
    package let layout: PanelLayout
    let storage: Storage
    let byteOffset: Int

    /// - Returns: nil when the panels do not fit into the storage, or do not stand on a cache line.
    package init?(layout: PanelLayout, storage: Storage, byteOffset: Int) {
        guard byteOffset >= 0, byteOffset.isMultiple(of: Storage.alignment),
            layout.byteCount <= storage.count, byteOffset <= storage.count - layout.byteCount
        else { return nil }
        self.layout = layout
        self.storage = storage
        self.byteOffset = byteOffset
    }

    /// The panels as bytes, a [byteCount] tensor.
    package func tensor() throws(TensorError) -> Tensor {
        try Tensor(.uint8, shape: [layout.byteCount], storage: storage, byteOffset: byteOffset)
    }

    /// The weights as numbers, float32 [outputs, inputs].
    /// - Parameter isSecond: the `up` matrix of a gated pair.
    package func values(isSecond: Bool = false) throws(TensorError) -> Tensor {
        try Tensor(float32: [layout.outputs, layout.inputs]) { target in
            guard let target = target.baseAddress else { return }
            var call = fv_quantised_unpack(
                packed: UnsafeRawPointer(storage.base) + byteOffset, bits: Int32(layout.format.bits),
                group: layout.format.group ?? 32, has_minima: layout.hasMinima ? 1 : 0,
                is_gated: layout.isGated ? 1 : 0, outputs: layout.outputs, inputs: layout.inputs,
                panel_width: layout.panelWidth, weight_limit: Int32(layout.weightLimit),
                part: isSecond ? 1 : 0, target: target)
            fv_quantised_unpack(&call)
            withExtendedLifetime(storage) {}
        }
    }
}
