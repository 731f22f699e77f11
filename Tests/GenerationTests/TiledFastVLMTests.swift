import Checkpoints
import Foundation
import Generation
import ImageInput
import Tensors
import TestSupport
import Testing

/// A FastVLM whose images are cut into tiles, as the original's program does it: `image_aspect_ratio` `anyres`.
@Suite("A tiny FastVLM with images in tiles")
struct TiledFastVLMTests {
    private struct Expected: Decodable {
        struct Image: Decodable {
            let height: Int
            let width: Int
            let tokens: [String: Int]
        }

        struct Case: Decodable {
            let chunks: [[Int]]
            let greedy: [Int]
        }

        let grids: [[Int]]
        let images: [Image]
        let cases: [Case]
    }

    private let expected: Expected
    private let tensors: CheckpointTensors

    init() throws {
        expected = try JSONDecoder().decode(Expected.self, from: Fixture.data("llava/fastvlm.json"))
        tensors = try CheckpointTensors(Fixture.url("llava/fastvlm.safetensors"))
    }

    /// tiny-hf with what the original's program calls images in tiles.
    private func withModel<Result>(
        merge: String?, _ body: (Checkpoint) throws -> Result
    ) throws -> Result {
        let newline = try Tensor(tensors["newline"], shape: [64])
        return try withChanged(
            Fixture.url("models/tiny-hf"),
            adding: merge == "spatial_unpad" ? [("model.image_newline", newline)] : [],
            config: { config in
                config["image_aspect_ratio"] = "anyres"
                config["mm_patch_merge_type"] = merge
                config["image_grid_pinpoints"] = expected.grids
            }
        ) { try body(Checkpoint(directory: $0)) }
    }

    private func pictures() throws -> [RGBImage] {
        try expected.images.enumerated().map {
            try RGBImage(
                width: $1.width, height: $1.height,
                pixels: ReferenceConversations.pixels($0, height: $1.height, width: $1.width))
        }
    }

    @Test(
        "Visual tokens in float32, however the tiles' are put together",
        arguments: ["flat", "spatial", "spatial_unpad", nil])
    func visualTokens(merge: String?) throws {
        try withModel(merge: merge) { checkpoint in
            let model = try LLaVAModel(checkpoint)
            // Without the key the original takes them tile by tile.
            let key = merge ?? "flat"
            let range = checkpoint.configuration.visualTokenRange
            for (index, picture) in try pictures().enumerated() {
                let got = try model.visualTokens(picture)
                #expect(got.count / 64 == expected.images[index].tokens[key])
                #expect(range.contains(got.count / 64))
                let error = relativeError(got, try tensors["\(key).\(index)"])
                #expect(error <= 1e-4, "image \(index): \(error)")
            }
        }
    }

    @Test("Last logits and 64 greedy ids in float32")
    func answers() throws {
        try withModel(merge: "spatial") { checkpoint in
            let model = try LLaVAModel(checkpoint)
            for (index, picture) in try pictures().enumerated() {
                let example = expected.cases[index]
                let request = try model.request(
                    example.chunks, [picture], tokens: example.greedy.count)
                let error = relativeError(try model.logits(request), try tensors["logits.\(index)"])
                #expect(error <= 1e-4, "image \(index): \(error)")
                let outcome = try model.engine.generate(request)
                #expect(example.greedy.count >= 64 && outcome.ids == example.greedy, "image \(index)")
            }
        }
    }

    @Test("Another side of the tiles keeps their number; the paper's two by two take 1,280 tokens")
    func sides() throws {
        try withModel(merge: "spatial") { checkpoint in
            #expect(checkpoint.configuration.visualTokenRange == 27...45)
            let small = try checkpoint.configuration.resized(to: 64)
            #expect(small.visualTokenRange == 3...5)
            guard case .anyResolution(let tiling) = small.preprocessing.tiling else {
                Issue.record("\(small.preprocessing)")
                return
            }
            #expect(tiling.canvases[2] == .init(height: 128, width: 128))
            #expect(throws: CheckpointError.self) { try checkpoint.configuration.resized(to: 100) }
        }
        let paper = AnyResolution(
            canvases: [.init(height: 2048, width: 2048)], mostTiles: nil, merge: .canvas)
        let arrangement = paper.arrangement(of: .init(height: 700, width: 1300), tile: 1024)
        #expect(256 + paper.map(of: arrangement, side: 16).tokens == 1280)
        #expect(
            paper.mostTokens(side: 16, tile: 1024) == 1280 && paper.fewestTokens(side: 16, tile: 1024) == 1280
        )
    }

    @Test("Sizes that are no tiles, and ways of merging that nobody has, are refused")
    func refused() throws {
        func refusal(_ change: (inout [String: Any]) -> Void) throws -> String {
            try withChanged(
                Fixture.url("models/tiny-hf"),
                config: { config in
                    config["image_aspect_ratio"] = "anyres"
                    config["mm_patch_merge_type"] = "spatial"
                    config["image_grid_pinpoints"] = expected.grids
                    change(&config)
                }
            ) { folder in
                do {
                    _ = try Checkpoint(directory: folder)
                    return ""
                } catch { return "\(error)" }
            }
        }
        #expect(try refusal { _ in } == "")
        #expect(try refusal { $0["image_grid_pinpoints"] = [[100, 192]] }.contains("multiples of 192"))
        #expect(try refusal { $0["image_grid_pinpoints"] = [Int]() }.contains("at least one size"))
        #expect(try refusal { $0["image_grid_pinpoints"] = nil }.contains("192-pixel tiles"))
        #expect(try refusal { $0["image_grid_pinpoints"] = [[192 * 65, 192]] }.contains("64 tiles"))
        #expect(try refusal { $0["mm_patch_merge_type"] = "pyramid" }.contains("spatial_unpad"))
        let reducing = try refusal {
            $0["image_aspect_ratio"] = "anyres_max_9"
            $0["mm_patch_merge_type"] = nil
        }
        #expect(reducing.contains("pad or square"), "\(reducing)")
        #expect(try refusal { $0["mm_patch_merge_type"] = "spatial_unpad" }.contains("projector.newline"))
    }
}
