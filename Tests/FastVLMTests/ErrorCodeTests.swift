import Checkpoints
import Foundation
import Generation
import ImageInput
import SystemFiles
import Tensors
import TestSupport
import Testing
import Tokenization

@testable import FastVLM

@Suite("Errors have codes that programs can act on")
struct ErrorCodeTests {
    private func translated(_ error: any Error) -> FastVLMError? {
        FastVLMError.translating(error) as? FastVLMError
    }

    @Test("Each cause has its code, whose fault it is, and its amounts; the sentence stays")
    func causes() throws {
        let file = "/m/config.json"
        let cases: [(any Error, FastVLMError.Code, FastVLMError.Kind)] = [
            (CheckpointError.missingFile(path: file, expected: "config.json"), .checkpoint, .model),
            (CheckpointError.notFinite(file: file, tensor: "x"), .checkpoint, .model),
            (
                CheckpointError.unsupportedConfiguration(file: file, key: "k", expected: "a", got: "b"),
                .unsupportedCheckpoint, .model
            ),
            (CheckpointError.adapterOnly(directory: "/m", base: nil), .unsupportedCheckpoint, .model),
            (CheckpointError.tensor(.allocationFailed(bytes: 5)), .outOfMemory, .system),
            (CheckpointError.unreadableFile(path: file, reason: SystemReason(EACCES)), .checkpoint, .model),
            (CheckpointError.unreadableFile(path: file, reason: SystemReason(EMFILE)), .systemLimit, .system),
            (
                CheckpointError.output(.refused(path: "/o", reason: SystemReason(ENOSPC), advice: "x")),
                .output, .output
            ),
            (OutputError.refused(path: "/o", reason: SystemReason(EACCES), advice: "x"), .output, .output),
            (TokenizationError.noTokenizer(directory: "/m"), .checkpoint, .model),
            (TokenizationError.sentencePieceModelOnly(directory: "/m"), .unsupportedCheckpoint, .model),
            (ImageInputError.unreadable(path: "/i", reason: SystemReason(ENOENT)), .unreadableImage, .image),
            (ImageInputError.empty, .invalidImage, .image),
            (ImageInputError.corrupt(format: .png, offset: nil, detail: "x"), .invalidImage, .image),
            (ImageInputError.invalidImage(width: 1, height: 1, bytes: 2), .invalidImage, .image),
            (ImageInputError.unknownFormat(start: "x"), .unsupportedImage, .image),
            (ImageInputError.formatNotEnabled(.bmp), .unsupportedImage, .image),
            (ImageInputError.overLimit(format: .png, detail: "x"), .imageTooLarge, .image),
            (ImageInputError.invalidParameter(name: "std", expected: "x", got: "y"), .checkpoint, .model),
            (GenerationError.emptyPrompt, .emptyPrompt, .request),
            (GenerationError.invalidConversation(reason: "x"), .invalidConversation, .request),
            (GenerationError.placeholderMismatch(placeholders: 1, images: 2), .placeholderMismatch, .request),
            (GenerationError.deadlineExceeded, .deadlineExceeded, .request),
            (GenerationError.notANumber(position: 3), .checkpoint, .model),
            (TensorError.unexpectedShape(what: "x", expected: "y", got: "z"), .checkpoint, .model),
            (TensorError.tooFewFiles(needed: 9), .systemLimit, .system),
            (
                TensorError.unavailableInstructionSet(requested: "x", available: []),
                .unavailableInstructionSet,
                .system
            ),
        ]
        for (error, code, kind) in cases {
            let found = try #require(translated(error))
            #expect(found.code == code && found.kind == kind, "\(error)")
            #expect(found.description == "\(error)" && found.option == nil)
        }
        for cancelled: any Error in [
            TensorError.cancelled, OutputError.cancelled, CheckpointError.tensor(.cancelled),
            CheckpointError.output(.cancelled), CancellationError(),
        ] {
            #expect(FastVLMError.translating(cancelled) is CancellationError)
        }
    }

