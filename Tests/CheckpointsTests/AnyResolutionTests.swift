import Checkpoints
import Foundation
import TestSupport
import Testing

/// How LLaVA-OneVision cuts images, and how many visual tokens they become, against transformers.
@Suite("Images in tiles")
struct AnyResolutionTests {
    private let tiling = AnyResolution.oneVision

    private func tokens(_ height: Int, _ width: Int, _ tiling: AnyResolution) -> Int {
        let arrangement = tiling.arrangement(of: .init(height: height, width: width), tile: 384)
        return 729 + tiling.map(of: arrangement, side: 27).tokens
    }

    /// Height, width, the canvas, what is left of the map, tokens, tiles with the whole image.
    @Test(
        "the table of published sizes",
        arguments: [
            (384, 384, 384, 384, 27, 27, 1485, 2), (480, 640, 768, 768, 40, 54, 2929, 5),
            (640, 480, 768, 768, 54, 40, 2943, 5), (768, 768, 768, 768, 54, 54, 3699, 5),
            (899, 1024, 1152, 1152, 71, 81, 6551, 10), (1152, 1152, 1152, 1152, 81, 81, 7371, 10),
            (1080, 1920, 1152, 1920, 75, 135, 7269, 16), (1536, 1536, 1536, 1536, 108, 108, 7371, 17),
            (2304, 2304, 2304, 2304, 162, 162, 7371, 37), (3000, 2000, 2304, 1536, 162, 108, 7362, 25),
            (100, 1000, 384, 1152, 9, 81, 1467, 4),
        ] as [(Int, Int, Int, Int, Int, Int, Int, Int)])
    func table(
        height: Int, width: Int, canvasHeight: Int, canvasWidth: Int, rows: Int, columns: Int, count: Int,
        tiles: Int
    ) {
        let arrangement = tiling.arrangement(of: .init(height: height, width: width), tile: 384)
        #expect(arrangement.rows * 384 == canvasHeight && arrangement.columns * 384 == canvasWidth)
        #expect(arrangement.count == tiles)
        let map = tiling.map(of: arrangement, side: 27)
        // An odd rest of the padding stays.
        #expect(map.rows.count - rows <= 1 && map.rows.count >= rows)
        #expect(map.columns.count - columns <= 1 && map.columns.count >= columns)
        #expect(tokens(height, width, tiling) == count)
    }

    @Test("random sizes of all proportions, those with a rounding that matters among them")
    func counts() throws {
        let sizes = try JSONDecoder().decode([[Int]].self, from: Fixture.data("onevision/counts.json"))
        #expect(sizes.count > 400)
        let most = tiling.mostTokens(side: 27, tile: 384)
        #expect(most == 8829)
        for size in sizes {
            #expect(tokens(size[0], size[1], tiling) == size[2], "\(size[0])×\(size[1])")
            #expect(size[2] <= most)
        }
    }

    @Test("the original does not round, which at some sizes costs or gives two rows or columns")
    func original() {
        var original = tiling
        original.roundsPadding = false
        for (height, width, rounded, plain) in [
            (624, 1872, 6985, 6713), (700, 2520, 8227, 7901), (1500, 1750, 7241, 7329),
        ] {
            let counts = [tokens(height, width, tiling), tokens(height, width, original)]
            #expect(counts == [rounded, plain], "\(height)×\(width): \(counts)")
        }
    }

    @Test("no size leaves the canvas or has tiles without pixels")
    func bounds() {
        for height in [1, 2, 3, 7, 383, 385, 1153, 4095, 65000, 1 << 20] {
            for width in [1, 2, 5, 384, 769, 2305, 40000, 1 << 20] {
                let arrangement = tiling.arrangement(of: .init(height: height, width: width), tile: 384)
                let scaled = arrangement.scaled
                #expect(scaled.height >= 1 && scaled.height <= 384 * arrangement.rows)
                #expect(scaled.width >= 1 && scaled.width <= 384 * arrangement.columns)
                let map = tiling.map(of: arrangement, side: 27)
                #expect(map.rows.lowerBound >= 0 && map.rows.upperBound <= 27 * arrangement.rows)
                #expect(map.columns.lowerBound >= 0 && map.columns.upperBound <= 27 * arrangement.columns)
                #expect(map.height <= map.rows.count && map.width <= map.columns.count)
            }
        }
    }
}

/// LLaVA-NeXT's five canvases of 336-pixel tiles, against transformers.
@Suite("Images in tiles of LLaVA-NeXT")
struct NextResolutionTests {
    private func tokens(_ height: Int, _ width: Int, _ tiling: AnyResolution) -> Int {
        let arrangement = tiling.arrangement(of: .init(height: height, width: width), tile: 336)
        return 576 + tiling.map(of: arrangement, side: 24).tokens
    }

    @Test(
        "the table of the reference",
        arguments: [
            (384, 384, 2928), (480, 640, 2340), (768, 768, 2928), (899, 1024, 2634), (1080, 1920, 1948),
            (2304, 2304, 2928), (3000, 2000, 2160), (100, 1000, 1160), (1000, 100, 1224), (336, 336, 1176),
            (220, 1056, 1744), (3000, 1, 600), (1, 3000, 576),
        ] as [(Int, Int, Int)])
    func table(height: Int, width: Int, count: Int) {
        #expect(tokens(height, width, .next) == count)
    }

    @Test("random sizes of all proportions")
    func counts() throws {
        let sizes = try JSONDecoder().decode([[Int]].self, from: Fixture.data("llava/next-counts.json"))
        #expect(sizes.count > 400)
        let fewest = AnyResolution.next.fewestTokens(side: 24, tile: 336)
        let most = AnyResolution.next.mostTokens(side: 24, tile: 336)
        #expect(fewest == 576 && most == 2928)
        for size in sizes {
            let count = tokens(size[0], size[1], .next)
            #expect(count == size[2], "\(size[0])×\(size[1])")
            #expect((fewest...most).contains(count))
        }
    }

    @Test("the original does not round, and takes the first of equal canvases by width and height")
    func original() {
        var original = AnyResolution.next
        original.roundsPadding = false
        original.canvases = AnyResolution.next.canvases.map { .init(height: $0.width, width: $0.height) }
        #expect(tokens(220, 1056, original) == 1598)
        let square = AnyResolution.Size(height: 336, width: 336)
        let (first, other) = (
            AnyResolution.next.arrangement(of: square, tile: 336),
            original.arrangement(of: square, tile: 336)
        )
        #expect(first.rows == 1 && first.columns == 2 && other.rows == 2 && other.columns == 1)
    }
}
