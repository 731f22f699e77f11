import ArgumentParser
import Benchmarking
import Checkpoints
import FastVLM
import Foundation
import Models
import Tensors
import Tokenization

extension SyntheticModel: ExpressibleByArgument {}

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure how fast this machine encodes, prefills and decodes.",
        discussion: """
            fastvlm bench --model DIR
            fastvlm bench --synthetic 0.5b --resolutions 256,1024 --precisions bfloat16,int8
            fastvlm bench --synthetic 0.5b --profile --plot bench.svg
            fastvlm bench --synthetic 0.5b --streams 1,2,4,8

            Times are medians (smallest–largest) of the repeats; the share is that of what the arithmetic units can \
            do at most, or of what the memory can deliver when decoding, both measured in the same run. Weights \
            of synthetic models are random, which changes no time.
            """)

    @OptionGroup var from: SourceOptions

    @Option(help: "Random weights in the dimensions of a published model: 0.5b, 1.5b or 7b.")
    var synthetic: SyntheticModel?

    @Option(help: "Comma-separated image sides (default: the model's).")
    var resolutions: String?

    @Option(help: "Comma-separated precisions.")
    var precisions = "bfloat16,int8,int4"

    @Option(
        name: .shortAndLong, parsing: .unconditional, help: "Worker threads (default: see `fastvlm info`).")
    var threads: Int?

    @Option(parsing: .unconditional, help: "Text tokens of the prompt, beside the visual ones.")
    var textTokens = 30

    @Option(parsing: .unconditional, help: "Tokens to decode per repeat.")
    var tokens = 16

    @Option(parsing: .unconditional, help: "Timed repeats.")
    var repeats = 5

    @Option(parsing: .unconditional, help: "Untimed repeats before them.")
    var warmUp = 1

    @Flag(help: "Also say where the time of the largest image, its prompt and a token goes.")
    var profile = false

    @Flag(
        help:
            "Also time the choice of a token from its scores, and what a format of the answer adds, beside the time of a decoding step."
    )
    var sampling = false

    @Option(
        help: """
            Comma-separated numbers of requests to answer at once, such as 1,2,4,8: tokens per second of all together \
            (each behind 300 positions), and how long requests wait for each other.
            """)
    var streams: String?

    @Option(
        help:
            "Also draw the results: an .svg or .png file, or '-' for SVG on stdout; with a roofline per precision if there is a --profile.",
        completion: .file(extensions: ["svg", "png"]))
    var plot: String?

    @Flag(help: "One JSON object per measurement on stdout.")
    var json = false

    @Flag(
        help: """
            One item, one repeat per line read from stdin, one JSON object per repeat: the face that comparisons with \
            other programs drive.
            """)
    var roundsFromStdin = false

    @OptionGroup(title: "With --rounds-from-stdin") var round: RoundOptions

    func validate() throws {
        if synthetic != nil, from.model != nil {
            throw ValidationError("--synthetic and --model exclude each other.")
        }
        try check("--text-tokens", textTokens, in: 1...100_000)
        try check("--tokens", tokens, in: 1...10_000)
        try check("--repeats", repeats, in: 1...10_000)
        try check("--warm-up", warmUp, in: 0...10_000)
        try check("--threads", threads ?? 1, in: LoadOptions.possibleThreads)
        _ = try parsedPrecisions()
        _ = try parsedResolutions(.multiples(of: 64))
        _ = try parsedStreams()
        if let plot {
            if roundsFromStdin {
                throw ValidationError("--plot and --rounds-from-stdin exclude each other.")
            }
            try PlotFile.validate(plot)
        }
    }

    func run() async throws {
        if roundsFromStdin { return try await running { try Rounds(options: round, bench: self).run() } }
        try await running {
            try await from.fetchIfMissing()
            try await offTaskThreads { cancellation in try measure(cancellation) }
        }
    }

    private func words(of list: String, _ name: String) throws -> [Substring] {
        let words = list.split(separator: ",")
        if words.isEmpty { throw ValidationError("\(name) is empty.") }
        return words
    }

    private func parsedPrecisions() throws -> [Precision] {
        try Precision.list(precisions, "--precisions")
    }

    private func parsedResolutions(_ sides: VisionConfiguration.Sides) throws -> [Int]? {
        guard let resolutions else { return nil }
        return try words(of: resolutions, "--resolutions").map { word in
            guard let side = Int(word), side <= ModelConfiguration.largestImageSide, sides.contain(side)
            else {
                throw ValidationError(
                    "--resolutions: '\(word)' is not \(sides) up to "
                        + "\(ModelConfiguration.largestImageSide).")
            }
            return side
        }
    }

    private func measure(_ cancellation: Cancellation) throws {
        let file = try plot.map { try PlotFile($0, inputs: from.inputs()) }
        let compute = try makeCompute()
        let subject = try subject()
        let sides =
            try parsedResolutions(subject.configuration.vision.sides)
            ?? [subject.configuration.preprocessing.size]
        for side in sides {
            let visual = subject.configuration.vision.tokens(side: side)
            try subject.checkLength(
                visual + textTokens + tokens, "\(visual) visual + \(textTokens) text + \(tokens) new tokens")
        }
        let ceilings = try Ceilings(compute)
        let report = BenchReport(json: json, to: file?.isStandardOutput == true ? .errors : .output)
        try report.begin(subject.name, compute: compute, ceilings: ceilings)
        for precision in try parsedPrecisions() {
            try cancellation.check()
            let start = ContinuousClock.now
            let bench = try load(subject, precision, compute)
            try report.loaded(precision, in: (ContinuousClock.now - start) / .seconds(1))
            for side in sides { try measure(side, precision, bench, ceilings, report, cancellation) }
            if sampling {
                let choice = SamplingBench(
                    vocabulary: subject.configuration.text.vocabularySize, repeats: max(repeats, 1) * 10)
                for (name, options) in SamplingBench.ways {
                    try cancellation.check()
                    try report.sampled(name, precision, try choice.seconds(options))
                }
                let vocabulary = try vocabulary(subject.configuration.text.vocabularySize)
                for (name, format) in FormatBench.ways {
                    try cancellation.check()
                    let bench = FormatBench(trie: vocabulary, repeats: max(repeats, 1) * 10)
                    try report.sampled(name, precision, try bench.seconds(format), type: "format")
                }
            }
            if let counts = try parsedStreams(), let side = sides.max() {
                try measureStreams(counts, precision, side: side, bench, compute, report, cancellation)
            }
            if profile, let side = sides.max() {
                try profile(side, precision, bench, ceilings, report, cancellation)
            }
        }
        try file?.write(
            BenchPlot(report, subject: subject.name, compute: compute, ceilings: ceilings).svg)
    }

    /// The model's own where there is one; made up for synthetic models.
    private func vocabulary(_ count: Int) throws -> TokenTrie {
        guard from.model != nil else { return FormatBench.madeUpVocabulary(count) }
        return TokenTrie(try Tokenizer(directory: from.source().directory()), below: count)
    }

    private func measure(
        _ side: Int, _ precision: Precision, _ bench: Workbench, _ ceilings: Ceilings, _ report: BenchReport,
        _ cancellation: Cancellation
    ) throws {
        let visual = tokens(of: side, bench)
        let positions = visual + textTokens
        let items: [(String, BenchStage, Workbench.Item)] = [
            ("encode \(side)²", .encode, .encoder(side: side)),
            ("project \(visual)", .project, .projector(side: side)),
            ("prefill \(visual)+\(textTokens)", .prefill, .prefill(positions: positions)),
            ("decode at \(positions)", .decode, .decode(context: positions, tokens: tokens)),
        ]
        var total = 0.0
        for (name, stage, item) in items {
            let seconds = try timed(item, bench, cancellation)
            var line = Measurement(
                item: name, stage: stage, side: side, precision: precision, seconds: seconds,
                operations: try bench.operations(item))
            if stage == .decode {
                line.tokens = tokens
            } else {
                total += line.median
                line.peak = ceilings.peak(precision)
            }
            try report.add(line)
        }
        try report.firstToken(total, side: side, precision: precision)
    }

    private func timed(
        _ item: Workbench.Item, _ bench: Workbench, _ cancellation: Cancellation
    ) throws -> [Double] {
        for _ in 0..<warmUp {
            try cancellation.check()
            _ = try bench.run(item)
        }
        return try (0..<repeats).map { _ in
            try cancellation.check()
            return try bench.run(item) / .seconds(1)
        }
    }

    private func tokens(of side: Int, _ bench: Workbench) -> Int {
        bench.network.encoder.tokens(side: side)
    }

    private func profile(
        _ side: Int, _ precision: Precision, _ bench: Workbench, _ ceilings: Ceilings, _ report: BenchReport,
        _ cancellation: Cancellation
    ) throws {
        let positions = tokens(of: side, bench) + textTokens
        let items: [(String, BenchStage, Workbench.Item)] = [
            ("encode \(side)²", .encode, .encoder(side: side)),
            ("prefill \(positions)", .prefill, .prefill(positions: positions)),
            ("decode at \(positions)", .decode, .decode(context: positions, tokens: 1)),
        ]
        for (name, stage, item) in items {
            let log = OperationLog()
            for _ in 0..<repeats {
                try cancellation.check()
                _ = try bench.run(item, log: log)
            }
            try report.add(
                Profile(
                    name, stage: stage, precision: precision, entries: log.entries, repeats: repeats,
                    ceilings: ceilings))
        }
    }

    func makeCompute() throws -> Compute {
        do { return try Compute(threads: threads) } catch { throw failure(error, .system) }
    }

    /// - Parameter fallback: dimensions to take when neither a model nor dimensions are named.
    func subject(orElse fallback: SyntheticModel? = nil) throws -> BenchSubject {
        do {
            let dimensions = synthetic ?? (from.model == nil ? fallback : nil)
            return try BenchSubject(synthetic: dimensions, source: from.source())
        } catch let error as FastVLMError {
            throw error
        } catch {
            throw failure(error, .model)
        }
    }

    func load(_ subject: BenchSubject, _ precision: Precision, _ compute: Compute) throws -> Workbench {
        do { return try subject.loaded(precision, compute) } catch { throw failure(error, .model) }
    }

    private func failure(_ error: any Error, _ status: ExitStatus) -> any Error {
        error is CancellationError || error is CommandFailure ? error : CommandFailure(status, "\(error)")
    }
}

