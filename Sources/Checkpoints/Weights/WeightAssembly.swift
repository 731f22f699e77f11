internal import Tensors

/// Collects the recipe of every weight that a configuration calls for, checks types and shapes against the
/// stored tensors, and keeps book of what has been used.
struct WeightAssembly {
    /// By source name; see ``SourceNames``.
    let sources: [String: StoredTensor]
    let order: KernelOrder
    /// What config.json says about quantised tensors.
    let quantization: QuantizationRule
    /// Where missing tensors are looked for, in errors.
    let location: String
    private(set) var entries: [String: CanonicalWeights.Entry] = [:]
    private(set) var isTrainTime = false
    /// How many matrices have which quantisation.
    private(set) var quantizations: [CheckpointLayout.Quantization: Int] = [:]
    private var unused: Set<String>
    private var missing: [(name: String, shape: [Int])] = []

    init(
        sources: [String: StoredTensor], order: KernelOrder, quantization: QuantizationRule, location: String
    ) {
        self.sources = sources
        self.order = order
        self.quantization = quantization
        self.location = location
        unused = Set(sources.keys)
    }

    /// The weights, when nothing is missing and nothing left over.
    func finished(catalog: TensorCatalog) throws(CheckpointError) -> CanonicalWeights {
        if let first = missing.first {
            throw .missingTensor(
                tensor: first.name, shape: first.shape, location: location, others: missing.count - 1)
        }
        let left = unused.compactMap { sources[$0] }.sorted { $0.name < $1.name }
        if let first = left.first {
            throw .unexpectedTensor(file: first.file, tensor: first.name, others: left.count - 1)
        }
        return CanonicalWeights(entries: entries, catalog: catalog)
    }

    // MARK: Weights stored as they are used

    /// A vector or matrix under its own name.
    mutating func plain(_ name: String, shape: [Int]) throws(CheckpointError) {
        guard let stored = try take(name, shapes: [shape], canonical: shape) else { return }
        entries[name] = .init(recipe: .asStored(stored), shape: shape)
    }

    /// A per-channel scale, stored as [C, 1, 1] (PyTorch), [1, 1, C] (MLX) or [C].
    mutating func channelScale(_ name: String, channels: Int) throws(CheckpointError) {
        let shapes = [[channels, 1, 1], [1, 1, channels], [channels]]
        guard let stored = try take(name, shapes: shapes, canonical: [channels]) else { return }
        entries[name] = .init(recipe: .asStored(stored), shape: [channels])
    }

    /// A linear layer or embedding table, plain or quantised, with a bias where asked for.
    mutating func linear(
        _ module: String, outputs: Int, inputs: Int, bias: Bool = false
    ) throws(CheckpointError) {
        let shape = [outputs, inputs]
        if sources["\(module).scales"] == nil {
            try plain("\(module).weight", shape: shape)
        } else if let matrix = try quantizedMatrix(module, outputs: outputs, inputs: inputs) {
            entries["\(module).weight"] = .init(recipe: .dequantized(matrix), shape: shape)
            quantizations[matrix.quantization, default: 0] += 1
        }
        if bias { try plain("\(module).bias", shape: [outputs]) }
    }

    /// A 1×1 convolution with bias, used as a matrix.
    mutating func pointwise(_ module: String, outputs: Int, inputs: Int) throws(CheckpointError) {
        let name = "\(module).weight"
        let stored = order.shape(outputs: outputs, inputs: inputs, side: 1)
        if let stored = try take(name, shapes: [stored], canonical: stored) {
            entries[name] = .init(
                recipe: .asStored(stored), shape: [outputs, inputs],
                source: .init(name, [outputs, inputs, 1, 1]))
        }
        try plain("\(module).bias", shape: [outputs])
    }

    /// Takes back a weight that turned out to be another's copy; its tensors stay used.
    mutating func forget(_ name: String) { entries[name] = nil }

    /// Takes back the weights of a module that is not computed; their tensors stay used.
    mutating func forget(under module: String) {
        for name in entries.keys where name.hasPrefix(module + ".") { entries[name] = nil }
    }

    // MARK: Convolutions that may have training branches

    /// Whether a MobileOne block's 1×1 branch exists.
    enum Shortcut { case never, perhaps, always }

    /// A MobileOne block: `reparam`, or convolution branches with a 1×1 branch and an identity branch.
    mutating func mobileOne(
        _ module: String, outputs: Int, inputs: Int, side: Int, shortcut: Shortcut, skip: Bool
    ) throws(CheckpointError) {
        if try folded(module, outputs: outputs, inputs: inputs, side: side) { return }
        let branches = try mobileOneBranches(
            module, outputs: outputs, inputs: inputs, side: side, shortcut: shortcut, skip: skip)
        unfolded(module, outputs: outputs, inputs: inputs, side: side, branches: branches)
    }

