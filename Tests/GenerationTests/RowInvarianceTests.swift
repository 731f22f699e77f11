import Checkpoints
import Generation
import ImageInput
import Models
import Tensors
import TestSupport
import Testing

/// Answers do not depend on how their positions were computed: at once, in pieces, after what another prompt left in
/// the cache, on however many threads. Bit for bit, in every precision, on every instruction set that is here.
@Suite("Logits and features have the same bits however they are computed")
struct RowInvarianceTests {
    private static let combinations = InstructionSet.available.flatMap { set in
        Precision.allCases.map { (set, $0) }
    }

    /// Logits after a prompt whose positions go through the decoder in pieces.
    private func logits(_ model: TinyModel, _ ids: [Int], pieces: [Int]) throws -> [UInt32] {
        let workspace = Workspace()
        let decoder = model.network.decoder
        let cache = decoder.makeCache()
        let logits = try workspace.matrix(1, model.network.configuration.text.vocabularySize)
        var first = 0
        for size in pieces + [ids.count] where first < ids.count {
            let piece = ids[first..<min(first + size, ids.count)]
            let rows = try workspace.matrix(piece.count, model.network.configuration.text.hiddenSize)
            decoder.embed(Array(piece), into: rows, on: model.compute)
            try decoder.forward(rows, cache: cache, logits: logits, workspace: workspace, on: model.compute)
            first += size
        }
        return logits.row(0).map(\.bitPattern)
    }

    @Test("a prompt at once and in pieces, as reuse and decoding cut it", arguments: combinations)
    func pieces(set: InstructionSet, precision: Precision) throws {
        let model = try TinyModel("tiny-hf", precision: precision, instructionSet: set)
        // Beyond one block of keys of the attention.
        let ids = (0..<290).map { ($0 * 37 + 11) % 250 }
        let whole = try logits(model, ids, pieces: [])
        for pieces in [
            [289], [288], [287], [286], [40, 3, 2, 1], [256, 1], [1, 1, 1, 255], [12, 13, 16, 32, 33, 100],
            [Int](repeating: 1, count: 290), [Int](repeating: 7, count: 42),
        ] {
            #expect(
                try logits(model, ids, pieces: pieces) == whole, "\(set) \(precision) \(pieces.prefix(6))")
        }
    }

    @Test("features on 1, 2 and 3 threads, at sides that leave rests of chunks", arguments: combinations)
    func features(set: InstructionSet, precision: Precision) throws {
        let models = try (1...3).map {
            try TinyModel("tiny-hf", precision: precision, instructionSet: set, threads: $0)
        }
        for tokens in [1, 3, 5, 7] {
            let side = tokens * 64
            let pixels = (0..<side * side * 3).map { Float(($0 * 7919) % 255) / 127.5 - 1 }
            let results = try models.map { model in
                let workspace = Workspace()
                let input = try workspace.map(height: side, width: side, channels: 3)
                _ = input.buffer.initialize(from: pixels)
                let output = try workspace.matrix(tokens * tokens, model.network.encoder.featureChannels)
                try model.network.encoder.encode(input, into: output, workspace: workspace, on: model.compute)
                return (0..<output.rows).flatMap { output.row($0).map(\.bitPattern) }
            }
            #expect(results[1] == results[0] && results[2] == results[0], "\(set) \(precision) side \(side)")
        }
    }
}
