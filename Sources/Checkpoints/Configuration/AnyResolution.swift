/// How an image is cut into tiles of the encoder's size: LLaVA's "any resolution" (LLaVA-NeXT, LLaVA-OneVision).
///
/// The image is scaled to fit into one of several canvases, whichever keeps most of it, centred on black and cut into
/// tiles, row by row. The whole image, whatever its shape, brought to the size of a tile goes before them.
package struct AnyResolution: Sendable, Equatable {
    /// Pixels.
    package struct Size: Sendable, Equatable, Hashable {
        package var height: Int
        package var width: Int

        package init(height: Int, width: Int) {
            self.height = height
            self.width = width
        }
    }

    /// How the visual tokens of the tiles follow those of the whole image.
    package enum Merge: String, Sendable, Equatable {
        /// Row by row of the whole canvas, without what is padding, a learned token at the end of each row.
        case rows = "spatial_unpad"
        /// Row by row of the whole canvas, padding included.
        case canvas = "spatial"
        /// Tile by tile.
        case tiles = "flat"
    }

    /// The canvases, in the order in which they are tried: sides are multiples of the tile's.
    package var canvases: [Size]
    /// Beyond the visual tokens of so many tiles, those of all tiles together are reduced; nil for no limit.
    package var mostTiles: Int?
    /// Whether the image's part of a canvas is rounded to seven decimals before it is cut to whole tokens, as
    /// transformers does it and the original does not.
    package var roundsPadding: Bool
    package var merge: Merge
    /// Whether each of several images of a conversation is cut; otherwise only an image that is the only one is, and several
    /// are a square each.
    package var tilesSeveralImages: Bool

    package init(
        canvases: [Size], mostTiles: Int?, roundsPadding: Bool = true, merge: Merge = .rows,
        tilesSeveralImages: Bool = false
    ) {
        self.canvases = canvases
        self.mostTiles = mostTiles
        self.roundsPadding = roundsPadding
        self.merge = merge
        self.tilesSeveralImages = tilesSeveralImages
    }

    /// Those of the published LLaVA-OneVision: one to six tiles of 384 pixels each way.
    package static let oneVision = AnyResolution(
        canvases: (1...6).flatMap { rows in
            (1...6).map { Size(height: 384 * rows, width: 384 * $0) }
        }, mostTiles: 9)

    /// Those of the published LLaVA-NeXT, in the order of transformers.
    package static let next = AnyResolution(
        canvases: [(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)].map {
            Size(height: $0, width: $1)
        }, mostTiles: nil, tilesSeveralImages: true)

    /// How an image is cut.
    /// - Parameters:
    ///   - image: its sides, positive
    ///   - tile: pixels per side of a tile, which divides every canvas
    package func arrangement(of image: Size, tile: Int) -> TileArrangement {
        let canvas = canvas(for: image)
        let (across, down) = (
            Double(canvas.width) / Double(image.width), Double(canvas.height) / Double(image.height)
        )
        let scaled =
            across < down
            ? Size(
                height: min(Int((Double(image.height) * across).rounded(.up)), canvas.height),
                width: canvas.width)
            : Size(
                height: canvas.height,
                width: min(Int((Double(image.width) * down).rounded(.up)), canvas.width))
        return TileArrangement(
            image: image, rows: canvas.height / tile, columns: canvas.width / tile, scaled: scaled)
    }

    /// The canvas that keeps most pixels of the image, and of several the one that wastes least; the first of equals.
    private func canvas(for image: Size) -> Size {
        var best = canvases[0]
        var (mostKept, leastWasted) = (0, Int.max)
        for canvas in canvases {
            let scale = min(
                Double(canvas.width) / Double(image.width), Double(canvas.height) / Double(image.height))
            let scaled = Int(Double(image.width) * scale) * Int(Double(image.height) * scale)
            let kept = min(scaled, image.width * image.height)
            let wasted = canvas.width * canvas.height - kept
            if kept > mostKept || (kept == mostKept && wasted < leastWasted) {
                (best, mostKept, leastWasted) = (canvas, kept, wasted)
            }
        }
        return best
    }

    /// The visual tokens of an image's tiles that go to the decoder.
    /// - Parameter side: visual tokens per side of a tile
    package func map(of arrangement: TileArrangement, side: Int) -> VisualTokenMap {
        let (height, width) = (arrangement.rows * side, arrangement.columns * side)
        var (rows, columns) = (0..<height, 0..<width)
        guard merge == .rows else {
            return VisualTokenMap(rows: rows, columns: columns, hasNewlines: false)
        }
        let image = arrangement.image
        if Double(image.width) / Double(image.height) > Double(width) / Double(height) {
            let kept = whole(Double(image.height) * (Double(width) / Double(image.width)))
            let padding = (height - kept) / 2
            rows = padding..<max(height - padding, padding)
        } else {
            let kept = whole(Double(image.width) * (Double(height) / Double(image.height)))
            let padding = (width - kept) / 2
            columns = padding..<max(width - padding, padding)
        }
        guard let mostTiles else { return VisualTokenMap(rows: rows, columns: columns) }
        let ratio = (Double(rows.count * columns.count) / Double(mostTiles * side * side)).squareRoot()
        guard ratio > 1.1 else { return VisualTokenMap(rows: rows, columns: columns) }
        return VisualTokenMap(
            rows: rows, columns: columns, height: Self.floorDivision(rows.count, ratio),
            width: Self.floorDivision(columns.count, ratio))
    }

    /// Python's `int(count // ratio)`, which is not the quotient rounded down where that is rounded up to a whole number.
    private static func floorDivision(_ count: Int, _ ratio: Double) -> Int {
        let remainder = Double(count).truncatingRemainder(dividingBy: ratio)
        return Int(((Double(count) - remainder) / ratio).rounded())
    }

    /// Python's `int(round(value, 7))`, or `int(value)`.
    private func whole(_ value: Double) -> Int {
        let down = value.rounded(.down)
        return Int(down) + (roundsPadding && down + 1 - value < 0.5e-7 ? 1 : 0)
    }

    /// Fewest visual tokens of one image: of a very flat one, all that a canvas holds may be padding.
    /// - Parameter side: visual tokens per side of a tile
    package func fewestTokens(side: Int, tile: Int) -> Int {
        let tiles = canvases.map { $0.height / tile * ($0.width / tile) }.min() ?? 0
        return side * side * (merge == .rows ? 1 : 1 + tiles)
    }

    /// Most visual tokens of one image: no ratio up to 1.1 is reduced, and a row ends with a token of its own.
    /// - Parameter side: visual tokens per side of a tile
    package func mostTokens(side: Int, tile: Int) -> Int {
        let tiles = canvases.map { ($0.height / tile, $0.width / tile) }
        let most =
            tiles.map { rows, columns in
                let all = rows * columns * side * side
                let limit = mostTiles.map { Int((1.21 * Double($0 * side * side)).rounded(.down)) } ?? all
                return min(all, limit) + (merge == .rows ? rows * side : 0)
            }.max() ?? 0
        return side * side + most
    }
}

/// An image cut into tiles.
package struct TileArrangement: Sendable, Equatable, Hashable {
    /// The image's own size.
    package var image: AnyResolution.Size
    package var rows: Int
    package var columns: Int
    /// What it is resized to, in the middle of the canvas.
    package var scaled: AnyResolution.Size

    /// Tiles and the whole image before them.
    package var count: Int { rows * columns + 1 }
}

/// Which of the visual tokens of all tiles together, as a map, stand for the image, and to how many they are reduced.
package struct VisualTokenMap: Sendable, Equatable {
    /// What is not padding.
    package var rows: Range<Int>
    package var columns: Range<Int>
    package var height: Int
    package var width: Int
    /// Each row ends with a token of its own.
    package var hasNewlines: Bool

    init(
        rows: Range<Int>, columns: Range<Int>, height: Int? = nil, width: Int? = nil, hasNewlines: Bool = true
    ) {
        self.hasNewlines = hasNewlines
        self.rows = rows
        self.columns = columns
        self.height = height ?? rows.count
        self.width = width ?? columns.count
    }

    package var isReduced: Bool { height != rows.count || width != columns.count }

    package var tokens: Int { height * (width + (hasNewlines ? 1 : 0)) }
}
