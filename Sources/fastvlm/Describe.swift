import ArgumentParser
import CommandInput
import FastVLM
import Foundation

struct Describe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Answer one question about one or more images.",
        discussion: """
            fastvlm describe photo.jpg
            fastvlm describe receipt.png "What is the total?"
            fastvlm describe before.jpg after.jpg "What changed?"
            curl -s … | fastvlm describe - "What is this?"

            An image is a file, '-' for stdin, or a https:, file: or data: address. The last argument is the \
            question unless it looks like a path or ends like an image; --prompt gives it explicitly. The answer \
            goes to stdout, everything else to stderr.
            """)

    @Argument(
        help: "Images, then the question.",
        completion: .file(extensions: Array(Question.imageExtensions).sorted()))
    var arguments: [String] = []

    @Option(name: .shortAndLong, help: "The question; all arguments are images then.")
    var prompt: String?

    @OptionGroup var model: ModelOptions
    @OptionGroup var sampling: SamplingFlags
    @OptionGroup var verbosity: VerbosityOptions

    @Flag(help: "One JSON object on stdout: text, tokens, finish reason, usage, timings.")
    var json = false

    @Flag(inversion: .prefixedNo, help: "Print the answer as it comes; with --json, one JSON line per piece.")
    var stream: Bool?

    static let defaultPrompt = "Describe the image."

    func validate() throws {
        if sampling.logprobs != nil, !json { throw ValidationError("--logprobs needs --json.") }
        if arguments.isEmpty, prompt == nil {
            throw ValidationError("Name an image, or give a question with --prompt.")
        }
    }

    func run() async throws {
        let (names, question) = split()
        let limits = self.model.imageLimits
        let arguments = try imageArguments(
            names, limits: limits,
            adviceOnLast: prompt == nil ? "or, if it is the question, give it with --prompt" : nil)
        let (model, verbosity, sampling) = (model, verbosity, sampling)
        let output = OutputStyle(json: json, streaming: stream ?? !json)
        try await running {
            let images = try await arguments.sources(limits: limits)
            let loaded = try await model.load(verbosity, expecting: images)
            let progress = ProgressLine("reading the prompt", enabled: !verbosity.quiet)
            let pieces = loaded.stream(question, images: images, options: try sampling.options(for: loaded)) {
                progress.update($0)
            }
            try await output.write(pieces, model: loaded, verbosity: verbosity, progress: progress)
            Terminal.noteLimits(of: loaded, images: !images.isEmpty, verbosity: verbosity)
        }
    }

    /// Which arguments are images and what is asked. A blank question is none.
    private func split() -> (images: [String], question: String) {
        var images = arguments
        var question = prompt
        if question == nil, arguments.count > 1, let last = arguments.last, !Question.isImage(last) {
            question = images.removeLast()
        }
        guard let question, question.contains(where: { !$0.isWhitespace }) else {
            return (images, Self.defaultPrompt)
        }
        return (images, ByteText.shown(question))
    }
}

/// How pieces become output.
struct OutputStyle: Sendable {
    let json: Bool
    let streaming: Bool

    private struct PieceLine: Encodable {
        var type = "piece"
        var text: String
        var token: AnswerToken?
    }

    private struct AnswerLine: Encodable {
        var type = "answer"
        var text: String
        var tokenIds: [Int]
        var tokens: [AnswerToken]?
        var finishReason: Answer.FinishReason
        var usage: Usage
        var timings: Timings
        var remarks: [String]
        var model: ModelInformation

        init(_ answer: Answer, model: ModelInformation) {
            text = answer.text
            tokenIds = answer.tokens.map(\.id)
            tokens = answer.tokens.contains { $0.logProbability != nil } ? answer.tokens : nil
            finishReason = answer.finishReason
            usage = answer.usage
            timings = answer.timings
            remarks = answer.remarks
            self.model = model
        }
    }

    /// Writes one answer.
    func write(
        _ pieces: AsyncThrowingStream<AnswerPiece, any Error>, model: VisionLanguageModel,
        verbosity: VerbosityOptions, progress: ProgressLine
    ) async throws {
        var endsWithNewline = true
        defer { progress.clear() }
        for try await piece in pieces {
            progress.clear()
            if let answer = piece.answer {
                if json {
                    try Terminal.json(AnswerLine(answer, model: model.information))
                } else if !streaming {
                    try Terminal.answer(answer.text, terminator: "\n")
                } else if !endsWithNewline || answer.text.isEmpty {
                    try Terminal.answer("\n")
                }
                if !verbosity.quiet {
                    for remark in answer.remarks { Terminal.note("note: \(remark)") }
                    Terminal.note(summary(answer))
                }
            } else if streaming {
                if json {
                    try Terminal.json(PieceLine(text: piece.text, token: piece.token))
                } else if !piece.text.isEmpty {
                    try Terminal.answer(piece.text)
                    endsWithNewline = piece.text.hasSuffix("\n")
                }
            }
        }
    }
}
