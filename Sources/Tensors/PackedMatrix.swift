internal import CKernels

/// Weights [outputs, inputs] of a linear layer, packed for the micro-kernel of the instruction set they were
/// made for (`CKernels/include/fv_pack.h` draws the layout). Use it with a ``Compute`` of the same one.
package struct PackedMatrix: Sendable {
    package let outputs: Int
    package let inputs: Int
    let panels: PackedPanels

    /// - Parameters:
    ///   - weight: [outputs, inputs] (further dimensions of extent 1 are ignored), float32, float16 or
    ///     bfloat16. Pages of a mapped file are released once they are packed.
    ///   - format: how the packed weights are stored.
    /// - Throws: `TensorError.unexpectedShape` or `.allocationFailed`.
    package init(_ weight: Tensor, format: WeightFormat, compute: Compute) throws(TensorError) {
        (outputs, inputs) = try Self.extents(weight, what: "linear weight")
        panels = try PackedPanels(weight, nil, format: format, compute: compute)
    }

    package var byteCount: Int { panels.storage.count }

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
    package let outputs: Int
    package let inputs: Int
    let panels: PackedPanels

    /// - Parameters:
    ///   - gate: [outputs, inputs].
    ///   - up: of the same shape and type.
    /// - Throws: `TensorError.unexpectedShape` or `.allocationFailed`.
    package init(gate: Tensor, up: Tensor, format: WeightFormat, compute: Compute) throws(TensorError) {
        (outputs, inputs) = try PackedMatrix.extents(gate, what: "gate weight")
        guard up.shape == gate.shape, up.dataType == gate.dataType else {
            throw .unexpectedShape(
                what: "up weight", expected: "\(gate.dataType.rawValue) \(gate.shape)",
                got: "\(up.dataType.rawValue) \(up.shape)")
        }
        panels = try PackedPanels(gate, up, format: format, compute: compute)
    }

    package var byteCount: Int { panels.storage.count }
}

/// Packed panels and what a kernel must know about them.
struct PackedPanels: Sendable {
    let storage: Storage
    let format: WeightFormat
    let instructionSet: InstructionSet
    /// Number of panels.
    let count: Int

    init(_ source: Tensor, _ second: Tensor?, format: WeightFormat, compute: Compute) throws(TensorError) {
        if let group = format.group {
            precondition([32, 64, 128, 256].contains(group), "groups of \(group) are not possible")
        }
        let width = compute.kernels.pointee.panel_width
        let outputs = source.shape[0]
        let inputs = source.shape[1]
        let perPanel = second == nil ? width : width / 2
        let panels = (outputs + perPanel - 1) / perPanel
        let panelBytes = Self.panelBytes(format, inputs: inputs, compute: compute)
        let (bytes, overflow) = panelBytes.multipliedReportingOverflow(by: panels)
        guard !overflow else { throw .allocationFailed(bytes: Int.max) }
        let storage = try Storage(uninitializedByteCount: bytes)
        guard let sourceType = source.dataType.kernelType, let base = source.bytes.baseAddress,
            let target = storage.mutableBytes.baseAddress
        else {
            throw .unexpectedShape(
                what: "linear weight", expected: "floating-point numbers", got: source.dataType.rawValue)
        }
        // Enough panels per task to be worth a task, few enough that every thread gets some.
        let perTask = max(1, 65536 / max(panelBytes, 1))
        let tasks = (panels + perTask - 1) / perTask
        if let group = format.group {
            let pack = fv_quantised_pack(
                source: base, second: second?.bytes.baseAddress, source_type: sourceType,
                bits: Int32(format.bits), group: group, outputs: outputs, inputs: inputs,
                kernels: compute.kernels, first_panel: 0, panel_count: 0,
                packed: target,
                scratch: storage.floats)
            compute.pool.run(tasks, scratchBytes: 2 * group * 4) { task, _, scratch in
                var part = pack
                part.scratch = scratch.assumingMemoryBound(to: Float.self)
                part.first_panel = task * perTask
                part.panel_count = min(perTask, panels - part.first_panel)
                fv_quantised_pack_panels(&part)
            }
        } else {
            let pack = fv_pack(
                source: base, second: second?.bytes.baseAddress, source_type: sourceType,
                packed_type: format == .float32 ? FV_FLOAT32 : FV_BFLOAT16, outputs: outputs, inputs: inputs,
                nr: width, first_panel: 0, panel_count: 0, packed: target)
            compute.pool.run(tasks) { task, _ in
                var part = pack
                part.first_panel = task * perTask
                part.panel_count = min(perTask, panels - part.first_panel)
                fv_pack_panels(&part)
            }
        }
        source.releasePages()
        second?.releasePages()
        self.storage = storage
        self.format = format
        self.instructionSet = compute.instructionSet
        count = panels
    }

    private static func panelBytes(_ format: WeightFormat, inputs: Int, compute: Compute) -> Int {
        let width = compute.kernels.pointee.panel_width
        guard let group = format.group else {
            return fv_packed_panel_bytes(format == .float32 ? FV_FLOAT32 : FV_BFLOAT16, inputs, width)
        }
        return fv_quantised_panel_bytes(
            inputs, group, Int32(format.bits), 0, width)
    }

    /// Start of panel 0. Valid while the storage lives.
    var base: UnsafeRawPointer { UnsafeRawPointer(storage.floats) }
}

extension Storage {
    /// The bytes of an allocated storage as numbers, for readers inside this room.
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
