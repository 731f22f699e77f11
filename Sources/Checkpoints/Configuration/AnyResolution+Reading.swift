internal import StrictJSON

/// The canvases and the limit of a checkpoint that cuts images into tiles.
extension AnyResolution {
    /// What the names of the published ways begin with; the tiles that stay without reduction follow.
    static let namePrefix = "anyres_max_"
    /// Most canvases, and most tiles of one: far beyond the published ones, and the bound of what an image takes.
    private static let canvasLimit = 256
    private static let tileLimit = 64
    /// Of a canvas, 400 MB in float32; the largest published one has 5 million.
    private static let pixelLimit = 1 << 25

    /// - Parameters:
    ///   - root: config.json.
    ///   - processor: the image processor's values, whose canvases must be the same.
    ///   - tile: pixels per side of a tile.
    init(
        root: ConfigurationReader, processor: ConfigurationReader?, tile: Int
    ) throws(CheckpointError) {
        let isOriginal = try root.string("model_type") != "llava_onevision"
        let key = isOriginal ? "image_aspect_ratio" : "vision_aspect_ratio"
        let name = try root.string(key) ?? "anyres_max_9"
        guard name.hasPrefix(Self.namePrefix), let most = Int(name.dropFirst(Self.namePrefix.count)),
            (1...Self.tileLimit).contains(most)
        else {
            throw root.unsupported(
                key, expected: "anyres_max_ and a number up to \(Self.tileLimit)", got: name)
        }
        let listed = try Self.canvases(root, tile: tile, isOriginal: isOriginal)
        let others = try processor.flatMap { (processor) throws(CheckpointError) in
            try Self.canvases(processor, tile: tile, isOriginal: isOriginal)
        }
        if let listed, let others, let processor, listed != others {
            throw processor.contradiction(
                "image_grid_pinpoints", configuration: "\(others.count) other sizes",
                tensors: "\(listed.count) in config.json")
        }
        guard let canvases = listed ?? others ?? (tile == 384 ? Self.oneVision.canvases : nil) else {
            throw root.invalid(
                "image_grid_pinpoints", expected: "sizes of \(tile)-pixel tiles", got: "nothing")
        }
        self.init(canvases: canvases, mostTiles: most, roundsPadding: !isOriginal)
    }

    /// - Parameter isOriginal: pairs are width and height then, and height and width in transformers
    private static func canvases(
        _ reader: ConfigurationReader, tile: Int, isOriginal: Bool
    ) throws(CheckpointError) -> [Size]? {
        let key = "image_grid_pinpoints"
        guard let elements = try reader.list(key, limit: canvasLimit) else { return nil }
        var canvases: [Size] = []
        for element in elements {
            let sides = (element.elements ?? []).compactMap(\.integer)
            guard sides.count == 2, sides.allSatisfy({ $0 > 0 && $0.isMultiple(of: tile) && $0 < 1 << 16 }),
                sides[0] / tile * (sides[1] / tile) <= tileLimit, sides[0] * sides[1] <= pixelLimit
            else {
                throw reader.invalid(
                    key,
                    expected:
                        "pairs of multiples of \(tile), \(tileLimit) tiles and \(pixelLimit) pixels at most",
                    got: element.summary)
            }
            canvases.append(
                isOriginal
                    ? Size(height: sides[1], width: sides[0]) : Size(height: sides[0], width: sides[1]))
        }
        guard !canvases.isEmpty else { throw reader.invalid(key, expected: "at least one size", got: "none") }
        return canvases
    }
}
