internal import CKernels

/// Weights packed for the micro-kernels, in memory or in a mapped file: one matrix, or the two of a gated pair
/// (`CKernels/include/fv_pack.h` and `fv_quantised.h` draw the layouts).
package struct PackedPanels: Sendable {
    package let layout: PanelLayout
    /// What packing saw of the matrix, or of both of a gated pair; nothing of panels that are used where they stand.
    let seen: [WeightsSeen]
    let storage: Storage
    /// Whether what they are multiplied with stays float32 where they are integers.
    private(set) var isWeightOnly = false
    private let byteOffset: Int

    /// Panels somewhere in a file or in memory.
    /// - Returns: nil when they do not fit into the storage, or do not stand on a cache line.
    package init?(layout: PanelLayout, storage: Storage, byteOffset: Int) {
        guard byteOffset >= 0, byteOffset.isMultiple(of: Storage.alignment),
            layout.byteCount <= storage.count, byteOffset <= storage.count - layout.byteCount
        else { return nil }
        self.layout = layout
        self.storage = storage
        self.byteOffset = byteOffset
        seen = []
    }

    /// The same after a look at what stands in them.
    func looked(compute: Compute) -> PackedPanels {
        PackedPanels(self, seen: WeightsSeen.look(at: self, compute: compute))
    }

    private init(_ panels: PackedPanels, seen: [WeightsSeen]) {
        layout = panels.layout
        storage = panels.storage
        byteOffset = panels.byteOffset
        isWeightOnly = panels.isWeightOnly
        self.seen = seen
    }

    /// The same integers for products with float32 inputs; floating-point numbers as they are.
    func weightOnly() -> PackedPanels {
        var panels = self
        panels.isWeightOnly = format.group != nil
        return panels
    }

    /// Panels that were just packed.
    init(layout: PanelLayout, storage: Storage, seen: [WeightsSeen]) {
        self.layout = layout
        self.storage = storage
        self.seen = seen
        byteOffset = 0
    }

    var format: WeightFormat { layout.format }
    /// Whether they can be stored, as integers can.
    package var isStorable: Bool { format.group != nil }
    var byteCount: Int { layout.byteCount }

    /// Start of panel 0. Valid while the panels live.
    var base: UnsafeRawPointer { UnsafeRawPointer(storage.base) + byteOffset }

    /// The panels as bytes, a [byteCount] tensor.
    package func tensor() throws(TensorError) -> Tensor {
        try Tensor(.uint8, shape: [layout.byteCount], storage: storage, byteOffset: byteOffset)
    }

    /// Integer weights as numbers, float32 [outputs, inputs].
    /// - Parameter isSecond: the `up` matrix of a gated pair.
    /// - Throws: `TensorError.allocationFailed`; `.unexpectedShape` for panels of floating-point numbers.
    package func values(isSecond: Bool = false) throws(TensorError) -> Tensor {
        guard let group = format.group else {
            throw .unexpectedShape(what: "packed weights", expected: "integers", got: "\(format)")
        }
        return try Tensor(float32: [layout.outputs, layout.inputs]) { target in
            guard let target = target.baseAddress else { return }
            var call = fv_quantised_unpack(
                packed: base, bits: Int32(format.bits), group: group, has_minima: layout.hasMinima ? 1 : 0,
                is_gated: layout.isGated ? 1 : 0, is_rotated: layout.isRotated ? 1 : 0,
                outputs: layout.outputs, inputs: layout.inputs,
                panel_width: layout.panelWidth, weight_zero: Int32(layout.weightZero),
                part: isSecond ? 1 : 0, target: target)
            fv_quantised_unpack(&call)
            withExtendedLifetime(storage) {}
        }
    }
}
