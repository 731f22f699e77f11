import ArgumentParser
import CommandInput
import FastVLM
import Foundation
import Tensors

struct Quantize: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a checkpoint in 8 or 4 bits that loads without conversion.",
        discussion: """
            fastvlm quantize FastVLM-0.5B -o FastVLM-0.5B-int8
            fastvlm describe photo.jpg --model FastVLM-0.5B-int8

            The weights are packed for this processor's kernels and mapped from the file; on a processor of another kind \
            the checkpoint loads too, more slowly.

            The decoder runs on 2,048 random tokens first, or on what --calibrate names, and its weights are rounded so that \
            errors make up for each other: answers are nearer to the original's than with --precision, which rounds every \
            weight by itself while a checkpoint loads. --no-calibration gives the very numbers of --precision.
            """)

    @Argument(
        help: "The checkpoint folder to quantise, or a model of the hub's cache.", completion: .directory)
    var directory: String

    @Option(name: .shortAndLong, help: "The folder to write; must not exist, or be empty.")
    var output: String

    @Option(
        help: ArgumentHelp(
            "Folder of the vision tower that the checkpoint leaves out; it becomes a part of the new one.",
            valueName: "folder"),
        completion: .directory)
    var tower: String?

    @Option(help: "int8, or int4 for the decoder's layers and int8 for all else.")
    var precision = Precision.int8

    @Option(
        help: ArgumentHelp(
            "A text or an image, or a folder of them, to calibrate with beside random tokens; may be given several times.",
            valueName: "path"),
        completion: .file())
    var calibrate: [String] = []

    @Flag(help: "Round every weight by itself.")
    var noCalibration = false

    @Option(
        name: .shortAndLong, parsing: .unconditional, help: "Worker threads (default: see `fastvlm info`).")
    var threads: Int?

    @OptionGroup var verbosity: VerbosityOptions

    func validate() throws {
        guard precision == .int8 || precision == .int4 else {
            throw ValidationError("--precision must be int8 or int4, got \(precision.rawValue).")
        }
        guard calibrate.isEmpty || !noCalibration else {
            throw ValidationError("--calibrate and --no-calibration exclude each other.")
        }
        try check("--threads", threads ?? 1, in: LoadOptions.possibleThreads)
    }

    func run() async throws {
        try await running {
            guard !ByteText.hasForeignBytes(output) else {
                throw CommandFailure(
                    .output,
                    "cannot write '\(ByteText.shown(output))': the name is not UTF-8; choose another name")
            }
            try await ModelName.fetchIfMissing(directory)
            let target = URL(filePath: output)
            let calibration = noCalibration ? .none : try CalibrationFiles(calibrate).data
            let progress = ProgressLine("quantising", enabled: !verbosity.quiet)
            defer { progress.clear() }
            let errors = try await VisionLanguageModel.quantize(
                ModelName.source(directory, tower: tower), to: target, precision: precision,
                calibration: calibration, threads: threads,
                progress: { progress.update($0) })
            progress.clear()
            if !verbosity.quiet {
                Terminal.note("\(output): \(try CheckpointReport(contentsOf: .directory(target)).layout)")
                Terminal.note(
                    QuantizationError.summary(errors).map { "rounding changes " + $0 }
                        ?? "the checkpoint's own integers were kept")
            }
        }
    }
}
