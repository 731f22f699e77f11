internal import CKernels

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

    /// Looks at a tensor that is not packed: [outputs, …], or one output where it has no extents.
    /// - Returns: nil for a tensor that holds no floating-point numbers.
    package init?(_ tensor: Tensor, compute: Compute) {
        guard let type = tensor.dataType.kernelType, tensor.count > 0, let base = tensor.bytes.baseAddress
        else {
            return nil
        }
        let outputs = tensor.shape.first ?? 1
        var seen = fv_seen()
        fv_look_at(compute.kernels, base, type, outputs, tensor.count / outputs, &seen)
        withExtendedLifetime(tensor) {}
        self.init(seen, outputs: outputs)
    }
}
