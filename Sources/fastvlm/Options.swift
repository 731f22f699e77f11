public import ArgumentParser
public import Checkpoints
import CommandInput
public import FastVLM
import FastVLMEmbedded
import Foundation
import Logging
import SystemFiles
public import Tensors

extension Precision: ExpressibleByArgument {}

extension Precision {
    /// Precisions with commas between them.
    /// - Parameter name: of the option, for errors
    static func list(_ text: String, _ name: String) throws -> [Precision] {
        let words = text.split(separator: ",")
        if words.isEmpty { throw ValidationError("\(name) is empty.") }
        return try words.map { word in
            guard let precision = Precision(rawValue: String(word)) else {
                throw ValidationError(
                    "\(name): '\(word)' is none of "
                        + Precision.allCases.map(\.rawValue).joined(separator: ", ") + ".")
            }
            return precision
        }
    }
}

extension ImageGeometry: ExpressibleByArgument {}
extension TileGrid: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}
extension TokenReduction: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}
extension ImageBackground: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }

    public var defaultValueDescription: String { description }
}

/// Throws an error for the user when a number is out of its range.
func check(_ name: String, _ value: Int, in range: ClosedRange<Int>) throws {
    guard range.contains(value) else {
        throw ValidationError(
            "\(name) must be between \(range.lowerBound) and \(range.upperBound), got \(value).")
    }
}

/// How much is said beside the answer.
struct VerbosityOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Only the answer; errors still go to stderr.")
    var quiet = false

    @Flag(name: .shortAndLong, help: "Say what is loaded and how long it takes.")
    var verbose = false

    func validate() throws {
        if quiet, verbose { throw ValidationError("--quiet and --verbose exclude each other.") }
    }
}

/// Which model.
struct SourceOptions: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help:
            "Checkpoint folder (Apple, Hugging Face or MLX layout), or a model of the hub that 'fastvlm pull' downloaded.",
        completion: .directory)
    var model: String?

    @Option(
        help: ArgumentHelp(
            "Folder of the CLIP or SigLIP model that is the vision tower, for LLaVA's original checkpoints, which leave it out.",
            valueName: "folder"),
        completion: .directory)
    var tower: String?

    func validate() throws {
        if tower != nil, model == nil {
            throw ValidationError("--tower is the vision tower of a checkpoint: name it with --model.")
        }
    }

    /// - Throws: `CommandFailure` that names the command to download a model of the hub that is not there.
    func source() throws -> ModelSource {
        try model.map { try ModelName.source($0, tower: tower) } ?? .embedded
    }

    /// Asks whoever sits at a terminal whether to download a model that is not there.
    func fetchIfMissing() async throws { try await ModelName.fetchIfMissing(model) }

    /// What no output may replace: the files of the model and of adapters, in the folders that they are read from. What
    /// is wrong with such a folder is said when it is loaded, before anything is written.
    func inputs(adapters: [URL] = []) -> [FileIdentity] {
        let source = try? source()
        let folders = [try? source?.directory(), try? source?.visionTower()].compactMap { $0 }
        let adapters = adapters.compactMap { try? CheckpointFolder.resolve(adapter: $0) }
        return (folders.compactMap { try? CheckpointFolder.resolve($0) } + adapters).flatMap {
            FileIdentity.contents(ofFolder: $0.path)
        }
    }
}

/// Which model, and how it is loaded.
struct ModelOptions: ParsableArguments {
    @OptionGroup var from: SourceOptions

    @Option(
        help:
            "float32, bfloat16, int8 or int4; int8-weights or int4-weights for integers in memory and float32 arithmetic (default: as the checkpoint stores its weights)."
    )
    var precision: Precision?

    @Option(
        help: "Folder of a LoRA adapter (PEFT) to merge into the model; may be given several times.",
        completion: .directory)
    var adapter: [String] = []

    @Option(
        name: .shortAndLong, parsing: .unconditional, help: "Worker threads (default: see `fastvlm info`).")
    var threads: Int?

    @Option(parsing: .unconditional, help: "Pixels per side, a multiple of 64 (default: the checkpoint's).")
    var resolution: Int?

    @Option(help: "How an image becomes a square: pad or crop (default: the checkpoint's).")
    var geometry: ImageGeometry?