/// What is measured: a checkpoint, or dimensions with random weights.
struct BenchSubject {
    let name: String
    let configuration: ModelConfiguration
    let weights: any WeightSource

    init(synthetic: SyntheticModel?, source: ModelSource) throws {
        if let synthetic {
            name = "FastVLM-\(synthetic.rawValue) dimensions, random weights"
            configuration = synthetic.configuration
            weights = SyntheticWeights()
        } else {
            let directory = try source.directory()
            let checkpoint = try Checkpoint(directory: directory, tower: source.visionTower())
            name = directory.lastPathComponent
            var configuration = checkpoint.configuration
            configuration.maximumSequenceLength = min(configuration.maximumSequenceLength, 8192)
            self.configuration = configuration
            weights = checkpoint.weights
        }
    }

    /// All weights, packed.
    func loaded(_ precision: Precision, _ compute: Compute) throws -> Workbench {
        Workbench(
            network: try VisionLanguageNetwork(
                weights, configuration: configuration, precision: precision, compute: compute),
            compute: compute)
    }

    /// - Parameter parts: what the positions are, for the error.
    func checkLength(_ positions: Int, _ parts: String) throws {
        let limit = configuration.maximumSequenceLength
        if positions > limit {
            throw ValidationError("\(parts) are \(positions) positions, \(name) has room for \(limit).")
        }
    }
}
