import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("Training branches fold into the kernels that PyTorch makes of them")
struct FoldingTests {
    @Test("every weight of the branched tower equals timm's own re-parameterisation")
    func foldingEqualsTimm() throws {
        let branched = try Checkpoint(directory: Fixture.url("checkpoints/train_time"))
        let folded = try Checkpoint(directory: Fixture.url("checkpoints/folded"))
        #expect(branched.layout == CheckpointLayout(family: .huggingFace, trainTime: true, quantization: nil))
        #expect(folded.layout == CheckpointLayout(family: .huggingFace, trainTime: false, quantization: nil))
        #expect(branched.configuration == folded.configuration)
        #expect(branched.weights.names == folded.weights.names)
        try expectSameWeights(branched.weights, folded.weights, tolerance: 1e-6)
    }

    @Test("Apple's names for the branches give the same weights")
    func appleBranches() throws {
        let source = try SafetensorsFile(
            contentsOf: Fixture.url("checkpoints/train_time/model.safetensors"))
        var checkpoint = TinyCheckpoint(config: TinyCheckpoint.appleConfig)
        for stored in source.tensors {
            checkpoint.tensors[appleName(stored.name)] = try source.tensor(stored)
        }
        try withTemporaryFolder { folder in
            try checkpoint.write(to: folder)
            let apple = try Checkpoint(directory: folder)
            #expect(apple.layout == CheckpointLayout(family: .apple, trainTime: true, quantization: nil))
            let folded = try Checkpoint(directory: Fixture.url("checkpoints/folded"))
            try expectSameWeights(apple.weights, folded.weights, tolerance: 1e-6)
        }
    }

    @Test("the configuration of a checkpoint saved by transformers is read as it was written")
    func configuration() throws {
        let configuration = try Checkpoint(directory: Fixture.url("checkpoints/folded")).configuration
        guard case .fastViTHD(let vision) = configuration.vision else {
            Issue.record("\(configuration.vision)")
            return
        }
        #expect(vision.depths == [2, 1, 1, 1, 1])
        #expect(vision.widths == [4, 8, 8, 32, 32])
        #expect((0..<5).map { vision.hiddenWidth(stage: $0) } == [12, 16, 16, 32, 32])
        #expect(
            vision.tokenMixers == [.repMixer, .repMixer, .repMixer, .attention, .attention])
        #expect(vision.positionEncoding == [false, false, false, true, true])
        #expect(vision.finalChannels == 64)
        #expect(vision.squeezeReduction == 4)
        #expect(vision.stride == 64)
        #expect(
            configuration.text
                == DecoderConfiguration(
                    hiddenSize: 16, layers: 2, heads: 2, keyValueHeads: 1, headDimension: 8,
                    intermediateSize: 24,
                    vocabularySize: 40, rmsNormEpsilon: 1e-6, ropeTheta: 1e6, maximumPositions: 512,
                    tiedEmbeddings: true, hasAttentionBias: true))
        #expect(configuration.preprocessing.geometry == .crop)
        #expect(configuration.preprocessing.size == 1024)
        #expect(configuration.imageTokenID == 39)
        #expect(configuration.endOfSequenceIDs == [38])
        #expect(configuration.maximumSequenceLength == 512)
        #expect(configuration.modelType == "fast_vlm")
    }
}