    @Option(
        help: ArgumentHelp(
            "Fewer visual tokens than the encoder gives: average:N pools neighbours, merge:N merges the most similar, select:N keeps the most different and merges the others into them.",
            valueName: "method:tokens"))
    var prune: TokenReduction?

    @Option(
        help: ArgumentHelp(
            "Cut each image into so many tiles beside the whole of it, such as 2x2, for models that take images whole.",
            valueName: "rows×columns"))
    var tiles: TileGrid?

    @Option(
        help: """
            Conversation template: \(LoadOptions.templates.joined(separator: ", ")) (default: the checkpoint's).
            """)
    var template: String?

    @Option(
        parsing: .unconditional,
        help:
            "Longest sequence, in positions (default: the checkpoint's, at most 8192 or what its largest image needs)."
    )
    var context: Int?

    @Flag(help: "Do not turn photographs as their EXIF or XMP orientation says.")
    var ignoreOrientation = false

    @Option(
        help:
            "What shows behind transparent pixels: white, black, #rrggbb, or drop, which ignores transparency as the reference does."
    )
    var background = ImageBackground.white

    @Flag(help: "Clip grey of more than 8 bits at 255 as the reference does, instead of scaling it.")
    var referenceDepth = false

    @Flag(help: "Take colours as sRGB, whatever colour profile an image has.")
    var ignoreProfile = false

    @Flag(help: "Use images whose pixels are partly missing or damaged; the missing part is grey.")
    var allowTruncated = false

    @Option(parsing: .unconditional, help: "Most megapixels an image may have.")
    var maxMegapixels = 1000

    @Option(parsing: .unconditional, help: "Longest side an image may have, in pixels.")
    var maxSide = 100_000

    @Option(parsing: .unconditional, help: "Most MiB an image file may have.")
    var maxFileMib = 256

    @Option(
        parsing: .unconditional,
        help:
            "Most MiB that decoding an image may take (a baseline JPEG takes about ten, a progressive one 2 to 6 bytes a pixel)."
    )
    var maxImageMib = 1024

    @Option(parsing: .unconditional, help: "Most seconds in which an image must arrive from the web.")
    var fetchSeconds = 60

    var fileLimit: Int { maxFileMib << 20 }
    var imageLimits: ImageInputLimits { ImageInputLimits(bytes: fileLimit, seconds: fetchSeconds) }

    func validate() throws {
        try check("--threads", threads ?? 1, in: LoadOptions.possibleThreads)
        try check("--max-megapixels", maxMegapixels, in: 1...4096)
        try check("--max-side", maxSide, in: 1...1_000_000)
        try check("--max-file-mib", maxFileMib, in: 1...4096)
        try check("--max-image-mib", maxImageMib, in: 1...1_048_576)
        try check("--fetch-seconds", fetchSeconds, in: 1...86_400)
    }

    /// - Throws: `CommandFailure` with the status `model` for a name that a URL cannot hold: another folder would be read.
    func adapterFolders() throws -> [URL] {
        try adapter.map { name in
            guard !ByteText.hasForeignBytes(name) else {
                throw CommandFailure(
                    .model,
                    "cannot read '\(ByteText.shown(name))': the name is not UTF-8; rename the adapter's folder"
                )
            }
            return URL(filePath: name)
        }
    }

