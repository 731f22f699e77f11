/// Rows and columns of tiles that an image is cut into, for a model that otherwise takes it as a whole. Each tile, and the
/// whole image before them, is brought to the model's resolution: 2×2 tiles have five times the visual tokens of one image.
///
/// ```swift
/// var options = LoadOptions()
/// options.tiles = TileGrid(rows: 2, columns: 2)
/// ```
public struct TileGrid: Sendable, Hashable {
    /// Most tiles in a row or column.
    public static let limit = 8

    public var rows: Int
    public var columns: Int

    public init(rows: Int, columns: Int) {
        self.rows = rows
        self.columns = columns
    }

    /// Reads `2x2`, rows first; nil for anything else, and for sides that are not 1 to ``limit``.
    public init?(_ text: String) {
        let parts = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.count == 2, let rows = parts[0], let columns = parts[1] else { return nil }
        self.init(rows: rows, columns: columns)
        guard isPossible else { return nil }
    }

    /// One tile would be the whole image a second time.
    package var isPossible: Bool {
        (1...Self.limit).contains(rows) && (1...Self.limit).contains(columns) && rows * columns > 1
    }

    /// The canvas of such tiles, as FastVLM's `anyres` puts their tokens together: tile after tile.
    /// - Parameter side: pixels of a tile
    /// - Returns: nil where it would be larger than any checkpoint may ask for
    package func tiling(side: Int) -> ImagePreprocessing.Tiling? {
        let (height, width) = (rows * side, columns * side)
        guard isPossible, height * width <= AnyResolution.pixelLimit else { return nil }
        return .anyResolution(
            AnyResolution(
                canvases: [.init(height: height, width: width)], mostTiles: nil, merge: .tiles,
                tilesSeveralImages: true))
    }
}

extension TileGrid: CustomStringConvertible {
    /// `2x2`
    public var description: String { "\(rows)x\(columns)" }
}

extension TileGrid: Codable {
    /// Reads `"2x2"`.
    /// - Throws: `DecodingError` for anything that ``init(_:)`` refuses.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let grid = TileGrid(text) else {
            throw DecodingError.dataCorruptedError(
                in: container,
                debugDescription:
                    "\"\(text)\" is no grid of tiles such as 2x2, of 1 to \(Self.limit) rows and columns")
        }
        self = grid
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
