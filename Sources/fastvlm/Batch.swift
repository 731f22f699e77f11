import ArgumentParser
import BatchAnswers
import CommandInput
import FastVLM
import Foundation
import MediaFetch
import SystemFiles

extension Shard: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}

struct Batch: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Answer many questions with one loaded model: JSON lines in, JSON lines out.",
        discussion: """
            fastvlm batch questions.jsonl -o answers.jsonl
            fastvlm batch questions.jsonl -o answers.jsonl --resume
            fastvlm batch --images photos "Describe the image." -o captions.jsonl
            fastvlm batch all.jsonl -o part-3.jsonl --shard 3/8 --resume
            … | fastvlm batch > answers.jsonl

            A line asks one question: {"id": "a", "image": "a.jpg", "question": "What is this?"}, with options as in \
            OpenAI's interface ("max_tokens", "temperature", "seed", "stop", "response_format", …) or with "messages"; \
            or it is a line of an OpenAI batch file ("custom_id", "body"). Images are paths from the folder of the \
            input, data: addresses, base64, or https:// addresses with --allow-remote-images. What is wrong with a line \
            becomes an error in its place. Exit status 1 when any item has no answer. docs/batch.md says all of it.
            """)

    @Argument(
        help: "JSON lines, '-' or nothing for stdin; with --images the question about each image.",
        completion: .file(extensions: ["jsonl", "ndjson"]))
    var argument: String?

    @Option(help: "A folder whose images are asked about, those in its folders too.", completion: .directory)
    var images: String?

    @Option(name: .shortAndLong, help: "The question of lines that ask none, or about each image.")
    var prompt: String?

    @Option(name: .shortAndLong, help: "The JSON lines to write; '-' for stdout.", completion: .file())
    var output = "-"

    @Flag(help: "Go on with the output of an earlier run: items that it has are not answered again.")
    var resume = false

    @Flag(help: "Write answers as they finish, not in the order of the input.")
    var unordered = false

    @Option(help: "k/n: answer only the k-th of n parts, which have every item once together.")
    var shard: Shard?

    @Option(parsing: .unconditional, help: "Most questions that are worked on at once.")
    var parallel = 8

    @Option(
        help: "Where relative paths of images begin (default: the folder of the input).",
        completion: .directory)
    var imageRoot: String?

    @Option(
        defaultAsFlag: "all", parsing: .scanningForValue,
        help: """
            Fetch images whose https:// addresses items name, from all of the public internet, or from the hosts of a \
            list, separated by commas (--allow-remote-images=a.example,b.example).
            """)
    var allowRemoteImages: String?

    @Flag(help: "Leave out what differs from run to run, so that outputs can be compared.")
    var noTimings = false

    @Option(parsing: .unconditional, help: "Most MiB of a line of the input.")
    var maxLineMib = 64

    @OptionGroup var model: ModelOptions
    @OptionGroup var sampling: SamplingFlags
    @OptionGroup(title: "Format of the answers") var format: FormatFlags
    @OptionGroup var verbosity: VerbosityOptions

    /// Items that are read and not written yet, for each that is worked on: later ones may finish while an early one goes
    /// on.
    private static let windowPerRunning = 4
    private static let lineMemory = 256 << 20

    func validate() throws {
        try check("--parallel", parallel, in: 1...256)
        try check("--max-line-mib", maxLineMib, in: 1...1024)
        if resume, output == "-" {
            throw ValidationError("--resume goes on with a file: name it with --output.")
        }
        if sampling.placeholders {
            throw ValidationError(
                "--placeholders is not for batches; let text and images take turns in messages.")
        }
        if images != nil, argument != nil, prompt != nil {
            throw ValidationError("The question is given twice: as an argument and with --prompt.")
        }
        if images != nil, imageRoot != nil {
            throw ValidationError("--image-root is for lines that name images; --images names their folder.")
        }
    }

    func run() async throws {
        let command = self
        try await running { try await command.work() }
    }

    private func work() async throws {
        let format = try self.format.format()
        let fetcher = try self.fetcher()
        let input = try BatchInputFile(
            argument: images == nil ? argument.map(ByteText.shown) : nil, images: images.map(ByteText.shown),
            question: ByteText.shown((images == nil ? nil : argument) ?? prompt ?? Describe.defaultPrompt),
            lineLimit: maxLineMib << 20)
        let output = try BatchOutput(
            self.output, inputs: input.identities + model.from.inputs(adapters: model.adapterFolders()),
            resumes: resume)
        do {
            let source = BatchSource(
                input.input, question: prompt.map(ByteText.shown), shard: shard, finished: output.finished)
            let loaded = try await model.load(verbosity, defaults: loadDefaults)
            Terminal.noteLimits(of: loaded, images: true, verbosity: verbosity)
            var options = try sampling.options(for: loaded)
            options.format = format
            let answering = ItemAnswering(
                loaded, named: model.from.model.map(ByteText.shown) ?? "fastvlm-small",
                folder: imageRoot.map(ByteText.shown) ?? input.folder, fetcher: fetcher, options: options,
                includesTimings: !noTimings)
            try await answer(source, answering, output)
        } catch {
            output.discardIfUnused()
            if let error = error as? OutputError { throw CommandFailure(error) }
            if let error = error as? BoundedFile.ReadError {
                throw CommandFailure(.usage, "cannot read \(input.name): \(error.reason)")
            }
            throw error
        }
    }

    private func answer(
        _ source: BatchSource, _ answering: ItemAnswering, _ output: BatchOutput
    ) async throws {
        let display = BatchDisplay(size: source.size, output: output, verbosity: verbosity)
        var run = BatchRun()
        run.isOrdered = !unordered
        run.window = Self.windowPerRunning * parallel
        run.memory = Self.lineMemory
        do {
            let counts = try await run.run(source, answer: { try await answering.record($0) }) {
                try output.write($0)
                display.update($0, $1)
            }
            try output.synchronize()
            display.finish(counts)
            let failed = counts.failed + output.finished.failed
            if failed > 0 {
                throw CommandFailure(
                    .items,
                    "\(failed) of \(counts.written + output.finished.count) items have no answer; their records say why"
                )
            }
        } catch is CancellationError {
            display.interrupted()
            throw CancellationError()
        }
    }

    private var loadDefaults: LoadOptions {
        var options = LoadOptions()
        options.prefersThroughput = true
        options.maximumRunning = parallel
        // The window bounds what is brought, so that nothing is refused.
        options.maximumWaiting = Self.windowPerRunning * parallel
        options.requestBytes = 4 * Self.lineMemory
        options.keyValueBytes = max(options.keyValueBytes, parallel * 32 << 20)
        return options
    }

    private func fetcher() throws -> MediaFetcher? {
        guard let allowRemoteImages else { return nil }
        var limits = MediaFetcher.Limits()
        limits.seconds = Double(model.fetchSeconds)
        limits.concurrent = Self.windowPerRunning * parallel
        do {
            return MediaFetcher(
                allowedHosts: allowRemoteImages == "all" ? .any : try .list(allowRemoteImages),
                limits: limits)
        } catch {
            throw CommandFailure(.usage, "--allow-remote-images: \(error.description)")
        }
    }
}