    /// - Parameters:
    ///   - images: what the first question is about; prepared while the weights load
    ///   - defaults: what no flag says
    func load(
        _ verbosity: VerbosityOptions, expecting images: [ImageSource] = [],
        defaults: LoadOptions = LoadOptions()
    ) async throws -> VisionLanguageModel {
        var options = defaults
        options.expectedImages = images
        options.precision = precision
        options.adapters = try adapterFolders()
        options.threads = threads
        options.imageSize = resolution
        options.geometry = geometry
        options.tokenReduction = prune
        options.tiles = tiles
        options.template = template.map(ByteText.shown)
        options.contextLength = context
        options.appliesOrientation = !ignoreOrientation
        options.background = background
        options.usesReferenceDepth = referenceDepth
        options.ignoresColorProfiles = ignoreProfile
        options.allowsTruncatedImages = allowTruncated
        options.maximumImageBytes = maxImageMib << 20
        options.maximumPixels = maxMegapixels * 1_000_000
        options.maximumSide = maxSide
        options.maximumFileBytes = fileLimit
        // Whoever types a file's name chose the file.
        options.imageFormats = LoadOptions.ImageFormat.built
        if verbosity.verbose {
            options.logger = Logger(label: "fastvlm") { StreamLogHandler.standardError(label: $0) }
        }
        try await from.fetchIfMissing()
        let progress = ProgressLine("loading", enabled: !verbosity.quiet)
        options.progress = { progress.update($0) }
        defer { progress.clear() }
        let model = try await VisionLanguageModel(contentsOf: from.source(), options: options)
        progress.clear()
        // The logger says them too.
        if !verbosity.quiet, !verbosity.verbose {
            for remark in model.information.remarks { Terminal.note("note: \(remark)") }
        }
        return model
    }
}

/// Where sampling options come from that the command line does not give.
enum SamplingDefaults: String, ExpressibleByArgument, CaseIterable { case greedy, checkpoint }

/// How an answer is generated.
struct SamplingFlags: ParsableArguments {
    @Option(name: [.customShort("n"), .long], parsing: .unconditional, help: "Most tokens to generate.")
    var maxTokens = 256

    @Option(
        help: """
            Where the sampling options come from that are not given: greedy takes the best token, checkpoint what \
            generation_config.json says.
            """)
    var sampling = SamplingDefaults.greedy

    @Option(
        parsing: .unconditional,
        help: "0 takes the best token; above 0 samples (default: 0; Apple's script uses 0.2).")
    var temperature: Float?

    @Option(parsing: .unconditional, help: "Sample among the k best tokens; 0 for all (default: 50).")
    var topK: Int?

    @Option(
        parsing: .unconditional,
        help: "Sample among the best tokens whose probabilities reach p (default: 1).")
    var topP: Float?

    @Option(
        parsing: .unconditional,
        help: "Drop tokens below this share of the best one's probability (default: 0).")
    var minP: Float?

    @Option(parsing: .unconditional, help: "Above 1 discourages repetition (default: 1).")
    var repetitionPenalty: Float?

    @Option(
        parsing: .unconditional,
        help: "Lower a token's score by this for every time it was generated, -2 to 2 (default: 0).")
    var frequencyPenalty: Float?

    @Option(
        parsing: .unconditional,
        help: "Lower the scores of generated tokens by this once, -2 to 2 (default: 0).")
    var presencePenalty: Float?

    @Option(parsing: .unconditional, help: "Makes sampling reproducible.")
    var seed: UInt64?

    @Option(help: "A text that ends the answer; may be given several times.")
    var stop: [String] = []

    @Option(
        name: .customLong("stop-id"), parsing: .unconditionalSingleValue,
        help: "A token id that ends the answer; may be given several times.")
    var stopIDs: [Int] = []

    @Option(
        parsing: .unconditional,
        help: "Report log-probabilities with this many alternatives (0 to 20; needs --json).")
    var logprobs: Int?

    @Option(help: "Replace the system prompt.")
    var system: String?

    @Flag(help: "Let <image> in the prompt say where each image goes.")
    var placeholders = false

    /// The options for a model, whose checkpoint may have a say.
    func options(for model: VisionLanguageModel) throws -> GenerationOptions {
        var options = sampling == .checkpoint ? try model.checkpointOptions() : GenerationOptions()
        options.maximumTokens = maxTokens
        options.temperature = temperature ?? options.temperature
        options.topK = topK ?? options.topK
        options.topP = topP ?? options.topP
        options.minP = minP ?? options.minP
        options.repetitionPenalty = repetitionPenalty ?? options.repetitionPenalty
        options.frequencyPenalty = frequencyPenalty ?? options.frequencyPenalty
        options.presencePenalty = presencePenalty ?? options.presencePenalty
        options.seed = seed
        options.stop = stop.map(ByteText.shown)
        options.stopIDs = Set(stopIDs)
        options.logProbabilities = logprobs
        options.system = system.map(ByteText.shown)
        options.placesImages = placeholders
        return options
    }
}
