import Benchmark
import FastVLM
import FastVLMEmbedded
import Foundation

/// What a program that uses the library waits for, through its public face.
///
/// The embedded model and a sample image; FASTVLM_MODEL names the folder of another checkpoint. A first run keeps a
/// baseline (`swift package benchmark baseline update NAME`), a later one is compared with it.
let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .cpuTotal, .instructions, .peakMemoryResident],
        warmupIterations: 2, maxDuration: .seconds(5), maxIterations: 200)

    Benchmark("load") { _ in
        blackHole(try await Subject.load())
    }

    Benchmark(
        "first token about a new image",
        closure: { (benchmark: Benchmark, subject: Subject) async throws -> Void in
            await subject.model.forget()
            benchmark.startMeasurement()
            blackHole(try await subject.ask("What is in the picture?"))
            benchmark.stopMeasurement()
        }, setup: Subject.init)

    Benchmark(
        "first token about a known image",
        closure: { (benchmark: Benchmark, subject: Subject) async throws -> Void in
            // Two questions in turns: neither finds the whole of itself remembered.
            let question = benchmark.currentIteration.isMultiple(of: 2) ? "What is it?" : "Which colour is it?"
            blackHole(try await subject.ask(question))
        }, setup: Subject.init)

    Benchmark(
        "image to features",
        closure: { (_: Benchmark, subject: Subject) async throws -> Void in
            blackHole(try await subject.model.encode(subject.image))
        }, setup: Subject.init)

    Benchmark(
        "tokenize 6,000 words",
        closure: { (_: Benchmark, tokenizer: TextTokenizer) throws -> Void in
            blackHole(tokenizer.encode(Subject.text))
        },
        setup: { try TextTokenizer(contentsOf: Subject.source) })
}

/// A loaded model and an image in memory.
struct Subject: Sendable {
    let model: VisionLanguageModel
    let image: ImageSource

    static let text = String(repeating: "What is the total on this receipt? ", count: 860)

    static var source: ModelSource {
        ProcessInfo.processInfo.environment["FASTVLM_MODEL"].map { .directory(URL(filePath: $0)) } ?? .embedded
    }

    static func load() async throws -> VisionLanguageModel { try await VisionLanguageModel(contentsOf: source) }

    init() async throws {
        model = try await Self.load()
        var root = URL(filePath: #filePath)
        for _ in 0..<4 { root.deleteLastPathComponent() }
        image = .data(try Data(contentsOf: root.appending(path: "Samples/single-banana.jpg")))
    }

    func ask(_ question: String) async throws -> Answer {
        var options = GenerationOptions()
        options.maximumTokens = 1
        return try await model.answer(question, images: [image], options: options)
    }
}
