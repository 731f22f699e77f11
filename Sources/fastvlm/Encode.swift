import ArgumentParser
import FastVLM
import Foundation

struct Encode: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write an image's visual features and projected tokens as safetensors.",
        discussion: "The file holds `features` [tokens, channels] and `projected` [tokens, hidden], float32.")

    @Argument(help: "An image file, or '-' for stdin.")
    var image: String

    @Option(name: .shortAndLong, help: "The safetensors file to write.", completion: .file())
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

    func run() async throws {
        let sources = try imageSources([image], fileLimit: self.model.fileLimit)
        let (model, verbosity, output, json) = (model, verbosity, output, json)
        try await running {
            let loaded = try await model.load(verbosity)
            for source in sources {
                let encoded = try await loaded.encode(source)
                if !verbosity.quiet {
                    for remark in encoded.remarks { Terminal.note("note: \(remark)") }
                }
                try encoded.write(to: URL(filePath: output))
                if json {
                    try Terminal.json(
                        Report(
                            output: output, tokens: encoded.tokens, featureChannels: encoded.featureChannels,
                            hiddenSize: encoded.hiddenSize, timings: encoded.seconds,
                            remarks: encoded.remarks,
                            model: loaded.information))
                } else if !verbosity.quiet {
                    Terminal.note(
                        "\(encoded.tokens) tokens × \(encoded.featureChannels) features, "
                            + "projected to \(encoded.hiddenSize) → \(output)")
                }
            }
        }
    }
}