    @Test("Amounts are numbers")
    func amounts() throws {
        let cases: [(any Error, needed: Int?, limit: Int?)] = [
            (GenerationError.contextExceeded(needed: 50, limit: 40), 50, 40),
            (ImageInputError.fileTooLarge(bytes: 9, limit: 8), 9, 8),
            (ImageInputError.fileTooLarge(bytes: nil, limit: 8), nil, 8),
            (ImageInputError.sideTooLong(format: .png, width: 3, height: 9, limit: 8), 9, 8),
            (ImageInputError.tooManyPixels(format: nil, width: 3, height: 9, limit: 8), 27, 8),
            (ImageInputError.tooManyPixels(format: .png, width: .max, height: 9, limit: 8), nil, 8),
            (ImageInputError.tooMuchMemory(format: .webp, width: 1, height: 1, bytes: 9, limit: 8), 9, 8),
            (TensorError.allocationFailed(bytes: 7), 7, nil),
        ]
        for (error, needed, limit) in cases {
            let found = try #require(translated(error))
            #expect(found.needed == needed && found.limit == limit, "\(error)")
        }
    }

    @Test("An option out of range is named as the property that holds it")
    func options() async throws {
        let model = try await VisionLanguageModel(contentsOf: .directory(Fixture.url("models/tiny-hf")))
        let changes: [(String, (inout GenerationOptions) -> Void)] = [
            ("temperature", { $0.temperature = -1 }), ("topK", { $0.topK = -1 }), ("topP", { $0.topP = 2 }),
            ("minP", { $0.minP = 2 }), ("repetitionPenalty", { $0.repetitionPenalty = 0 }),
            ("frequencyPenalty", { $0.frequencyPenalty = 2.5 }),
            ("presencePenalty", { $0.presencePenalty = .nan }), ("logitBias", { $0.logitBias = [1: 101] }),
            ("logitBias", { $0.logitBias = [1 << 40: 1] }),
            ("maximumTokens", { $0.maximumTokens = 0 }), ("stop", { $0.stop = [""] }),
            ("logProbabilities", { $0.logProbabilities = 21 }),
        ]
        for (name, change) in changes {
            var options = GenerationOptions()
            change(&options)
            let error = await #expect(throws: FastVLMError.self) {
                try await model.answer("x", options: options)
            }
            #expect(error?.code == .invalidOption && error?.option == name, "\(name)")
        }
        let loads: [(String, (inout LoadOptions) -> Void)] = [
            ("threads", { $0.threads = 0 }), ("imageSize", { $0.imageSize = 65 }),
            ("contextLength", { $0.contextLength = 1 << 40 }), ("template", { $0.template = "none" }),
            ("maximumRunning", { $0.maximumRunning = 0 }), ("maximumWaiting", { $0.maximumWaiting = 0 }),
            ("keyValueBytes", { $0.keyValueBytes = -1 }), ("requestBytes", { $0.requestBytes = 0 }),
        ]
        for (name, change) in loads {
            var options = LoadOptions()
            change(&options)
            let error = await #expect(throws: FastVLMError.self) {
                try await VisionLanguageModel(
                    contentsOf: .directory(Fixture.url("models/tiny-hf")), options: options)
            }
            #expect(error?.code == .invalidOption && error?.option == name, "\(name)")
        }
    }

    @Test("Codes are words that can be stored, and unknown ones can be held")
    func stored() throws {
        let data = try JSONEncoder().encode([FastVLMError.Code.contextExceeded])
        #expect(String(decoding: data, as: UTF8.self) == #"["contextExceeded"]"#)
        let unknown = try JSONDecoder().decode([FastVLMError.Code].self, from: Data(#"["later"]"#.utf8))
        #expect(unknown == [FastVLMError.Code(rawValue: "later")])
    }
}
