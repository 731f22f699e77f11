import Benchmarking
import Checkpoints
import Foundation
import Tensors
import Testing

/// What a sweep measures, in which order, and what its lines say.
@Suite("Sweeps")
struct SweepTests {
    private func model(_ tower: SweepTower, _ decoder: SweepDecoder = .half, _ sides: [Int]) -> SweepModel {
        SweepModel(tower: tower, decoder: decoder, sides: sides)
    }

    @Test("A tower takes the sides that it can; one of a single size has that one")
    func sides() {
        let asked = [1024, 512, 192, 512, 300]
        #expect(SweepTower.fastViTHD.sides(of: asked) == [192, 512, 1024])
        #expect(SweepTower.fastViTHDTiles.sides(of: asked) == [512, 1024])
        #expect(SweepTower.clip.sides(of: asked) == [336])
        #expect(SweepTower.siglip.sides(of: asked) == [384])
        #expect(SweepTower.siglipTiles.sides(of: asked) == [192, 300, 512, 1024])
    }

    @Test(
        "Visual tokens are those of the published models",
        arguments: [
            (SweepTower.fastViTHD, 1024, 1, 256), (.fastViTHD, 256, 1, 16), (.fastViTHDTiles, 2048, 5, 1280),
            (.clip, 336, 1, 576), (.clipTiles, 672, 5, 2928), (.siglip, 384, 1, 729),
            (.siglipTiles, 1152, 10, 7371), (.siglipTiles, 384, 2, 1485),
        ])
    func tokens(tower: SweepTower, side: Int, encodings: Int, tokens: Int) throws {
        let system = try #require(model(tower, .half, [side]).systems.first)
        #expect(system.encodings == encodings && system.visualTokens == tokens)
    }

