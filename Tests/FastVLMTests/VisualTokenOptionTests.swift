import FastVLM
import FastVLMEmbedded
import Foundation
import TestSupport
import Testing

/// Other numbers of visual tokens than the checkpoint's: tiles, and fewer tokens behind the encoder.
@Suite("Options for visual tokens")
struct VisualTokenOptionTests {
    private static let picture = Fixture.url("models/images/image-0.png")

    private func model(
        _ reduction: TokenReduction? = nil, tiles: TileGrid? = nil, size: Int? = nil
    ) async throws -> VisionLanguageModel {
        var options = LoadOptions()
        options.tokenReduction = reduction
        options.tiles = tiles
        options.imageSize = size
        return try await VisionLanguageModel(contentsOf: .embedded, options: options)
    }

    @Test(
        "A prompt has as many visual tokens as were asked for, and the decoder reads those",
        arguments: TokenReduction.Method.allCases)
    func reduced(method: TokenReduction.Method) async throws {
        let (whole, pruned) = (try await model(), try await model(TokenReduction(method, tokens: 16)))
        #expect(whole.information.tokensPerImage == 64 && pruned.information.tokensPerImage == 16)
        let encoded = try await (whole.encode(.file(Self.picture)), pruned.encode(.file(Self.picture)))
        #expect(encoded.0.tokens == 64 && encoded.1.tokens == 16)
        #expect(encoded.0.features == encoded.1.features)
        var options = GenerationOptions()
        options.maximumTokens = 8
        let answers = try await (
            whole.answer("What is this?", images: [.file(Self.picture)], options: options),
            pruned.answer("What is this?", images: [.file(Self.picture)], options: options)
        )
        #expect(answers.0.usage.imageTokens == 64 && answers.1.usage.imageTokens == 16)
        #expect(answers.0.usage.promptTokens - answers.1.usage.promptTokens == 48)
        let count = try pruned.countTokens(
            messages: [.user("What is this?", images: [.file(Self.picture)])])
        #expect(count == answers.1.usage.promptTokens)
        // The same again from what was remembered.
        let again = try await pruned.answer(
            "What is this?", images: [.file(Self.picture)], options: options)
        #expect(again.text == answers.1.text && again.usage.cachedTokens > 0)
    }

    @Test("As many as there are, or more, changes nothing")
    func unreduced() async throws {
        let (whole, same) = (try await model(), try await model(TokenReduction(.merge, tokens: 64)))
        let encoded = try await (whole.encode(.file(Self.picture)), same.encode(.file(Self.picture)))
        #expect(encoded.0.projected == encoded.1.projected)
    }

    @Test("2×2 tiles: the whole image and its quarters, each with all of a whole image's tokens")
    func tiles() async throws {
        let grid = TileGrid(rows: 2, columns: 2)
        let (whole, tiled) = (try await model(size: 256), try await model(tiles: grid, size: 256))
        let image = Self.checkered(side: 512)
        let encoded = try await tiled.encode(image.source)
        #expect(encoded.tokens == 5 * 16)
        // A quarter of 256 pixels is a tile as it stands.
        let quarter = try await whole.encode(image.quarter)
        let width = quarter.projected.count / quarter.tokens
        let last = Array(encoded.projected[(4 * 16 * width)...])
        #expect(last.count == quarter.projected.count)
        let error = zip(last, quarter.projected).map { abs($0 - $1) }.max() ?? 1
        #expect(error < 1e-5, "\(error)")
        var options = GenerationOptions()
        options.maximumTokens = 4
        let answer = try await tiled.answer("What is this?", images: [image.source], options: options)
        #expect(answer.usage.imageTokens == 80)
        let merged = try await model(TokenReduction(.merge, tokens: 30), tiles: grid, size: 256)
        #expect(try await merged.encode(image.source).tokens == 30)
    }

    @Test("A question's own image size and fewer tokens go together")
    func resolution() async throws {
        let reduced = try await model(TokenReduction(.average, tokens: 25))
        let image = Self.checkered(side: 96)
        for (side, tokens) in [(256, 16), (512, 25), (768, 25)] {
            var options = GenerationOptions()
            options.maximumTokens = 2
            options.imageSize = side
            let answer = try await reduced.answer("What is this?", images: [image.source], options: options)
            #expect(answer.usage.imageTokens + answer.usage.cachedImageTokens == tokens)
        }
    }

    private struct Picture {
        let source: ImageSource
        /// The lower right one.
        let quarter: ImageSource
    }

    private static func checkered(side: Int) -> Picture {
        func pixels(_ range: Range<Int>) -> [UInt8] {
            range.flatMap { y in
                range.flatMap { x in [UInt8(x * 7 & 255), UInt8(y * 5 & 255), UInt8((x ^ y) & 255)] }
            }
        }
        let half = side / 2
        return Picture(
            source: .pixels(width: side, height: side, rgb: Data(pixels(0..<side))),
            quarter: .pixels(width: half, height: half, rgb: Data(pixels(half..<side))))
    }

    @Test("What a model cannot do is refused with the option's name")
    func refused() async throws {
        func error(_ reduction: TokenReduction?, _ tiles: TileGrid? = nil, size: Int? = nil) async
            -> FastVLMError?
        {
            do {
                _ = try await model(reduction, tiles: tiles, size: size)
                return nil
            } catch { return error as? FastVLMError }
        }
        let wrong = [
            await error(TokenReduction(.average, tokens: 15)), await error(TokenReduction(.merge, tokens: 0)),
            await error(TokenReduction(.average, tokens: 16), TileGrid(rows: 2, columns: 2), size: 256),
        ]
        for one in wrong {
            #expect(
                one?.code == .invalidOption && one?.option == "tokenReduction", "\(String(describing: one))")
        }
        for grid in [
            TileGrid(rows: 1, columns: 1), TileGrid(rows: 0, columns: 2), TileGrid(rows: 9, columns: 2),
        ] {
            let one = await error(nil, grid)
            #expect(one?.code == .invalidOption && one?.option == "tiles", "\(String(describing: one))")
        }
        let large = await error(nil, TileGrid(rows: 8, columns: 8), size: 1024)
        #expect(large?.option == "tiles")
    }
}
