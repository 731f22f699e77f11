import ArgumentParser
import CommandInput
import FastVLM
import Foundation
import SystemFiles

struct Encode: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write an image's visual features and projected tokens as safetensors.",
        discussion: """
            The file holds `features` [tokens, channels] and `projected` [tokens, hidden], float32. It is complete or not \
            there: an older file of that name is replaced at once, at the end.
            """)

    @Argument(
        help: "An image: a file, '-' for stdin, or a https:, file: or data: address.",
        completion: .file(extensions: Array(Question.imageExtensions).sorted()))
    var image: String

    @Option(
        name: .shortAndLong, help: "The safetensors file to write; '-' for stdout.", completion: .file())
    var output: String

    @OptionGroup var model: ModelOptions
    @OptionGroup var verbosity: VerbosityOptions

    @Flag(help: "One JSON object on stdout: shapes and timings.")
    var json = false

    private struct Report: Encodable {
        var output: String
        var tokens: Int
        var featureChannels: Int
        var hiddenSize: Int
        var timings: ImageFeatures.Seconds
        var remarks: [String]
        var model: ModelInformation
    }

    /// What must not be overwritten: the image, and what the model is loaded from.
    private func inputs(_ image: ImageArgument) throws -> [FileIdentity] {
        (image.identity.map { [$0] } ?? []) + model.from.inputs(adapters: try model.adapterFolders())
    }

    func run() async throws {
        let limits = self.model.imageLimits
        let image = try ImageArgument(image, limits: limits)
        let (model, verbosity, output, json) = (model, verbosity, output, json)
        let file = try outputFile(output, inputs: try inputs(image))
        if json, file.isStandardOutput {
            throw ValidationError("With '--output -' stdout carries the features; leave out --json.")
        }
        try await running {
            let source = try await image.source(limits: limits)
            let loaded = try await model.load(verbosity, expecting: [source])
            let encoded = try await loaded.encode(source)
            if !verbosity.quiet {
                for remark in encoded.remarks { Terminal.note("note: \(remark)") }
            }
            try encoded.write(to: file)
            if json {
                try Terminal.json(
                    Report(
                        output: output, tokens: encoded.tokens, featureChannels: encoded.featureChannels,
                        hiddenSize: encoded.hiddenSize, timings: encoded.seconds,
                        remarks: encoded.remarks, model: loaded.information))
            } else if !verbosity.quiet {
                Terminal.note(
                    "\(encoded.tokens) tokens × \(encoded.featureChannels) features, "
                        + "projected to \(encoded.hiddenSize) → \(output)")
            }
        }
    }
}
