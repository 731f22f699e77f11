internal import StrictJSON

/// The canvases and the limit of a checkpoint that cuts images into tiles.
extension AnyResolution {
    /// LLaVA-OneVision's way: the tiles that stay without reduction follow.
    static let reducingPrefix = "anyres_max_"
    /// LLaVA-NeXT's way, and that of a FastVLM in tiles.
    static let name = "anyres"
    /// Most canvases, and most tiles of one: far beyond the published ones, and the bound of what an image takes.
    private static let canvasLimit = 256
    private static let tileLimit = 64
    /// Of a canvas, 400 MB in float32; the largest published one has 5 million.
    static let pixelLimit = 1 << 25

    /// - Parameters:
    ///   - root: config.json.
    ///   - processor: the image processor's values, whose canvases must be the same.
    ///   - tile: pixels per side of a tile.
    init(
        root: ConfigurationReader, processor: ConfigurationReader?, tile: Int
    ) throws(CheckpointError) {
        let kind = try root.string("model_type")
        let isOriginal = kind != "llava_onevision" && kind != "llava_next"
        let most = try Self.mostTiles(root, kind, isOriginal: isOriginal)
        let listed = try Self.canvases(root, tile: tile, isOriginal: isOriginal)
        let others = try processor.flatMap { (processor) throws(CheckpointError) in
            try Self.canvases(processor, tile: tile, isOriginal: isOriginal)
        }
        if let listed, let others, let processor, listed != others {
            throw processor.contradiction(
                "image_grid_pinpoints", configuration: "\(others.count) other sizes",
                tensors: "\(listed.count) in config.json")
        }
        let published =
            kind == "llava_next"
            ? (tile == 336 ? Self.next.canvases : nil)
            : most != nil && tile == 384 ? Self.oneVision.canvases : nil
        guard let canvases = listed ?? others ?? published else {
            throw root.invalid(
                "image_grid_pinpoints", expected: "sizes of \(tile)-pixel tiles", got: "nothing")
        }
        self.init(
            canvases: canvases, mostTiles: most, roundsPadding: !isOriginal,
            merge: isOriginal ? try Self.merge(root, reduces: most != nil) : .rows,
            tilesSeveralImages: most == nil)
    }

    /// The tiles that stay without reduction; nil for no limit.
    private static func mostTiles(
        _ root: ConfigurationReader, _ kind: String?, isOriginal: Bool
    ) throws(CheckpointError) -> Int? {
        if kind == "llava_next" { return nil }
        let key = isOriginal ? "image_aspect_ratio" : "vision_aspect_ratio"
        let text = try root.string(key) ?? "anyres_max_9"
        if isOriginal, text == name { return nil }
        guard text.hasPrefix(reducingPrefix), let most = Int(text.dropFirst(reducingPrefix.count)),
            (1...tileLimit).contains(most)
        else {
            throw root.unsupported(
                key, expected: "anyres_max_ and a number up to \(tileLimit)", got: text)
        }
        return most
    }

    /// Of the original's programs.
    private static func merge(
        _ root: ConfigurationReader, reduces: Bool
    ) throws(CheckpointError) -> Merge {
        let key = "mm_patch_merge_type"
        if reduces {
            try root.require(key, isOneOf: [Merge.rows.rawValue])
            return .rows
        }
        guard let text = try root.string(key) else { return .tiles }
        guard let merge = Merge(rawValue: text) else {
            throw root.unsupported(key, expected: "flat, spatial or spatial_unpad", got: text)
        }
        return merge
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
