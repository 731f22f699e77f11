internal import CKernels
internal import Synchronization

extension PackedPanels {
    /// Packs one matrix, or the two of a gated pair.
    init(
        _ source: Tensor, _ second: Tensor?, format: WeightFormat, feedback: ErrorFeedback? = nil,
        compute: Compute
    ) throws(TensorError) {
        precondition(
            feedback?.fits(format, inputs: source.shape[1]) ?? true, "feedback for other weights")
        let cut = try Cut(
            PanelLayout(
                outputs: source.shape[0], inputs: source.shape[1], isGated: second != nil, format: format,
                hasMinima: false, isRotated: format.group != nil, for: compute))
        guard let sourceType = source.dataType.kernelType, let base = source.bytes.baseAddress,
            let target = cut.storage.mutableBytes.baseAddress
        else {
            throw .unexpectedShape(
                what: "linear weight", expected: "floating-point numbers", got: source.dataType.rawValue)
        }
        let seen: [WeightsSeen]
        if let group = format.group {
            let factors = try feedback.map { (feedback) throws(TensorError) in
                try Tensor(feedback.factors, shape: [feedback.factors.count])
            }
            let pack = fv_quantised_pack(
                source: base, second: second?.bytes.baseAddress, source_type: sourceType,
                bits: Int32(format.bits), group: group, outputs: source.shape[0], inputs: source.shape[1],
                kernels: compute.kernels, first_panel: 0, panel_count: 0, packed: target,
                scratch: cut.storage.floats,
                feedback: factors?.bytes.baseAddress?.assumingMemoryBound(to: Float.self))
            seen = try cut.run(pack, on: compute, scratchBytes: FV_PACK_SCRATCH * 4) { part, scratch, seen in
                part.scratch = scratch.assumingMemoryBound(to: Float.self)
                fv_quantised_pack_panels(&part, seen)
            }
        } else {
            let pack = fv_pack(
                source: base, second: second?.bytes.baseAddress, source_type: sourceType,
                packed_type: format == .float32 ? FV_FLOAT32 : FV_BFLOAT16, outputs: source.shape[0],
                inputs: source.shape[1], kernels: compute.kernels, first_panel: 0, panel_count: 0,
                packed: target)
            seen = try cut.run(pack, on: compute) { part, _, seen in fv_pack_panels(&part, seen) }
        }
        // Only pointers were used since, and tensors that nobody else holds would be gone.
        withExtendedLifetime((source, second)) {}
        source.releasePages()
        second?.releasePages()
        self.init(layout: cut.layout, storage: cut.storage, seen: seen)
    }

    /// Packs integers as they are. A second matrix must agree with the first in everything but its values.
    init(_ source: IntegerMatrix, _ second: IntegerMatrix?, compute: Compute) throws(TensorError) {
        let cut = try Cut(
            PanelLayout(
                outputs: source.outputs, inputs: source.inputs, isGated: second != nil,
                format: source.format, hasMinima: true, isRotated: false, for: compute))
        guard let target = cut.storage.mutableBytes.baseAddress else { throw .allocationFailed(bytes: 0) }
        let other = second ?? source
        let pack = fv_integers_pack(
            source: source.values, second: other.values, is_gated: cut.layout.isGated ? 1 : 0,
            bits: Int32(source.bits), group: source.group, outputs: source.outputs, inputs: source.inputs,
            panel_width: compute.kernels.pointee.panel_width,
            weight_zero: compute.kernels.pointee.weight_zero, first_panel: 0, panel_count: 0, packed: target)
        let seen = try cut.run(pack, on: compute) { part, _, seen in fv_integers_pack_panels(&part, seen) }
        withExtendedLifetime((source, other)) {}
        source.releasePages()
        second?.releasePages()
        self.init(layout: cut.layout, storage: cut.storage, seen: seen)
    }
}

/// Room for the panels of a matrix, and how they are cut into tasks.
private struct Cut {
    let layout: PanelLayout
    let storage: Storage
    private let perTask: Int

    init(_ layout: PanelLayout) throws(TensorError) {
        self.layout = layout
        storage = try Storage(uninitializedByteCount: layout.byteCount)
        // Enough panels per task to be worth a task, few enough that every thread gets some.
        perTask = max(1, 65536 / max(layout.panelBytes, 1))
    }

    /// Calls `body` with a copy of the description for each task's panels, and with what is to be told of the matrix, or of
    /// both matrices.
    /// - Throws: `TensorError.allocationFailed`.
    func run<Pack: PanelPack>(
        _ pack: Pack, on compute: Compute, scratchBytes: Int = 0,
        _ body: (
            _ part: inout Pack, _ scratch: UnsafeMutableRawPointer, _ seen: UnsafeMutablePointer<fv_seen>
        ) ->
            Void
    ) throws(TensorError) -> [WeightsSeen] {
        // No array of such C structures: Swift 6.3 lays out constant ones too short, and what follows them is read.
        let all = Mutex((fv_seen(), fv_seen()))
        let panels = layout.panels
        let tasks = (panels + perTask - 1) / perTask
        let done = compute.pool.run(tasks, scratchBytes: scratchBytes) { task, _, scratch in
            var part = pack
            part.first_panel = task * perTask
            part.panel_count = min(perTask, panels - part.first_panel)
            withUnsafeTemporaryAllocation(of: fv_seen.self, capacity: 2) { seen in
                seen.initialize(repeating: fv_seen())
                guard let first = seen.baseAddress else { return }
                body(&part, scratch, first)
                all.withLock { all in
                    all.0.add(seen[0])
                    all.1.add(seen[1])
                }
            }
        }
        guard done else { throw .allocationFailed(bytes: scratchBytes) }
        let (first, second) = all.withLock {
            (
                WeightsSeen($0.0, outputs: layout.outputs), WeightsSeen($0.1, outputs: layout.outputs)
            )
        }
        return layout.isGated ? [first, second] : [first]
    }
}

/// What the kernels want to know to pack some of a matrix' panels, under the names that C has for it.
private protocol PanelPack {
    // swift-format-ignore: AlwaysUseLowerCamelCase
    var first_panel: Int { get set }
    // swift-format-ignore: AlwaysUseLowerCamelCase
    var panel_count: Int { get set }
}

extension fv_pack: PanelPack {}
extension fv_quantised_pack: PanelPack {}
extension fv_integers_pack: PanelPack {}