    /// A large kernel, alone or with a 3×3 beside it.
    mutating func largeKernel(_ module: String, outputs: Int, side: Int) throws(CheckpointError) {
        if try folded(module, outputs: outputs, inputs: 1, side: side) { return }
        let large = try normalizedBranch("\(module).large", outputs: outputs, inputs: 1, side: side)
        let small = try normalizedBranch("\(module).small", outputs: outputs, inputs: 1, side: 3)
        unfolded(module, outputs: outputs, inputs: 1, side: side, branches: [large, small].compactMap { $0 })
    }

    /// A positional encoding: folded, or a depthwise convolution beside its input.
    mutating func position(_ module: String, channels: Int, side: Int) throws(CheckpointError) {
        if try folded(module, outputs: channels, inputs: 1, side: side) { return }
        guard
            let kernel = try self.kernel("\(module).plain.weight", outputs: channels, inputs: 1, side: side),
            let bias = try take("\(module).plain.bias", shapes: [[channels]], canonical: [channels])
        else { return }
        unfolded(
            module, outputs: channels, inputs: 1, side: side,
            branches: [.init(kernel: kernel, side: side, bias: bias)], isResidual: true)
    }

    /// A RepMixer: folded, or x + s · (mixer(x) − norm(x)).
    mutating func repMixer(_ module: String, channels: Int, side: Int) throws(CheckpointError) {
        if try folded(module, outputs: channels, inputs: 1, side: side) { return }
        var branches = try mobileOneBranches(
            "\(module).mixer", outputs: channels, inputs: 1, side: side, shortcut: .always, skip: true)
        if let normalization = try self.normalization("\(module).norm.skip", channels: channels) {
            branches.append(.init(kernel: nil, side: 1, normalization: normalization, sign: -1))
        }
        let shapes = [[channels, 1, 1], [1, 1, channels], [channels]]
        let scale = try take("\(module).layer_scale", shapes: shapes, canonical: [channels])
        unfolded(
            module, outputs: channels, inputs: 1, side: side, branches: branches, layerScale: scale,
            isResidual: true)
    }

    /// A depthwise convolution whose batch normalisation is folded at load in every published layout.
    mutating func normalizedDepthwise(_ module: String, channels: Int, side: Int) throws(CheckpointError) {
        if sources["\(module).reparam.weight"] != nil {
            _ = try folded(module, outputs: channels, inputs: 1, side: side)
            return
        }
        guard let branch = try normalizedBranch(module, outputs: channels, inputs: 1, side: side) else {
            return
        }
        add(
            module,
            FoldedConvolution(outputs: channels, inputs: 1, side: side, order: order, branches: [branch]))
    }

    // MARK: Pieces

    /// True when the module is stored folded; its weight and bias are then entered. Also true when nothing of
    /// the module is stored, which is then reported missing.
    private mutating func folded(
        _ module: String, outputs: Int, inputs: Int, side: Int
    ) throws(CheckpointError) -> Bool {
        let shape = [outputs, inputs, side, side]
        let isStored = sources["\(module).reparam.weight"] != nil || sources["\(module).reparam.bias"] != nil
        if !isStored {
            guard !unused.contains(where: { $0.hasPrefix("\(module).") }) else { return false }
            missing.append(("\(module).weight", shape))
            return true
        }
        if let kernel = try self.kernel(
            "\(module).reparam.weight", outputs: outputs, inputs: inputs, side: side)
        {
            let isTurned = order == .outputHeightWidthInput && inputs > 1 && side > 1
            entries["\(module).weight"] = .init(
                recipe: isTurned ? .turnedKernel(kernel) : .asStored(kernel), shape: shape,
                source: .init("\(module).reparam.weight", shape))
        }
        if let bias = try take("\(module).reparam.bias", shapes: [[outputs]], canonical: [outputs]) {
            entries["\(module).bias"] = .init(
                recipe: .asStored(bias), shape: [outputs], source: .init("\(module).reparam.bias", [outputs]))
        }
        return true
    }

    private mutating func unfolded(
        _ module: String, outputs: Int, inputs: Int, side: Int, branches: [FoldedConvolution.Branch],
        layerScale: StoredTensor? = nil, isResidual: Bool = false
    ) {
        isTrainTime = true
        add(
            module,
            FoldedConvolution(
                outputs: outputs, inputs: inputs, side: side, order: order, branches: branches,
                layerScale: layerScale, isResidual: isResidual))
    }

