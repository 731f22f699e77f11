/// The vision tower of a checkpoint with its numbers.
///
/// A new architecture is a case here: how its numbers are read and checked, which weights it needs
/// (``WeightAssembly``) and what its tensors are called (``SourceNames``); and a `VisionTower` in Models.
package enum VisionConfiguration: Sendable, Equatable {
    case fastViTHD(FastViTHDConfiguration)
    /// CLIP's and SigLIP's towers.
    case visionTransformer(VisionTransformerConfiguration)

    /// The architecture's name.
    package var name: String {
        switch self {
        case .fastViTHD: "FastViTHD"
        case .visionTransformer: "vision transformer"
        }
    }

    var isFastViTHD: Bool {
        if case .fastViTHD = self { true } else { false }
    }

    /// Channels of one visual token.
    package var featureChannels: Int {
        switch self {
        case .fastViTHD(let tower): tower.finalChannels
        case .visionTransformer(let tower): tower.width
        }
    }

    /// The sides that square images can have.
    package enum Sides: Sendable, Equatable, CustomStringConvertible {
        /// Every multiple of so many pixels.
        case multiples(of: Int)
        /// One alone, in pixels.
        case only(Int)

        package func contain(_ side: Int) -> Bool {
            switch self {
            case .multiples(let step): side > 0 && side.isMultiple(of: step)
            case .only(let one): side == one
            }
        }

        package var description: String {
            switch self {
            case .multiples(let step): "a multiple of \(step)"
            case .only(let one): "\(one), which its positions were learned for"
            }
        }
    }

    package var sides: Sides {
        switch self {
        case .fastViTHD(let tower): .multiples(of: tower.stride)
        // Its positions were learned for one size.
        case .visionTransformer(let tower): .only(tower.imageSide)
        }
    }

    /// Visual tokens of a square image of `side` pixels, one of ``sides``.
    package func tokens(side: Int) -> Int {
        switch self {
        case .fastViTHD(let tower): tower.tokens(height: side, width: side)
        case .visionTransformer(let tower): tower.tokens
        }
    }

    /// The numbers that describe the tower to people, one per stage or a single one.
    package var numbers: [(name: String, values: [Int])] {
        switch self {
        case .fastViTHD(let tower): [("blocks", tower.depths), ("channels", tower.widths)]
        case .visionTransformer(let tower):
            [
                ("blocks", [tower.layers]), ("channels", [tower.width]), ("heads", [tower.heads]),
                ("pixels per patch", [tower.patchSide]),
            ]
        }
    }
}

/// Where the numbers of a tower come from.
extension VisionConfiguration {
    /// - Parameters:
    ///   - sources: by source name; see ``SourceNames``.
    ///   - order: how kernels are stored.
    ///   - files: config.json and its neighbours.
    ///   - location: where missing tensors are looked for, in errors.
    /// - Throws: `CheckpointError.missingTensor`, `.unsupportedConfiguration`, and for a vision transformer what is
    ///   wrong with config.json.
    init(
        sources: [String: StoredTensor], order: KernelOrder, files: ConfigurationFiles, location: String
    ) throws(CheckpointError) {
        if VisionTransformerConfiguration.fits(sources) {
            self = .visionTransformer(
                try VisionTransformerConfiguration(
                    sources: sources, root: files.root, section: files.vision, location: location))
        } else {
            self = .fastViTHD(
                try FastViTHDConfiguration(sources: sources, order: order, location: location))
        }
    }

    /// Checks what config.json says about the tower against what the tensors show.
    func check(against files: ConfigurationFiles) throws(CheckpointError) {
        switch self {
        case .fastViTHD(let tower): try tower.check(against: files.root)
        case .visionTransformer(let tower): try tower.check(against: files.root, section: files.vision)
        }
    }
}
