internal import Tensors

/// Training branches that are one convolution together.
///
/// Every branch is a convolution (or the identity) with batch normalisation; a smaller kernel sits in the
/// middle of the larger one:
/// ```
/// t = γ / √(σ² + ε)      K = Σ sign · W · t      b = Σ sign · (β − μ · t)
/// ```
/// RepMixer then is x + s · (mixer(x) − norm(x)), that is K ← I + s · K, b ← s · b; the positional encoding
/// is x + conv(x). The sums are in float64. Source: FastViT's and timm's `reparameterize`.
struct FoldedConvolution: Sendable {
    struct Normalization: Sendable {
        let scale: StoredTensor
        let shift: StoredTensor
        let mean: StoredTensor
        let variance: StoredTensor
    }

    struct Branch: Sendable {
        /// Nil is the identity.
        var kernel: StoredTensor?
        var side: Int
        var normalization: Normalization?
        var bias: StoredTensor?
        var sign: Double = 1
    }

    static let epsilon = 1e-5

    let outputs: Int
    /// Inputs per group.
    let inputs: Int
    let side: Int
    let order: KernelOrder
    var branches: [Branch]
    /// s above, [outputs].
    var layerScale: StoredTensor?
    /// Whether the module adds its input.
    var isResidual = false

    var sources: [StoredTensor] {
        var all: [StoredTensor] = []
        for branch in branches {
            if let kernel = branch.kernel { all.append(kernel) }
            if let bias = branch.bias { all.append(bias) }
            if let norm = branch.normalization { all += [norm.scale, norm.shift, norm.mean, norm.variance] }
        }
        if let layerScale { all.append(layerScale) }
        return all
    }

    /// The folded kernel, [outputs, inputs, side, side].
    func weight(from catalog: TensorCatalog) throws(CheckpointError) -> [Float] {
        var sum = [Double](repeating: 0, count: outputs * inputs * side * side)
        for branch in branches {
            let scales = try branchScales(branch, from: catalog)
            guard let kernel = branch.kernel else {
                addIdentity(to: &sum, scales: scales)
                continue
            }
            let values = try catalog.tensor(kernel).floats()
            add(values, side: branch.side, scales: scales, to: &sum)
        }
        if let layerScale {
            let factors = try catalog.tensor(layerScale).floats()
            let perOutput = inputs * side * side
            for output in 0..<outputs {
                for index in output * perOutput..<(output + 1) * perOutput {
                    sum[index] *= Double(factors[output])
                }
            }
        }
        if isResidual { addIdentity(to: &sum, scales: [Double](repeating: 1, count: outputs)) }
        return sum.map { Float($0) }
    }

    /// The folded bias, [outputs].
    func bias(from catalog: TensorCatalog) throws(CheckpointError) -> [Float] {
        var sum = [Double](repeating: 0, count: outputs)
        for branch in branches {
            if let bias = branch.bias {
                let values = try catalog.tensor(bias).floats()
                for output in 0..<outputs { sum[output] += branch.sign * Double(values[output]) }
            }
            guard let normalization = branch.normalization else { continue }
            let scales = try branchScales(branch, from: catalog)
            let shift = try catalog.tensor(normalization.shift).floats()
            let mean = try catalog.tensor(normalization.mean).floats()
            for output in 0..<outputs {
                sum[output] += branch.sign * Double(shift[output]) - Double(mean[output]) * scales[output]
            }
        }
        if let layerScale {
            let factors = try catalog.tensor(layerScale).floats()
            for output in 0..<outputs { sum[output] *= Double(factors[output]) }
        }
        return sum.map { Float($0) }
    }

    /// sign · t for every output.
    private func branchScales(_ branch: Branch, from catalog: TensorCatalog) throws(CheckpointError)
        -> [Double]
    {
        guard let normalization = branch.normalization else {
            return [Double](repeating: branch.sign, count: outputs)
        }
        let scale = try catalog.tensor(normalization.scale).floats()
        let variance = try catalog.tensor(normalization.variance).floats()
        return (0..<outputs).map { output in
            branch.sign * Double(scale[output]) / (Double(variance[output]) + Self.epsilon).squareRoot()
        }
    }

    private func add(_ values: [Float], side small: Int, scales: [Double], to sum: inout [Double]) {
        let border = (side - small) / 2
        for output in 0..<outputs {
            for input in 0..<inputs {
                for y in 0..<small {
                    for x in 0..<small {
                        let source =
                            switch order {
                            case .outputInputHeightWidth: ((output * inputs + input) * small + y) * small + x
                            case .outputHeightWidthInput: ((output * small + y) * small + x) * inputs + input
                            }
                        let target = ((output * inputs + input) * side + y + border) * side + x + border
                        sum[target] += Double(values[source]) * scales[output]
                    }
                }
            }
        }
    }

    /// Output o passes input o of its group through: id[o, o mod inputs, centre, centre] = 1.
    private func addIdentity(to sum: inout [Double], scales: [Double]) {
        for output in 0..<outputs {
            let kernel = output * inputs + output % inputs
            sum[(kernel * side + side / 2) * side + side / 2] += scales[output]
        }
    }
}
