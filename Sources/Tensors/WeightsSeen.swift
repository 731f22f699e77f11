internal import CKernels
internal import Synchronization

/// What a look at all numbers of a weight [outputs, …] found, on the way of packing it.
package struct WeightsSeen: Sendable, Hashable {
    /// A number is NaN or infinite: nothing that is computed with it means anything.
    package let hasNotFinite: Bool
    package let outputs: Int
    /// Outputs up to the last one that has a number other than 0.
    package let filledOutputs: Int

    /// Whether so much of the end is 0 that it was hardly trained so: all of it, or a quarter of many outputs. A
    /// download that was broken off leaves zeros where the system had set the file's length aside.
    package var endsInZeros: Bool {
        filledOutputs == 0 || outputs >= 16 && outputs - filledOutputs >= outputs / 4
    }

    init(_ seen: fv_seen, outputs: Int) {
        hasNotFinite = seen.not_finite != 0
        filledOutputs = seen.filled
        self.outputs = outputs
    }

    /// Looks at a tensor that is not packed, on all threads: [outputs, …], or one output where it has no extents.
    /// - Returns: nil for a tensor that holds no floating-point numbers.
    package init?(_ tensor: Tensor, compute: Compute) {
        guard let type = tensor.dataType.kernelType, tensor.count > 0, let base = tensor.bytes.baseAddress
        else {
            return nil
        }
        let outputs = tensor.shape.first ?? 1
        let inputs = tensor.count / outputs
        let seen = Self.gather(outputs, bytesEach: tensor.byteCount / outputs, compute: compute) {
            rows, seen in
            let first = base + rows.lowerBound * inputs * tensor.dataType.byteWidth
            fv_look_at(compute.kernels, first, type, rows.count, inputs, seen)
            // The kernel counts from where it begins.
            if seen.pointee.filled > 0 { seen.pointee.filled += rows.lowerBound }
        }
        withExtendedLifetime(tensor) {}
        self.init(seen.0, outputs: outputs)
    }

    /// What the scales and minima of panels say, which are a ninth of their bytes or less; of a gated pair, of both.
    static func look(at stored: PackedPanels, compute: Compute) -> [WeightsSeen] {
        let layout = stored.layout
        let unused = UnsafeMutablePointer<Float>.allocate(capacity: 1)
        defer { unused.deallocate() }
        var panels = fv_quantised_unpack(
            packed: stored.base,
            bits: Int32(layout.format.bits),
            group: layout.format.group ?? 32, has_minima: layout.hasMinima ? 1 : 0,
            is_gated: layout.isGated ? 1 : 0, is_rotated: layout.isRotated ? 1 : 0, outputs: layout.outputs,
            inputs: layout.inputs,
            panel_width: layout.panelWidth, weight_zero: Int32(layout.weightZero), part: 0, target: unused)
        let perPanel = layout.isGated ? layout.panelWidth / 2 : layout.panelWidth
        let count = (layout.outputs + perPanel - 1) / perPanel
        let seen = withUnsafePointer(to: &panels) { panels in
            gather(count, bytesEach: layout.byteCount / count, compute: compute) { range, seen in
                fv_quantised_look_at(panels, range.lowerBound, range.count, seen)
            }
        }
        withExtendedLifetime(stored.storage) {}
        let first = WeightsSeen(seen.0, outputs: layout.outputs)
        return layout.isGated ? [first, WeightsSeen(seen.1, outputs: layout.outputs)] : [first]
    }

    /// What `body` sees in ranges of `0..<count`, on all threads: of one matrix, or of two.
    private static func gather(
        _ count: Int, bytesEach: Int, compute: Compute,
        _ body: (_ range: Range<Int>, _ seen: UnsafeMutablePointer<fv_seen>) -> Void
    ) -> (fv_seen, fv_seen) {
        let step = max(1, bytesPerTask / max(bytesEach, 1))
        let all = Mutex((fv_seen(), fv_seen()))
        compute.pool.run((count + step - 1) / step) { task, _ in
            withUnsafeTemporaryAllocation(of: fv_seen.self, capacity: 2) { seen in
                seen.initialize(repeating: fv_seen())
                guard let first = seen.baseAddress else { return }
                body(task * step..<min((task + 1) * step, count), first)
                all.withLock { all in
                    all.0.add(seen[0])
                    all.1.add(seen[1])
                }
            }
        }
        return all.withLock { $0 }
    }

    private static let bytesPerTask = 1 << 20
}

extension fv_seen {
    mutating func add(_ other: fv_seen) {
        not_finite |= other.not_finite
        filled = max(filled, other.filled)
    }
}