    @Test("What shares a decoder goes together, then what shares a tower, images from small to large")
    func order() {
        let models = [
            model(.fastViTHD, .half, [512, 256]), model(.clip, .seven, [512]),
            model(.clip, .half, [512]),
        ]
        let cells = SweepPlan(models: models, precisions: [.bfloat16, .int8]).cells
        #expect(
            cells.map(\.name) == [
                "0.5b bfloat16, fastvithd at 256²", "0.5b bfloat16, fastvithd at 512²",
                "0.5b bfloat16, clip-l-336 at 336²", "0.5b int8, fastvithd at 256²",
                "0.5b int8, fastvithd at 512²", "0.5b int8, clip-l-336 at 336²",
                "7b bfloat16, clip-l-336 at 336²", "7b int8, clip-l-336 at 336²",
            ])
        // Or the second could not use the first's decoder.
        let texts = Set(cells.prefix(3).map(\.system.configuration.maximumSequenceLength))
        #expect(texts.count == 1)
    }

    @Test("A checkpoint is measured at the sides that it takes, or at its own")
    func checkpoint() {
        let configuration = SyntheticModel.half.configuration
        let some = SweepModel(checkpoint: configuration, folder: "own", place: 0, sides: [512, 300, 256])
        #expect(some.systems.map(\.imageSide) == [256, 512])
        #expect(some.systems.map { $0.configuration.preprocessing.size } == [256, 512])
        let none = SweepModel(checkpoint: configuration, folder: "own", place: 0, sides: [300])
        #expect(none.systems.map(\.imageSide) == [1024])
        let random = model(.fastViTHD, .half, [256])
        let cells = SweepPlan(models: [some, random], precisions: [.int8]).cells
        #expect(cells.map(\.checkpoint) == [0, 0, nil])
    }

    @Test("Memory and operations grow with the decoder, the precision and the prompt as they should")
    func estimates() throws {
        func cell(_ tower: SweepTower, _ decoder: SweepDecoder, _ precision: Precision, _ side: Int) throws
            -> SweepCell
        {
            try #require(
                SweepPlan(models: [model(tower, decoder, [side])], precisions: [precision]).cells.first)
        }
        let half = try cell(.fastViTHD, .half, .bfloat16, 1024)
        // 122.7 M and 494 M weights, the table a second time for the scores, and a gigabyte.
        #expect((2_300_000_000..<2_900_000_000).contains(half.neededBytes(textTokens: 30)))
        let seven = try cell(.fastViTHD, .seven, .bfloat16, 1024).neededBytes(textTokens: 30)
        #expect((16_000_000_000..<17_500_000_000).contains(seven), "\(seven)")
        // 0.9 bytes less for each of 6.5 billion weights, 0.5 billion scores and the tower's; the table stays.
        let integers = try cell(.fastViTHD, .seven, .int8, 1024).neededBytes(textTokens: 30)
        #expect((6_200_000_000..<6_700_000_000).contains(seven - integers), "\(seven - integers)")
        // The encoder's 473 G and the decoder's 204 G.
        let operations = half.estimatedOperations(textTokens: 30)
        #expect(abs(operations / 690e9 - 1) < 0.15, "\(operations)")
        let one = try cell(.siglipTiles, .half, .bfloat16, 1152).estimatedOperations(textTokens: 30)
        #expect(abs(one / 13.78e12 - 1) < 0.1, "\(one)")
    }

    @Test("A prompt beyond its decoder's positions is too long")
    func tooLong() throws {
        let vicuna = try #require(
            SweepPlan(models: [model(.siglipTiles, .vicuna, [1152])], precisions: [.int8]).cells.first)
        #expect(vicuna.isTooLong(textTokens: 30))
        let half = try #require(
            SweepPlan(models: [model(.siglipTiles, .half, [1152])], precisions: [.int8]).cells.first)
        #expect(!half.isTooLong(textTokens: 30))
    }

    private static let conditions = SweepRecord.Conditions(
        processor: "A, \"fast\" one", instructionSet: "avx512", threads: 2, textTokens: 30)

    private func record(_ cell: SweepCell, _ conditions: SweepRecord.Conditions) -> SweepRecord {
        SweepRecord(
            measured: cell, conditions,
            operations: FirstTokenStages(encode: 2e9, project: 1e8, prefill: 3e9),
            repeats: [3, 1, 2].map { FirstTokenStages(encode: $0, project: 0.5, prefill: 2 * $0) },
            peakBytes: 1_000_000)
    }

    @Test("A line has the repeat in the middle and comes back from JSON; other conditions are another cell")
    func lines() throws {
        let cell = try #require(
            SweepPlan(models: [model(.fastViTHD, .half, [512])], precisions: [.int8]).cells.first)
        let record = record(cell, Self.conditions)
        #expect(record.seconds?.encode == 2 && record.firstTokenSeconds == 6.5)
        #expect(record.repeats == [9.5, 3.5, 6.5])
        let again = try JSONDecoder().decode(SweepRecord.self, from: JSONEncoder().encode(record))
        #expect(again == record)
        #expect(record.key == SweepRecord.Key(cell, Self.conditions))
        var other = Self.conditions
        other.threads = 1
        #expect(record.key != SweepRecord.Key(cell, other))
        #expect(
            SweepRecord(skipped: cell, Self.conditions, needed: 2, available: 1).key == record.key)
    }

    @Test("Comma-separated values: as many as there are columns, quoted where they must be")
    func table() throws {
        let cell = try #require(
            SweepPlan(models: [model(.fastViTHD, .half, [512])], precisions: [.int8]).cells.first)
        let fields = try #require(record(cell, Self.conditions).fields)
        #expect(fields.count == SweepRecord.columns.count)
        #expect(fields[0] == "fastvithd" && fields[3] == "512" && fields[6] == "64")
        #expect(SweepRecord.line(fields).contains("\"A, \"\"fast\"\" one\",avx512,2"))
        #expect(SweepRecord.line(["a\nb", "c"]) == "\"a\nb\",c")
        #expect(SweepRecord(skipped: cell, Self.conditions, needed: 2, available: 1).fields == nil)
    }

    @Test("The time left is that of the operations left; what is skipped takes none")
    func progress() throws {
        let cells = SweepPlan(models: [model(.fastViTHD, .half, [256, 512, 1024])], precisions: [.int8]).cells
        var progress = SweepProgress(cells, textTokens: 30)
        #expect(progress.secondsLeft == nil && progress.position == "0 of 3")
        progress.finish(cells[1], seconds: 8)
        let rate = 8 / cells[1].estimatedOperations(textTokens: 30)
        let rest = [cells[0], cells[2]].map { $0.estimatedOperations(textTokens: 30) }.reduce(0, +)
        #expect(abs((progress.secondsLeft ?? 0) - rate * rest) < 1e-9)
        progress.finish(cells[2], seconds: nil)
        #expect(abs((progress.secondsLeft ?? 0) - rate * cells[0].estimatedOperations(textTokens: 30)) < 1e-9)
        progress.finish(cells[0], seconds: 1)
        #expect(progress.secondsLeft == 0 && progress.position == "3 of 3")
    }
}
