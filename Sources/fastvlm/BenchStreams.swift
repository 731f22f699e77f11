import ArgumentParser
import Benchmarking
import Checkpoints
import FastVLM
import FastVLMEmbedded
import Generation
import ImageInput
import Models
import Tensors
import Tokenization

/// Times several requests at once: tokens per second of all together, and how long one waits for another.
final class StreamBench {
    private let engine: GenerationEngine
    private let vocabulary: Int
    private let clock = ContinuousClock()
    /// Positions before the first token.
    private let context: Int
    private let tokens: Int

    /// - Parameters:
    ///   - context: text tokens before each answer
    ///   - tokens: of each answer
    init(
        network: VisionLanguageNetwork, tokenizer: Tokenizer, compute: Compute, context: Int, tokens: Int
    ) {
        vocabulary = network.configuration.text.vocabularySize
        // Scores of the whole vocabulary, whatever the tokenizer knows.
        engine = GenerationEngine(
            network: network, tokenizer: tokenizer, compute: compute, keyValueBytes: 2 << 30,
            usableVocabulary: vocabulary)
        self.context = context
        self.tokens = tokens
    }

    /// A prompt that begins like no other one.
    private func prompt(_ number: Int, count: Int) -> [Int] {
        (0..<count).map { (($0 + 1) * 7919 + (number + 1) * 104_729) % vocabulary }
    }

    private func request(_ ids: [Int], tokens: Int) -> GenerationRequest {
        var request = GenerationRequest(prompt: Prompt(elements: [.tokens(ids)]))
        request.maximumTokens = tokens
        request.ignoresEndOfSequence = true
        return request
    }

    /// Seconds for `count` answers at once, whose prompts are computed before.
    func seconds(streams count: Int) throws -> Double {
        for number in 0..<count {
            _ = try engine.generate(request(prompt(number, count: context), tokens: 1))
        }
        var finished = 0
        for number in 0..<count {
            try engine.add(
                request(prompt(number, count: context), tokens: tokens), cancellation: Cancellation()
            ) { event in
                if case .finished = event { finished += 1 }
            }
        }
        let start = clock.now
        while finished < count, engine.step() {}
        return (clock.now - start) / .seconds(1)
    }

    struct Waiting {
        /// The usual time between two tokens of an answer, and the longest while another request's image is encoded.
        var step = 0.0
        var longestGap = 0.0
        /// From a short question behind a known beginning to its first token: alone, and asked while another request
        /// begins to prefill its image.
        var alone = 0.0
        var beside = 0.0
    }

    /// - Parameters:
    ///   - side: of the image
    ///   - text: tokens behind it
    ///   - follow: tokens of the short question
    func waiting(side: Int, text: Int, follow: Int) throws -> Waiting {
        var result = Waiting()
        var gaps: [Double] = []
        var last: ContinuousClock.Instant?
        var isOver = false
        let cancellation = Cancellation()
        try engine.add(request(prompt(0, count: context), tokens: 4096), cancellation: cancellation) {
            [clock] event in
            guard case .piece = event else { return }
            let now = clock.now
            if let last { gaps.append((now - last) / .seconds(1)) }
            last = now
        }
        while gaps.count < 8, engine.step() {}
        result.step = gaps.sorted()[gaps.count / 2]
        gaps = []
        try engine.add(question(side: side, text: text, number: 1), cancellation: Cancellation()) { event in
            if case .finished = event { isOver = true }
        }
        while !isOver, engine.step() {}
        result.longestGap = gaps.max() ?? 0
        cancellation.cancel()
        while engine.step() {}

        let known = prompt(2, count: context)
        _ = try engine.generate(request(known, tokens: 1))
        func ask(_ number: Int) throws -> Double {
            let start = clock.now
            var seconds: Double?
            try engine.add(
                request(known + prompt(number, count: follow), tokens: 1), cancellation: Cancellation()
            ) { [clock] event in
                if case .finished = event { seconds = (clock.now - start) / .seconds(1) }
            }
            while seconds == nil, engine.step() {}
            return seconds ?? 0
        }
        result.alone = try (3..<6).map(ask).sorted()[1]
        var prefills = false
        try engine.add(question(side: side, text: text, number: 6), cancellation: Cancellation()) { event in
            if case .prefilling = event { prefills = true }
        }
        while !prefills, engine.step() {}
        result.beside = try ask(7)
        while engine.step() {}
        return result
    }

    /// A question about an image that nobody asked about before.
    private func question(side: Int, text: Int, number: Int) -> GenerationRequest {
        var request = GenerationRequest(
            prompt: Prompt(elements: [.image(0), .tokens(prompt(number, count: text))]),
            images: [PixelTensor(size: side, values: (0..<side * side * 3).map { Float($0 % 255) / 255 })])
        request.maximumTokens = 1
        return request
    }
}

extension Bench {
    /// The numbers of `--streams`, the first of which the others are compared with.
    func parsedStreams() throws -> [Int]? {
        guard let streams else { return nil }
        return try streams.split(separator: ",").map { word in
            guard let count = Int(word), (1...64).contains(count) else {
                throw ValidationError("--streams: '\(word)' is not a number from 1 to 64.")
            }
            return count
        }
    }

    func measureStreams(
        _ counts: [Int], _ precision: Precision, side: Int, _ bench: Workbench, _ compute: Compute,
        _ report: BenchReport, _ cancellation: Cancellation
    ) throws {
        let new = max(tokens, 32)
        let streams = StreamBench(
            network: bench.network, tokenizer: try Tokenizer(directory: ModelSource.embedded.directory()),
            compute: compute, context: 300, tokens: new)
        var single: Double?
        // In turns, so that a machine that slows down meanwhile slows all of them.
        var rates = counts.map { _ in [Double]() }
        for _ in 0..<max(repeats, 1) {
            for (index, count) in counts.enumerated() {
                try cancellation.check()
                rates[index].append(Double(count * new) / (try streams.seconds(streams: count)))
            }
        }
        for (count, rates) in zip(counts, rates) {
            let rate = rates.sorted()[rates.count / 2]
            single = single ?? rate / Double(count)
            try report.streamed(count, precision, rate: rate, times: rate / (single ?? rate))
        }
        try cancellation.check()
        try report.waited(
            try streams.waiting(side: side, text: textTokens, follow: 25), side: side, precision)
    }
}
