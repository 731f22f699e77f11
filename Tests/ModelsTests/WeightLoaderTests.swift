import Checkpoints
import Models
import Tensors
import TestSupport
import Testing

@Suite("Weights are taken as they are stored, or packed anew")
struct WeightLoaderTests {
    /// One matrix of somebody else's integers.
    private struct Integers: WeightSource {
        let matrix: IntegerMatrix

        func contains(_ name: String) -> Bool { name == "w" }
        func tensor(_ name: String, shape: [Int]) throws -> Tensor {
            try Tensor([Float](repeating: 1, count: shape.reduce(1, *)), shape: shape)
        }
        func matrix(_ name: String, shape: [Int]) throws -> StoredMatrix { .integers(matrix) }
    }

    @Test(
        "Integers are kept where no fewer bits are asked for, whatever the other matrices have",
        arguments: [(stored: 8, others: 4, asked: 8), (4, 4, 8), (8, 8, 4), (8, 4, 4), (4, 8, 16)])
    func keptIntegers(stored: Int, others: Int, asked: Int) throws {
        let words = try Storage(byteCount: 4 * 64 * stored / 8)
        words.mutableBytes.initializeMemory(as: UInt8.self, repeating: 7)
        let ones = try Tensor([Float](repeating: 1, count: 4), shape: [4, 1])
        let source = Integers(
            matrix: try IntegerMatrix(
                words: Tensor(.uint32, shape: [4, 64 * stored / 32], storage: words), scales: ones,
                biases: ones, outputs: 4, inputs: 64, bits: stored, group: 64))
        func format(_ bits: Int) -> WeightFormat {
            bits == 4 ? .int4(group: 64) : bits == 8 ? .int8(group: 64) : .bfloat16
        }
        for instructionSet in InstructionSet.available {
            let compute = try Compute(threads: 1, instructionSet: instructionSet)
            let recorder = PanelRecorder()
            let loader = WeightLoader(source, format: format(others), compute: compute, recorder: recorder)
            let packed = try loader.matrix("w", shape: [4, 64], format: format(asked))
            let isKept = asked < 16 && stored <= asked && compute.keepsIntegers(bits: stored)
            #expect((recorder.panels["w"]?.layout.hasMinima ?? false) == isKept, "\(instructionSet)")
            withExtendedLifetime(packed) {}
        }
    }
}
