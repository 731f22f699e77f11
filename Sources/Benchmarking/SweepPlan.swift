package import Checkpoints
package import Tensors

/// A model of a sweep, to be measured at several image sides.
package struct SweepModel: Sendable, Equatable {
    /// Of the vision tower and of how an image is cut for it; of a checkpoint, its architecture.
    package let tower: String
    /// A published size, or a checkpoint's folder as its user named it.
    package let decoder: String
    /// The folder's place among those that were named; nil for random weights.
    package let checkpoint: Int?
    /// At every image side, ascending.
    package let systems: [ComparedSystem]

    package init(tower: SweepTower, decoder: SweepDecoder, sides: [Int]) {
        self.tower = tower.rawValue
        self.decoder = decoder.rawValue
        checkpoint = nil
        systems = tower.sides(of: sides).map { side in
            ComparedSystem(
                name: "\(decoder.rawValue) \(tower.rawValue)",
                configuration: ModelConfiguration(
                    vision: tower.vision, text: decoder.text,
                    preprocessing: tower.preprocessing(side: side),
                    // As many as the largest system here needs, so that all share a decoder.
                    maximumSequenceLength: min(decoder.text.maximumPositions, 16384),
                    modelType: "synthetic-sweep"),
                imageSide: side)
        }
    }

    /// A checkpoint at those of the sides that its tower takes; at its own side where it takes one alone, or none of them.
    /// - Parameters:
    ///   - folder: as its user named it
    ///   - place: among the folders
    package init(checkpoint configuration: ModelConfiguration, folder: String, place: Int, sides: [Int]) {
        var configuration = configuration
        configuration.maximumSequenceLength = min(configuration.maximumSequenceLength, 16384)
        tower = configuration.vision.name
        decoder = folder
        checkpoint = place
        let own = ComparedSystem(
            name: folder, configuration: configuration, imageSide: configuration.preprocessing.size)
        let found = Set(sides).sorted().compactMap { side -> ComparedSystem? in
            if case .anyResolution = configuration.preprocessing.tiling {
                return ComparedSystem(name: folder, configuration: configuration, imageSide: side)
            }
            return (try? configuration.resized(to: side)).map {
                ComparedSystem(name: folder, configuration: $0, imageSide: side)
            }
        }
        systems = found.isEmpty ? [own] : found
    }
}

/// One measurement of a sweep.
package struct SweepCell: Sendable, Equatable {
    package let tower: String
    package let decoder: String
    package let checkpoint: Int?
    package let precision: Precision
    package let system: ComparedSystem

    /// `0.5b int8, fastvithd at 1024²`.
    package var name: String {
        "\(decoder) \(precision.rawValue), \(tower) at \(system.imageSide)²"
    }

    /// Whether the positions of its prompt are more than its decoder has.
    package func isTooLong(textTokens: Int) -> Bool {
        system.visualTokens + textTokens > system.configuration.maximumSequenceLength
    }

    /// About how many bytes it takes to load and to run.
    package func neededBytes(textTokens: Int) -> Int {
        let perWeight: Double =
            switch precision {
            case .float32: 4
            case .bfloat16, .int8Weights, .int4Weights: 2
            case .int8, .int4: 1.1
            }
        return system.decoderBytes(precision, textTokens: textTokens)
            + Int(perWeight * Double(system.configuration.vision.blockWeights))
    }

    /// About how many multiplications and additions it has, to tell how long the rest of a sweep takes.
    package func estimatedOperations(textTokens: Int) -> Double {
        let text = system.configuration.text
        let positions = Double(system.visualTokens + textTokens)
        let layer =
            2 * text.hiddenSize * (text.queryWidth + text.keyValueWidth)
            + 3 * text.hiddenSize * text.intermediateSize
        let rows = 2 * positions * Double(layer * text.layers)
        let attention = 2 * positions * positions * Double(text.queryWidth * text.layers)
        let scores = 2 * Double(text.hiddenSize * text.vocabularySize)
        let tower = system.configuration.vision.estimatedOperations(
            side: system.configuration.preprocessing.size)
        return Double(system.encodings) * tower + rows + attention + scores
    }
}

/// Everything that a sweep measures, in the order in which it is measured: what can share a decoder goes together, and what
/// can share a tower within that, images from small to large.
package struct SweepPlan: Sendable {
    package let cells: [SweepCell]

    package init(models: [SweepModel], precisions: [Precision]) {
        var order: [String] = []
        for model in models where !order.contains(model.group) { order.append(model.group) }
        cells = order.flatMap { group in
            precisions.flatMap { precision in
                models.filter { $0.group == group }.flatMap { model in
                    model.systems.map {
                        SweepCell(
                            tower: model.tower, decoder: model.decoder, checkpoint: model.checkpoint,
                            precision: precision, system: $0)
                    }
                }
            }
        }
    }
}

extension SweepModel {
    /// Models of the same group have the same decoder.
    fileprivate var group: String { checkpoint.map { "checkpoint \($0)" } ?? "random \(decoder)" }
}

extension VisionConfiguration {
    /// Weights of the blocks' linear layers, which are nearly all there are.
    fileprivate var blockWeights: Int {
        switch self {
        case .fastViTHD(let tower): tower.stages.reduce(0) { $0 + $1.weights }
        case .visionTransformer(let tower): tower.parameters
        }
    }

    /// Of one image of `side`² pixels.
    fileprivate func estimatedOperations(side: Int) -> Double {
        switch self {
        case .fastViTHD(let tower):
            return tower.stages.reduce(0) { sum, stage in
                let positions = Double(side / stage.stride) * Double(side / stage.stride)
                return sum + 2 * positions * Double(stage.weights)
            }
        case .visionTransformer(let tower):
            let positions = Double(tower.positions)
            let block = 4 * tower.width * tower.width + 2 * tower.width * tower.hidden
            return Double(tower.layers) * positions
                * (2 * Double(block) + 4 * positions * Double(tower.width))
        }
    }
}

extension FastViTHDConfiguration {
    /// Of each stage, pixels per position and weights of its linear layers.
    fileprivate var stages: [(stride: Int, weights: Int)] {
        depths.indices.map { stage in
            let width = widths[stage]
            let attention = tokenMixers[stage] == .attention ? 4 * width * width : 0
            return (4 << stage, depths[stage] * (2 * width * hiddenWidth(stage: stage) + attention))
        }
    }
}
