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
            fastvlm describe receipt.png "Shop and total as JSON." --json-schema receipt.json
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
    @OptionGroup(title: "Format of the answer") var format: FormatFlags
    @OptionGroup var verbosity: VerbosityOptions

    @Flag(help: "One JSON object on stdout: text, tokens, finish reason, usage, timings.")
    var json = false

    @Flag(help: "With --json, the prompt's ids too, an image's placeholder once for each of its positions.")
    var promptIds = false

    @Flag(inversion: .prefixedNo, help: "Print the answer as it comes; with --json, one JSON line per piece.")
    var stream: Bool?

    static let defaultPrompt = "Describe the image."

    func validate() throws {
        if sampling.logprobs != nil, !json { throw ValidationError("--logprobs needs --json.") }
        if promptIds, !json { throw ValidationError("--prompt-ids needs --json.") }
        if arguments.isEmpty, prompt == nil {
            throw ValidationError("Name an image, or give a question with --prompt.")
        }
    }

    func run() async throws {
        let (names, question) = split()
        let format = try self.format.format()
        let limits = self.model.imageLimits
        let arguments = try imageArguments(
            names, limits: limits,
            adviceOnLast: prompt == nil ? "or, if it is the question, give it with --prompt" : nil)
        let (model, verbosity, sampling) = (model, verbosity, sampling)
        let output = OutputStyle(json: json, streaming: stream ?? !json)
        let showsIDs = promptIds
        try await running {
            let images = try await arguments.sources(limits: limits)
            let loaded = try await model.load(verbosity, expecting: images)
            let progress = ProgressLine("reading the prompt", enabled: !verbosity.quiet)
            var options = try sampling.options(for: loaded)
            options.format = format
            let message =
                options.placesImages
                ? try Message(placing: images, in: question) : .user(question, images: images)
            try await output.write(
                loaded.events(messages: [message], options: options), model: loaded, verbosity: verbosity,
                progress: progress,
                promptIDs: showsIDs ? try loaded.promptIDs(messages: [message], options: options) : nil)
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
        /// Of the prompt, where they are asked for.
        var promptIds: [Int]?
        var tokenIds: [Int]
        var tokens: [AnswerToken]?
        var finishReason: Answer.FinishReason
        var usage: Usage
        var timings: Timings
        var remarks: [String]
        var model: ModelInformation

        init(_ answer: Answer, model: ModelInformation, promptIDs: [Int]?) {
            promptIds = promptIDs
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
        _ events: AsyncThrowingStream<AnswerEvent, any Error>, model: VisionLanguageModel,
        verbosity: VerbosityOptions, progress: ProgressLine, promptIDs: [Int]? = nil
    ) async throws {
        var endsWithNewline = true
        var token: AnswerToken?
        func writeToken(with text: String = "") throws {
            if token != nil || !text.isEmpty { try Terminal.json(PieceLine(text: text, token: token)) }
            token = nil
        }
        defer { progress.clear() }
        for try await event in events {
            switch event {
            case .queued: break
            case .progress(.encode, _): break
            case .progress(.prefill, let fraction): progress.update(fraction)
            case .token(let next):
                progress.clear()
                guard streaming, json else { break }
                // The text of the token before it would have come by now.
                try writeToken()
                token = next
            case .text(let text):
                progress.clear()
                guard streaming else { break }
                if json {
                    try writeToken(with: text)
                } else {
                    try Terminal.answer(text)
                    endsWithNewline = text.hasSuffix("\n")
                }
            case .finished(let answer):
                progress.clear()
                if json {
                    try writeToken()
                    try Terminal.json(AnswerLine(answer, model: model.information, promptIDs: promptIDs))
                } else if !streaming {
                    try Terminal.answer(answer.text, terminator: "\n")
                } else if !endsWithNewline || answer.text.isEmpty {
                    try Terminal.answer("\n")
                }
                if !verbosity.quiet {
                    for remark in answer.remarks { Terminal.note("note: \(remark)") }
                    Terminal.note(summary(answer))
                }
            }
        }
    }
}
