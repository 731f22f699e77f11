internal import CKernels

/// Weights [outputs, inputs] of a linear layer, packed for the micro-kernel of the instruction set they were
/// made for (`CKernels/include/fv_pack.h` draws the layout). Use it with a ``Compute`` of the same one.
package struct PackedMatrix: Sendable {
    package var outputs: Int { panels.layout.outputs }
    package var inputs: Int { panels.layout.inputs }
    package let panels: PackedPanels

    /// - Parameters:
    ///   - weight: [outputs, inputs] (further dimensions of extent 1 are ignored), float32, float16 or
    ///     bfloat16. Pages of a mapped file are released once they are packed.
    ///   - format: how the packed weights are stored.
    ///   - feedback: how rounding errors of integers are made up for; nil to round each weight by itself
    /// - Throws: `TensorError.unexpectedShape` or `.allocationFailed`.
    package init(
        _ weight: Tensor, format: WeightFormat, feedback: ErrorFeedback? = nil, compute: Compute
    ) throws(TensorError) {
        _ = try Self.extents(weight, what: "linear weight")
        panels = try PackedPanels(weight, nil, format: format, feedback: feedback, compute: compute)
    }

    /// Takes over integers as somebody else quantised them, groups and all.
    /// - Throws: `TensorError.allocationFailed`.
    package init(_ weight: IntegerMatrix, compute: Compute) throws(TensorError) {
        panels = try PackedPanels(weight, nil, compute: compute)
    }

    /// Uses panels where they stand, in a file perhaps.
    /// - Returns: nil when they were packed for other kernels, or are a gated pair.
    package init?(_ panels: PackedPanels, compute: Compute) {
        guard !panels.layout.isGated, panels.layout.fits(compute) else { return nil }
        self.panels = panels.looked(compute: compute)
    }

    private init(_ panels: PackedPanels) { self.panels = panels }

    /// The same for products that do not make integers of their inputs.
    package func weightOnly() -> PackedMatrix { PackedMatrix(panels.weightOnly()) }

    package var byteCount: Int { panels.byteCount }

    /// Whether the weights are as exact as the inputs, so that nothing else may be rounded either.
    package var isFloat32: Bool { panels.format == .float32 }

    /// What packing saw, or a look at panels that are used where they stand.
    package var seen: WeightsSeen? { panels.seen.first }

    static func extents(_ weight: Tensor, what: String) throws(TensorError) -> (Int, Int) {
        guard weight.shape.count >= 2, weight.shape.dropFirst(2).allSatisfy({ $0 == 1 }), weight.count > 0,
            weight.dataType.isFloatingPoint
        else {
            throw .unexpectedShape(
                what: what, expected: "[outputs, inputs] of floating-point numbers",
                got: "\(weight.dataType.rawValue) \(weight.shape)")
        }
        return (weight.shape[0], weight.shape[1])
    }
}

/// The `gate` and `up` matrices of a gated feed-forward network, interleaved so that one product gives both
/// factors of an output at once.
package struct PackedGatedMatrix: Sendable {
    /// Outputs of each of the two.
    package var outputs: Int { panels.layout.outputs }
    package var inputs: Int { panels.layout.inputs }
    package let panels: PackedPanels

    /// - Parameters:
    ///   - gate: [outputs, inputs].
    ///   - up: of the same shape and type.
    ///   - feedback: as for ``PackedMatrix``
    /// - Throws: `TensorError.unexpectedShape` or `.allocationFailed`.
    package init(
        gate: Tensor, up: Tensor, format: WeightFormat, feedback: ErrorFeedback? = nil, compute: Compute
    ) throws(TensorError) {
        _ = try PackedMatrix.extents(gate, what: "gate weight")
        guard up.shape == gate.shape, up.dataType == gate.dataType else {
            throw .unexpectedShape(
                what: "up weight", expected: "\(gate.dataType.rawValue) \(gate.shape)",
                got: "\(up.dataType.rawValue) \(up.shape)")
        }
        panels = try PackedPanels(gate, up, format: format, feedback: feedback, compute: compute)
    }

    /// Takes over integers as somebody else quantised them.
    /// - Returns: nil when the two differ in shape, bits or groups.
    /// - Throws: `TensorError.allocationFailed`.
    package init?(gate: IntegerMatrix, up: IntegerMatrix, compute: Compute) throws(TensorError) {
        guard gate.outputs == up.outputs, gate.inputs == up.inputs, gate.bits == up.bits,
            gate.group == up.group
        else { return nil }
        panels = try PackedPanels(gate, up, compute: compute)
    }

    /// Uses panels where they stand, in a file perhaps.
    /// - Returns: nil when they were packed for other kernels, or are no gated pair.
    package init?(_ panels: PackedPanels, compute: Compute) {
        guard panels.layout.isGated, panels.layout.fits(compute) else { return nil }
        self.panels = panels.looked(compute: compute)
    }

    private init(_ panels: PackedPanels) { self.panels = panels }

    /// The same for products that do not make integers of their inputs.
    package func weightOnly() -> PackedGatedMatrix { PackedGatedMatrix(panels.weightOnly()) }

    package var byteCount: Int { panels.byteCount }

    /// What packing, or a look at panels that are used where they stand, saw of the gate and of the other matrix.
    package var seen: [WeightsSeen] { panels.seen }
}

extension Storage {
    /// The bytes of an allocated storage as numbers, for readers inside this module.
    var floats: UnsafeMutablePointer<Float> {
        UnsafeMutableRawPointer(mutating: base).assumingMemoryBound(to: Float.self)
    }
}

extension DataType {
    var kernelType: fv_type? {
        switch self {
        case .float32: FV_FLOAT32
        case .float16: FV_FLOAT16
        case .bfloat16: FV_BFLOAT16
        case .int8, .uint8, .int32, .uint32, .int64: nil
        }
    }
}

extension Tensor {
    /// Tells the system that a mapped tensor has been read for good.
    func releasePages() { storage.releasePages(in: byteOffset..<byteOffset + byteCount) }
}
