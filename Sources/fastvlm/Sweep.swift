import ArgumentParser
import BatchAnswers
import Benchmarking
import Checkpoints
import CommandInput
import FastVLM
import Foundation
import Models
import SystemFiles
import Tensors

struct Sweep: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure vision towers, image sizes, decoders and precisions against each other.",
        discussion: """
            fastvlm sweep -o sweep.jsonl --csv sweep.csv
            fastvlm sweep -o sweep.jsonl --resume
            fastvlm sweep --towers fastvithd,siglip-so400m-384-tiles --decoders 0.5b --resolutions 512,1024 -o sweep.jsonl
            fastvlm sweep --model ~/FastVLM-0.5B --resolutions 256,512,1024 -o own.jsonl

            One line of JSON for each combination: visual tokens, operations, time to the first token by stage, the most \
            memory that was held. Towers and decoders have published dimensions and random weights, which changes no \
            time; a checkpoint (--model) has its own. Times are of the repeat whose total is the median, after one run \
            that is not timed. A tower of one size is measured at that size.

            What would not fit into the memory that is free is skipped and named. An interrupted sweep goes on with \
            --resume, which also tries again what was skipped. Benchmarks/sweep_plots.py draws the output.

            Towers: \(SweepTower.allCases.map(\.rawValue).joined(separator: ", ")).
            Decoders: \(SweepDecoder.allCases.map(\.rawValue).joined(separator: ", ")).
            """)

    @Option(
        help: "Comma-separated towers (default: fastvithd,clip-l-336,siglip-so400m-384; none with --model).")
    var towers: String?

    @Option(help: "Comma-separated decoders (default: 0.5b,1.5b,7b; none with --model).")
    var decoders: String?

    @Option(
        name: .shortAndLong,
        help:
            "A checkpoint to measure, at those of the resolutions that it takes; may be given several times.",
        completion: .directory)
    var model: [String] = []

    @Option(help: "Comma-separated sides of the image, in pixels.")
    var resolutions = "256,512,768,1024"

    @Option(help: "Comma-separated precisions.")
    var precisions = "bfloat16,int8"

    @Option(
        name: .shortAndLong, parsing: .unconditional, help: "Worker threads (default: see `fastvlm info`).")
    var threads: Int?

    @Option(parsing: .unconditional, help: "Text tokens of the prompt, beside the visual ones.")
    var textTokens = 30

    @Option(parsing: .unconditional, help: "Timed repeats, after one that is not.")
    var repeats = 3

    @Option(
        parsing: .unconditional,
        help: "Gigabytes of memory to stay within (default: what the system has free).")
    var memory: Double?

    @Option(name: .shortAndLong, help: "The JSON lines to write; '-' for stdout.", completion: .file())
    var output = "-"

    @Flag(help: "Go on with the output of an earlier run: what it has is not measured again.")
    var resume = false

    @Option(
        help: "Also write everything that the output has as comma-separated values.",
        completion: .file(extensions: ["csv"]))
    var csv: String?

    @Flag(help: "Only say what would be measured, with about how much memory it needs.")
    var plan = false

    @Flag(name: .shortAndLong, help: "Nothing about the progress; errors still go to stderr.")
    var quiet = false

    func validate() throws {
        try check("--text-tokens", textTokens, in: 1...4096)
        try check("--repeats", repeats, in: 1...1000)
        try check("--threads", threads ?? 1, in: LoadOptions.possibleThreads)
        if let memory, !(0.1...1e6).contains(memory) {
            throw ValidationError("--memory must be between 0.1 and 1000000, got \(memory).")
        }
        if resume, output == "-" {
            throw ValidationError("--resume goes on with a file: name it with --output.")
        }
        if let csv, csv == output { throw ValidationError("--csv and --output are the same file.") }
        _ = try (Precision.list(precisions, "--precisions"), sides(), chosenTowers(), chosenDecoders())
    }

    private func sides() throws -> [Int] {
        let words = resolutions.split(separator: ",")
        if words.isEmpty { throw ValidationError("--resolutions is empty.") }
        return try words.map { word in
            guard let side = Int(word), (32...ModelConfiguration.largestImageSide).contains(side) else {
                throw ValidationError(
                    "--resolutions: '\(word)' is no side of 32 to \(ModelConfiguration.largestImageSide) pixels."
                )
            }
            return side
        }
    }

    private func chosen<Part: RawRepresentable & CaseIterable>(
        _ list: String?, _ name: String, orElse usual: [Part]
    ) throws -> [Part] where Part.RawValue == String {
        guard let list else { return model.isEmpty || towers != nil || decoders != nil ? usual : [] }
        let words = list.split(separator: ",")
        if words.isEmpty { throw ValidationError("\(name) is empty.") }
        return try words.map { word in
            guard let part = Part(rawValue: String(word)) else {
                throw ValidationError(
                    "\(name): '\(word)' is none of "
                        + Part.allCases.map(\.rawValue).joined(separator: ", ") + ".")
            }
            return part
        }
    }

    private func chosenTowers() throws -> [SweepTower] {
        try chosen(towers, "--towers", orElse: [.fastViTHD, .clip, .siglip])
    }

    private func chosenDecoders() throws -> [SweepDecoder] {
        try chosen(decoders, "--decoders", orElse: [.half, .oneAndAHalf, .seven])
    }

    func run() async throws {
        try await running {
            try await offTaskThreads { cancellation in try sweep(cancellation) }
        }
    }

    private func sweep(_ cancellation: Cancellation) throws {
        let compute: Compute
        do { compute = try Compute(threads: threads) } catch { throw CommandFailure(.system, "\(error)") }
        let sources = try model.map { try ModelName.source($0) }
        let inputs = try sources.flatMap {
            FileIdentity.contents(ofFolder: try CheckpointFolder.resolve($0.directory()).path)
        }
        let checkpoints = try checkpoints(sources)
        let cells = SweepPlan(
            models: try models(checkpoints), precisions: try Precision.list(precisions, "--precisions")
        ).cells
        if plan { return try list(cells) }
        let table = try csv.map { try outputFile($0, isText: true, inputs: inputs) }
        let output = try SweepOutput(self.output, inputs: inputs, resumes: resume)
        defer { output.discardIfUnused() }
        let run = SweepRun(
            cells: cells, checkpoints: checkpoints.map(\.weights), compute: compute, textTokens: textTokens,
            repeats: repeats, memory: memory.map { Int($0 * 1e9) }, output: output,
            display: SweepDisplay(isQuiet: quiet, output: output))
        try run.measure(cancellation)
        try table.map(output.writeTable)
    }

    private func checkpoints(_ sources: [ModelSource]) throws -> [Checkpoint] {
        try sources.map { source in
            do {
                return try Checkpoint(
                    directory: source.directory(), tower: source.visionTower(), adapters: [])
            } catch let error as FastVLMError {
                throw error
            } catch {
                throw CommandFailure(.model, "\(error)")
            }
        }
    }

    private func models(_ checkpoints: [Checkpoint]) throws -> [SweepModel] {
        let (sides, towers) = (try sides(), try chosenTowers())
        let random = try chosenDecoders().flatMap { decoder in
            towers.map { SweepModel(tower: $0, decoder: decoder, sides: sides) }
        }
        return random
            + checkpoints.enumerated().map { place, checkpoint in
                SweepModel(
                    checkpoint: checkpoint.configuration, folder: ByteText.shown(model[place]), place: place,
                    sides: sides)
            }
    }

    private func list(_ cells: [SweepCell]) throws {
        for cell in cells {
            let bytes = Double(cell.neededBytes(textTokens: textTokens))
            try Terminal.answer(
                "\(cell.name): \(cell.system.visualTokens) visual tokens, "
                    + String(format: "about %.1f GB", bytes / 1e9), terminator: "\n")
        }
    }
}