    private mutating func add(_ module: String, _ convolution: FoldedConvolution) {
        let shape = [convolution.outputs, convolution.inputs, convolution.side, convolution.side]
        entries["\(module).weight"] = .init(
            recipe: .foldedWeight(convolution), shape: shape,
            source: .init("\(module).reparam.weight", shape))
        entries["\(module).bias"] = .init(
            recipe: .foldedBias(convolution), shape: [convolution.outputs],
            source: .init("\(module).reparam.bias", [convolution.outputs]))
    }

    private mutating func mobileOneBranches(
        _ module: String, outputs: Int, inputs: Int, side: Int, shortcut: Shortcut, skip: Bool
    ) throws(CheckpointError) -> [FoldedConvolution.Branch] {
        var branches: [FoldedConvolution.Branch?] = []
        var count = 0
        repeat {
            branches.append(
                try normalizedBranch(
                    "\(module).branch.\(count)", outputs: outputs, inputs: inputs, side: side))
            count += 1
        } while sources["\(module).branch.\(count).conv.weight"] != nil
        let hasShortcut = sources["\(module).shortcut.conv.weight"] != nil
        if shortcut == .always || (shortcut == .perhaps && hasShortcut) {
            branches.append(
                try normalizedBranch("\(module).shortcut", outputs: outputs, inputs: inputs, side: 1))
        }
        if skip, let normalization = try self.normalization("\(module).skip", channels: outputs) {
            branches.append(.init(kernel: nil, side: 1, normalization: normalization))
        }
        return branches.compactMap { $0 }
    }

    /// `conv.weight` with `bn.*`.
    private mutating func normalizedBranch(
        _ module: String, outputs: Int, inputs: Int, side: Int
    ) throws(CheckpointError) -> FoldedConvolution.Branch? {
        let kernel = try self.kernel("\(module).conv.weight", outputs: outputs, inputs: inputs, side: side)
        let normalization = try self.normalization("\(module).bn", channels: outputs)
        guard let kernel, let normalization else { return nil }
        return .init(kernel: kernel, side: side, normalization: normalization)
    }

    private mutating func normalization(
        _ module: String, channels: Int
    ) throws(CheckpointError) -> FoldedConvolution.Normalization? {
        let scale = try take("\(module).weight", shapes: [[channels]], canonical: [channels])
        let shift = try take("\(module).bias", shapes: [[channels]], canonical: [channels])
        let mean = try take("\(module).running_mean", shapes: [[channels]], canonical: [channels])
        let variance = try take("\(module).running_var", shapes: [[channels]], canonical: [channels])
        guard let scale, let shift, let mean, let variance else { return nil }
        return .init(scale: scale, shift: shift, mean: mean, variance: variance)
    }

    private mutating func kernel(
        _ name: String, outputs: Int, inputs: Int, side: Int
    ) throws(CheckpointError) -> StoredTensor? {
        let shape = order.shape(outputs: outputs, inputs: inputs, side: side)
        return try take(name, shapes: [shape], canonical: shape)
    }

    private mutating func quantizedMatrix(
        _ module: String, outputs: Int, inputs: Int
    ) throws(CheckpointError) -> StoredIntegerMatrix? {
        guard let packed = sources["\(module).weight"], let scales = sources["\(module).scales"],
            let biases = sources["\(module).biases"]
        else {
            missing.append(("\(module).weight, .scales and .biases", []))
            return nil
        }
        for name in ["weight", "scales", "biases"] { unused.remove("\(module).\(name)") }
        return try quantization.matrix(
            packed: packed, scales: scales, biases: biases, outputs: outputs, inputs: inputs)
    }

    /// Uses up a source; nil (and remembered) when it is missing.
    private mutating func take(
        _ name: String, shapes: [[Int]], canonical: [Int]
    ) throws(CheckpointError) -> StoredTensor? {
        guard let stored = sources[name] else {
            missing.append((name, canonical))
            return nil
        }
        unused.remove(name)
        guard stored.dataType.isFloatingPoint else {
            throw .unexpectedDataType(
                file: stored.file, tensor: stored.name, expected: "F32, F16 or BF16",
                got: stored.dataType.rawValue)
        }
        guard shapes.contains(stored.shape) else {
            throw .unexpectedShape(
                file: stored.file, tensor: stored.name, expected: shapes.first ?? canonical, got: stored.shape
            )
        }
        return stored
    }
}
