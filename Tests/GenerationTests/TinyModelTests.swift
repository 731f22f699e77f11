import Checkpoints
import Foundation
import Generation
import ImageInput
import Models
import Tensors
import TestSupport
import Testing
import Tokenization

/// What transformers computed for a tiny seeded FastVLM.
struct ExpectedModel: Decodable, Sendable {
    struct Case: Decodable, Sendable {
        let name: String
        let images: [Int]
        let chunks: [[Int]]
        let greedy: [Int]
    }

    let folders: [String]
    let imageSide: Int
    let tokensPerImage: Int
    let imageTokenId: Int
    let cases: [Case]

    static func read(_ name: String) throws -> ExpectedModel {
        try JSONDecoder().decode(Self.self, from: Fixture.data("models/\(name).expected.json"))
    }
}

/// A loaded tiny model with all that a generation needs.
struct TinyModel {
    let engine: GenerationEngine
    let network: VisionLanguageNetwork
    let compute: Compute
    let images: [PixelTensor]

    init(
        _ folder: String, precision: Precision, instructionSet: InstructionSet? = nil, threads: Int = 2
    ) throws {
        try self.init(
            at: Fixture.url("models/\(folder)"), precision: precision, instructionSet: instructionSet,
            threads: threads)
    }

    init(
        at url: URL, precision: Precision, instructionSet: InstructionSet? = nil, threads: Int = 2
    ) throws {
        try self.init(
            Checkpoint(directory: url), precision: precision, instructionSet: instructionSet, threads: threads
        )
    }

    init(
        _ checkpoint: Checkpoint, precision: Precision, instructionSet: InstructionSet? = nil,
        threads: Int = 2
    ) throws {
        // The fixtures run to their length: nothing ends them early.
        var configuration = checkpoint.configuration
        configuration.endOfSequenceIDs = []
        configuration.maximumSequenceLength = 300
        compute = try Compute(threads: threads, instructionSet: instructionSet)
        network = try VisionLanguageNetwork(
            checkpoint.weights, configuration: configuration, precision: precision, compute: compute)
        engine = GenerationEngine(
            network: network, tokenizer: try Tokenizer(directory: checkpoint.directory), compute: compute)
        let preprocessor = try ImagePreprocessor(
            ImagePreprocessing(geometry: .pad, size: configuration.preprocessing.size), background: .black)
        images = try (0..<3).map { number in
            try preprocessor(ImageDecoder.decode(Fixture.data("models/images/image-\(number).png")))
        }
    }

    /// Features and projection of an image.
    func encode(_ image: Int) throws -> (features: [Float], projected: [Float]) {
        let output = try engine.encode(images[image])
        return (output.features.floats(), output.projected.floats())
    }

    /// The fixture's prompt with its images between its chunks.
    func request(_ expected: ExpectedModel.Case) -> GenerationRequest {
        var elements: [Prompt.Element] = []
        for (index, chunk) in expected.chunks.enumerated() {
            if index > 0 { elements.append(.image(expected.images[index - 1])) }
            if !chunk.isEmpty { elements.append(.tokens(chunk)) }
        }
        var request = GenerationRequest(prompt: Prompt(elements: elements), images: images)
        request.maximumTokens = expected.greedy.count
        return request
    }

    func generate(_ request: GenerationRequest) throws -> GenerationOutcome {
        try engine.generate(request)
    }

    /// Scores of the position after the prompt.
    func logits(_ request: GenerationRequest, chunk: Int = Decoder.prefillChunk) throws -> [Float] {
        try engine.logits(after: request, on: compute, chunk: chunk)
    }
}

/// ‖got − expected‖ / ‖expected‖; NaN when anything is not a number.
func relativeError(_ got: [Float], _ expected: [Float]) -> Double {
    guard got.count == expected.count else { return .infinity }
    let difference = zip(got, expected).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
    let size = expected.reduce(0.0) { $0 + Double($1) * Double($1) }
    return (difference / size).squareRoot()
}

