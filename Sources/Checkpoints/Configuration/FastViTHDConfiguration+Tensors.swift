/// The tower's numbers, read off the shapes of its tensors.
extension FastViTHDConfiguration {
    static let widthLimit = 16384
    static let depthLimit = 256
    static let stageLimit = 8
    static let hiddenLimit = 65536

    /// - Parameters:
    ///   - sources: by source name; see ``SourceNames``.
    ///   - order: how kernels are stored.
    ///   - location: where missing tensors are looked for, in errors.
    /// - Throws: `CheckpointError.missingTensor` when a tensor that the numbers are read from is not there,
    ///   `CheckpointError.unsupportedConfiguration` when they are beyond FastViTHD.
    init(
        sources: [String: StoredTensor], order: KernelOrder, location: String
    ) throws(CheckpointError) {
        let shapes = TowerShapes(sources: sources, location: location)
        var configuration = FastViTHDConfiguration(
            depths: [], widths: [], mlpRatios: [], tokenMixers: [], positionEncoding: [], finalChannels: 0,
            squeezeReduction: 0)
        let stages = try shapes.count(of: "vision.stages", limit: Self.stageLimit)
        for stage in 0..<stages {
            let prefix = "vision.stages.\(stage)"
            let depth = try shapes.count(of: "\(prefix).blocks", limit: Self.depthLimit)
            let width =
                stage == 0
                ? try shapes.outputs(of: "vision.stem.0", leaves: ["reparam.weight", "branch.0.conv.weight"])
                : try shapes.outputs(
                    of: "\(prefix).downsample.large", leaves: ["reparam.weight", "large.conv.weight"])
            let hidden = try shapes.outputs(of: "\(prefix).blocks.0.ffn.expand", leaves: ["weight"])
            guard width <= Self.widthLimit, hidden <= Self.hiddenLimit else {
                throw shapes.unsupported(
                    "width \(width), hidden \(hidden) in stage \(stage)",
                    expected: "at most \(Self.widthLimit) channels and \(Self.hiddenLimit) hidden ones")
            }
            if let previous = configuration.widths.last, !width.isMultiple(of: previous) {
                throw shapes.unsupported(
                    "\(previous) to \(width) channels in stage \(stage)",
                    expected: "multiples of the channels before")
            }
            let isAttention = shapes.exists("\(prefix).blocks.0.attention")
            if isAttention, !width.isMultiple(of: configuration.headDimension) {
                throw shapes.unsupported(
                    "attention over \(width) channels in stage \(stage)", expected: "heads of 32 channels")
            }
            configuration.depths.append(depth)
            configuration.widths.append(width)
            configuration.mlpRatios.append(Self.mlpRatio(hidden: hidden, width: width))
            configuration.tokenMixers.append(isAttention ? .attention : .repMixer)
            configuration.positionEncoding.append(shapes.exists("\(prefix).position"))
        }
        configuration.finalChannels = try shapes.outputs(
            of: "vision.final", leaves: ["reparam.weight", "branch.0.conv.weight"])
        configuration.squeezeReduction = try shapes.outputs(
            of: "vision.final.squeeze.reduce", leaves: ["weight"])
        guard let last = configuration.widths.last, configuration.finalChannels.isMultiple(of: last),
            configuration.finalChannels <= Self.hiddenLimit,
            configuration.squeezeReduction <= Self.hiddenLimit
        else {
            throw shapes.unsupported(
                "\(configuration.finalChannels) channels of the feature map",
                expected: "a multiple of the last stage")
        }
        self = configuration
    }
}

/// Looks into the tower's source names without using them up.
private struct TowerShapes {
    let sources: [String: StoredTensor]
    let location: String
    /// Every proper prefix of a source name.
    private let modules: Set<Substring>
    /// Of a list of modules, one more than the highest index.
    private let counts: [Substring: Int]

    init(sources: [String: StoredTensor], location: String) {
        self.sources = sources
        self.location = location
        var modules: Set<Substring> = []
        for name in sources.keys where name.hasPrefix("vision.") {
            var end = name.endIndex
            while let dot = name[..<end].lastIndex(of: ".") {
                modules.insert(name[..<dot])
                end = dot
            }
        }
        self.modules = modules
        var counts: [Substring: Int] = [:]
        for module in modules {
            guard let dot = module.lastIndex(of: "."),
                let index = SourceNames.index(module[module.index(after: dot)...])
            else { continue }
            counts[module[..<dot]] = max(counts[module[..<dot]] ?? 0, index + 1)
        }
        self.counts = counts
    }

    func exists(_ module: String) -> Bool { modules.contains(module[...]) }

    /// How many of `module.0`, `module.1`, … there are, by the highest index; at least one.
    func count(of module: String, limit: Int) throws(CheckpointError) -> Int {
        guard let count = counts[module[...]] else {
            throw .missingTensor(tensor: "\(module).0", shape: [], location: location, others: 0)
        }
        guard count <= limit else { throw unsupported("\(count) \(module)", expected: "\(limit) at most") }
        return count
    }

    /// The first extent of the first of `leaves` that exists.
    func outputs(of module: String, leaves: [String]) throws(CheckpointError) -> Int {
        guard let stored = leaves.lazy.compactMap({ sources["\(module).\($0)"] }).first else {
            throw .missingTensor(tensor: "\(module).weight", shape: [], location: location, others: 0)
        }
        guard let outputs = stored.shape.first, outputs > 0 else {
            throw .unexpectedShape(file: stored.file, tensor: stored.name, expected: [1], got: stored.shape)
        }
        return outputs
    }

    func unsupported(_ what: String, expected: String) -> CheckpointError {
        .unsupportedConfiguration(file: location, key: "vision tower", expected: expected, got: what)
    }
}
