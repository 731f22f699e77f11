/// The vision tower of a checkpoint with its numbers.
///
/// A new architecture is a case here: how its numbers are read and checked, which weights it needs
/// (``WeightAssembly``) and what its tensors are called (``SourceNames``); and a `VisionTower` in Models.
package enum VisionConfiguration: Sendable, Equatable {
    case fastViTHD(FastViTHDConfiguration)

    /// The architecture's name.
    package var name: String {
        switch self {
        case .fastViTHD: "FastViTHD"
        }
    }

    /// Channels of one visual token.
    package var featureChannels: Int {
        switch self {
        case .fastViTHD(let tower): tower.finalChannels
        }
    }

    /// A square image can have every side that is a multiple of this, in pixels.
    package var sideMultiple: Int {
        switch self {
        case .fastViTHD(let tower): tower.stride
        }
    }

    /// Visual tokens of a square image of `side` pixels.
    package func tokens(side: Int) -> Int {
        switch self {
        case .fastViTHD(let tower): tower.tokens(height: side, width: side)
        }
    }

    /// The numbers that describe the tower to people, one per stage or a single one.
    package var numbers: [(name: String, values: [Int])] {
        switch self {
        case .fastViTHD(let tower): [("blocks", tower.depths), ("channels", tower.widths)]
        }
    }
}

/// Where the numbers of a tower come from.
extension VisionConfiguration {
    /// - Parameters:
    ///   - sources: by source name; see ``SourceNames``.
    ///   - order: how kernels are stored.
    ///   - location: where missing tensors are looked for, in errors.
    /// - Throws: `CheckpointError.missingTensor`, `.unsupportedConfiguration`.
    init(
        sources: [String: StoredTensor], order: KernelOrder, location: String
    ) throws(CheckpointError) {
        self = .fastViTHD(try FastViTHDConfiguration(sources: sources, order: order, location: location))
    }

    /// Checks what config.json says about the tower against what the tensors show.
    func check(against root: ConfigurationReader) throws(CheckpointError) {
        switch self {
        case .fastViTHD(let tower): try tower.check(against: root)
        }
    }
}