/// The tensors that transformers computed for a tiny model.
func reference(_ name: String) throws -> CheckpointTensors {
    try CheckpointTensors(Fixture.url("models/\(name).expected.safetensors"))
}

func cosine(_ a: [Float], _ b: [Float]) -> Double {
    func dot(_ x: [Float], _ y: [Float]) -> Double {
        zip(x, y).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    return dot(a, b) / (dot(a, a) * dot(b, b)).squareRoot()
}

@Suite("Whole tiny models equal transformers'")
struct TinyModelTests {
    /// Each published layout of the fixtures, and the reference that its weights belong to.
    static let layouts = [
        ("tiny-hf", "tiny"), ("tiny-apple", "tiny"), ("tiny-mlx", "tiny"), ("tiny-mlx-q4", "tiny-mlx-q4"),
        ("tiny-mlx-q8", "tiny-mlx-q8"), ("tiny-train", "tiny-train"), ("tiny-apple-train", "tiny-train"),
        ("tiny-llama", "tiny-llama"),
    ]

    @Test("Features, projection and last logits in float32, every layout", arguments: layouts)
    func float32(folder: String, reference name: String) throws {
        let expected = try ExpectedModel.read(name)
        let tensors = try reference(name)
        for instructionSet in InstructionSet.available {
            let model = try TinyModel(folder, precision: .float32, instructionSet: instructionSet)
            #expect(model.network.tokensPerImage == expected.tokensPerImage)
            for image in 0..<3 where tensors.contains("features.\(image)") {
                let (features, projected) = try model.encode(image)
                let errors = (
                    relativeError(features, try tensors["features.\(image)"]),
                    relativeError(projected, try tensors["projected.\(image)"])
                )
                #expect(
                    errors.0 <= 1e-4 && errors.1 <= 1e-4,
                    "\(folder) \(instructionSet) image \(image): \(errors)")
            }
            for (number, example) in expected.cases.enumerated() {
                let error = relativeError(
                    try model.logits(model.request(example)), try tensors["logits.\(number)"])
                #expect(error <= 1e-4, "\(folder) \(instructionSet) logits \(number): \(error)")
            }
        }
    }

    @Test("Greedy ids over 64 tokens and more, with 0 to 3 images, every layout", arguments: layouts)
    func greedy(folder: String, reference name: String) throws {
        let expected = try ExpectedModel.read(name)
        let model = try TinyModel(folder, precision: .float32)
        for example in expected.cases {
            #expect(example.greedy.count >= 64)
            let outcome = try model.generate(model.request(example))
            #expect(outcome.ids == example.greedy, "\(folder), case \(example.name)")
            #expect(outcome.finish == .length)
            #expect(outcome.imagePositions == example.images.count * expected.tokensPerImage)
        }
    }

    @Test("bfloat16 stays close to float32", arguments: ["tiny-hf", "tiny-apple", "tiny-mlx"])
    func bfloat16(folder: String) throws {
        let tensors = try reference("tiny")
        let expected = try ExpectedModel.read("tiny")
        for instructionSet in InstructionSet.available {
            let model = try TinyModel(folder, precision: .bfloat16, instructionSet: instructionSet)
            for image in 0..<3 {
                let (features, projected) = try model.encode(image)
                #expect(cosine(features, try tensors["features.\(image)"]) >= 0.999)
                #expect(cosine(projected, try tensors["projected.\(image)"]) >= 0.999)
            }
            for (number, example) in expected.cases.enumerated() {
                let got = try model.logits(model.request(example))
                #expect(cosine(got, try tensors["logits.\(number)"]) >= 0.999)
            }
        }
    }

    @Test("8 and 4 bits stay as close to float32 as their steps allow", arguments: [Precision.int8, .int4])
    func integers(precision: Precision) throws {
        let tensors = try reference("tiny")
        let expected = try ExpectedModel.read("tiny")
        for instructionSet in InstructionSet.available {
            let model = try TinyModel("tiny-hf", precision: precision, instructionSet: instructionSet)
            for image in 0..<3 {
                let (features, projected) = try model.encode(image)
                #expect(cosine(features, try tensors["features.\(image)"]) >= 0.99)
                #expect(cosine(projected, try tensors["projected.\(image)"]) >= 0.99)
            }
            for (number, example) in expected.cases.enumerated() {
                let got = try model.logits(model.request(example))
                // Random weights are the worst case for 4 bits: nothing in them is redundant.
                let bound = precision == .int8 ? 0.99 : 0.9
                #expect(cosine(got, try tensors["logits.\(number)"]) >= bound, "\(instructionSet)")
            }
        }
    }

    @Test("Features and logits have the same bits for any number of threads", arguments: Precision.allCases)
    func threads(precision: Precision) throws {
        let expected = try ExpectedModel.read("tiny")
        var results: [[UInt32]] = []
        for threads in [1, 2, 3, 5] {
            let model = try TinyModel("tiny-hf", precision: precision, threads: threads)
            let logits = try model.logits(model.request(expected.cases[3]))
            results.append(try (model.encode(1).projected + logits).map(\.bitPattern))
        }
        #expect(results.allSatisfy { $0 == results[0] })
    }

    @Test("Prefill in chunks of any size equals prefill at once", arguments: [1, 7, 16, 77])
    func chunkedPrefill(size: Int) throws {
        let expected = try ExpectedModel.read("tiny")
        let model = try TinyModel("tiny-hf", precision: .float32)
        let request = model.request(expected.cases[3])
        let whole = try model.logits(request)
        let chunked = try model.logits(request, chunk: size)
        #expect(relativeError(chunked, whole) <= 1e-6)
    }

    @Test("Rows of the vocabulary beyond the tokenizer, and the image token, are never chosen")
    func paddingRows() throws {
        let expected = try ExpectedModel.read("tiny")
        let model = try TinyModel("tiny-hf", precision: .float32)
        // The fixture's answers pass steps where a row beyond the tokenizer has the best score; hot sampling
        // would take such rows and the image token often.
        var request = model.request(expected.cases[0])
        request.sampling.temperature = 50
        request.sampling.seed = 3
        request.maximumTokens = 200
        let ids = try model.generate(request).ids
        #expect(ids.count == 200 && ids.allSatisfy { $0 < 290 && $0 != expected.imageTokenId })
        #expect(model.network.configuration.text.vocabularySize == 320)
    }

    @Test("A second turn over what the first left equals one prefill of everything")
    func cacheAcrossTurns() throws {
        let expected = try ExpectedModel.read("tiny")
        let model = try TinyModel("tiny-hf", precision: .float32)
        var first = model.request(expected.cases[1])
        for index in first.images.indices { first.images[index].identity = index }
        let follow = [5, 17, 42, 80]
        var request = first
        request.maximumTokens = 6
        let answer = try model.engine.generate(request)
        var second = first
        second.prompt = Prompt(elements: first.prompt.elements + [.tokens(answer.ids + follow)])
        let continued = try model.engine.generate(second)
        // The last generated token has not been through the decoder yet.
        #expect(continued.promptPositions == 5 && continued.imagePositions == 0)
        #expect(continued.cachedPositions == answer.promptPositions + 5)
        #expect(continued.durations.encode == .zero)
        let whole = try TinyModel("tiny-hf", precision: .float32).generate(second)
        #expect(whole.cachedPositions == 0 && whole.ids == continued.ids)
    }

    @Test("A second question about the same image encodes nothing and prefills only what is new")
    func secondQuestion() throws {
        let expected = try ExpectedModel.read("tiny")
        let model = try TinyModel("tiny-hf", precision: .int8)
        let log = OperationLog()
        let engine = GenerationEngine(
            network: model.network, tokenizer: model.engine.tokenizer,
            compute: model.compute.recording(to: log))
        func ask(
            _ request: GenerationRequest
        ) throws -> (entries: [OperationLog.Entry], outcome: GenerationOutcome) {
            log.removeAll()
            var request = request
            request.maximumTokens = 1
            for index in request.images.indices { request.images[index].identity = index }
            let outcome = try engine.generate(request)
            return (log.entries, outcome)
        }
        let encoder: Set<OperationLog.Kind> = [.stem, .depthwise, .feedForward]
        let first = try #require(expected.cases.first { $0.images.count == 1 })
        let answer = try ask(model.request(first))
        #expect(encoder.isSubset(of: answer.entries.map(\.kind)))
        #expect(answer.entries.filter { $0.kind == .stem }.reduce(0) { $0 + $1.calls } == 1)

        let cached = answer.outcome.promptPositions
        let new = [5, 17, 42, 80, 3]
        var request = model.request(first)
        request.prompt = Prompt(elements: request.prompt.elements + [.tokens(new)])
        let (entries, outcome) = try ask(request)
        #expect(outcome.promptPositions == new.count && outcome.cachedPositions == cached)
        #expect(encoder.isDisjoint(with: entries.map(\.kind)))
        // The layers' matrices for the new positions, the last layer for the last one beside its keys and values.
        let text = model.network.configuration.text
        let width = text.hiddenSize
        let rows = (text.layers - 1) * new.count + 1
        let vocabulary = min(text.vocabularySize, model.engine.tokenizer.vocabularyCount)
        let products =
            2
            * (rows * width * (2 * text.queryWidth + 3 * text.intermediateSize)
                + text.layers * new.count * width * 2 * text.keyValueWidth + width * vocabulary)
        let counted = entries.filter { [.linear, .gatedLinear].contains($0.kind) }
            .reduce(0) { $0 + $1.operations }
        #expect(counted == products)
        // Each new position looks at what was there, and at the new ones up to itself.
        let seen =
            (text.layers - 1) * (1...new.count).reduce(0) { $0 + cached + $1 } + cached + new.count
        let attention = entries.filter { $0.kind == .attention }.reduce(0) { $0 + $1.operations }
        #expect(attention == 4 * seen * text.queryWidth)
    }

    @Test(
        "An image that stands several times in a prompt is encoded once, and each place answers as if it were not"
    )
    func imageTwice() throws {
        let model = try TinyModel("tiny-hf", precision: .float32)
        func outcome(_ indices: [Int]) throws -> (ids: [Int], stems: Int, encoded: [Int]) {
            let log = OperationLog()
            let engine = GenerationEngine(
                network: model.network, tokenizer: model.engine.tokenizer,
                compute: model.compute.recording(to: log))
            var request = GenerationRequest(
                prompt: Prompt(
                    elements: indices.flatMap { [.tokens([5, 17, 42]), .image($0)] } + [.tokens([80, 3])]),
                images: [model.images[1], model.images[1], model.images[0]])
            request.maximumTokens = 12
            var encoded: [Int] = []
            let outcome = try engine.generate(request) { event in
                guard case .encoded(let index, let tokens) = event else { return }
                #expect(tokens.shape == [9, 64])
                encoded.append(index)
            }
            #expect(outcome.imagePositions == 9 * indices.count)
            let stems = log.entries.filter { $0.kind == .stem }.reduce(0) { $0 + $1.calls }
            return (outcome.ids, stems, encoded)
        }
        // Indices 0 and 1 are two images with the same pixels.
        let apart = try outcome([0, 2, 1])
        let shared = try outcome([0, 2, 0])
        #expect(apart.stems == 3 && apart.encoded == [0, 2, 1])
        #expect(shared.stems == 2 && shared.encoded == [0, 2])
        #expect(shared.ids == apart.ids)
    }

    @Test("A prompt longer than the context is refused before any work")
    func contextLimit() throws {
        let model = try TinyModel("tiny-hf", precision: .float32)
        let limit = model.engine.contextLimit
        let request = GenerationRequest(
            prompt: Prompt(elements: [.tokens(Array(repeating: 1, count: limit + 1))]))
        #expect(throws: GenerationError.contextExceeded(needed: limit + 1, limit: limit)) {
            try model.generate(request)
        }
    }

    @Test("Generation ends at the context's last position instead of failing")
    func contextEnd() throws {
        let model = try TinyModel("tiny-hf", precision: .float32)
        let limit = model.engine.contextLimit
        var request = GenerationRequest(
            prompt: Prompt(elements: [.tokens(Array(repeating: 1, count: limit - 2))]))
        request.maximumTokens = 100
        let outcome = try model.generate(request)
        #expect(outcome.ids.count == 3)
        #expect(outcome.finish == .length)
    }

    @Test("A raised flag ends a request before any work and between tokens")
    func cancellation() throws {
        let expected = try ExpectedModel.read("tiny")
        let model = try TinyModel("tiny-hf", precision: .float32)
        let raised = Cancellation()
        raised.cancel()
        #expect(throws: TensorError.cancelled) {
            try model.engine.generate(model.request(expected.cases[1]), cancellation: raised) { _ in
                Issue.record("there was an event")
            }
        }
        let later = Cancellation()
        var pieces = 0
        #expect(throws: TensorError.cancelled) {
            try model.engine.generate(model.request(expected.cases[0]), cancellation: later) { event in
                guard case .piece = event else { return }
                pieces += 1
                if pieces == 3 { later.cancel() }
            }
        }
        #expect(pieces == 3)
        #expect(model.engine.requestCount == 0)
    }

    @Test("A flag raised while the encoder runs stops it before it is through")
    func cancellationInsideEncoder() throws {
        let model = try TinyModel("tiny-hf", precision: .float32, instructionSet: .scalar)
        // A picture so large that the scalar encoder takes far longer than it takes to raise the flag.
        let side = 2048
        let pixels = PixelTensor(size: side, values: Array(repeating: 0.5, count: side * side * 3))
        let cancellation = Cancellation()
        let thread = Thread {
            Thread.sleep(forTimeInterval: 0.05)
            cancellation.cancel()
        }
        thread.start()
        #expect(throws: TensorError.cancelled) {
            try model.engine.encode(pixels, cancellation: cancellation)
        }
    }

    @Test("Ids outside the vocabulary and images that are not there are refused")
    func invalidPrompts() throws {
        let model = try TinyModel("tiny-hf", precision: .float32)
        for elements: [Prompt.Element] in [[.tokens([1_000_000])], [.tokens([-200])], [.image(7)]] {
            #expect(throws: GenerationError.self) {
                try model.generate(
                    GenerationRequest(prompt: Prompt(elements: elements), images: model.images))
            }
        }
        #expect(throws: GenerationError.emptyPrompt) {
            try model.generate(GenerationRequest(prompt: Prompt(elements: [])))
        }
    }

    @Test("Stop ids, stop strings and the token limit end an answer for their own reason")
    func stopping() throws {
        let expected = try ExpectedModel.read("tiny")
        let model = try TinyModel("tiny-hf", precision: .float32)
        var request = model.request(expected.cases[0])
        request.stopIDs = [expected.cases[0].greedy[5]]
        let byID = try model.generate(request)
        let first = try #require(expected.cases[0].greedy.firstIndex(of: expected.cases[0].greedy[5]))
        #expect(byID.ids == Array(expected.cases[0].greedy.prefix(first + 1)))
        #expect(byID.finish == .stop)

        request = model.request(expected.cases[0])
        request.stopStrings = ["system"]
        var text = ""
        let byString = try model.engine.generate(request) {
            if case .piece(let piece) = $0 { text += piece.text }
        }
        #expect(byString.finish == .stop)
        #expect(!text.contains("system") && byString.ids.count < 72)
    }
}
