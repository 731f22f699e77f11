import ArgumentParser
import FastVLM
import Foundation

struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Talk about images.",
        discussion: """
            Each line on stdin is a question; the answer follows. Further questions about the same images \
            compute only their own text. Lines with a slash are commands:

            /image FILE   look at another image with the next question
            /reset        forget everything
            /quit         leave (as does Ctrl-D)
            """)

    @Argument(
        help: "Images to talk about.", completion: .file(extensions: imageExtensions))
    var images: [String] = []

    @OptionGroup var model: ModelOptions
    @OptionGroup var sampling: SamplingFlags
    @OptionGroup var verbosity: VerbosityOptions

    @Flag(help: "One JSON object per answer on stdout.")
    var json = false

    func validate() throws {
        if images.contains("-") { throw ValidationError("Stdin carries the questions; name image files.") }
        if sampling.logprobs != nil, !json { throw ValidationError("--logprobs needs --json.") }
    }

    func run() async throws {
        let waiting = try imageSources(images, fileLimit: self.model.fileLimit)
        let (model, verbosity, sampling) = (model, verbosity, sampling)
        let output = OutputStyle(json: json, streaming: !json)
        try await running {
            let loaded = try await model.load(verbosity, expecting: waiting)
            Terminal.noteLimits(of: loaded, images: true, verbosity: verbosity)
            var conversation = Dialogue(
                model: loaded, options: try sampling.options(for: loaded), waiting: waiting)
            if Terminal.inputIsTerminal, !verbosity.quiet {
                Terminal.note("Ask about the image; /image FILE, /reset, /quit.")
            }
            while let line = Dialogue.nextLine() {
                guard try await conversation.handle(line, output: output, verbosity: verbosity) else { break }
                if Task.isCancelled { break }
            }
        }
    }
}

/// The state of an interactive conversation.
private struct Dialogue {
    let model: VisionLanguageModel
    let options: GenerationOptions
    /// Images that the next question brings along.
    var waiting: [ImageSource]
    var session: ChatSession

    init(model: VisionLanguageModel, options: GenerationOptions, waiting: [ImageSource]) {
        self.model = model
        self.options = options
        self.waiting = waiting
        session = model.chat()
    }

    static func nextLine() -> String? {
        if Terminal.inputIsTerminal { Terminal.note("> ", terminator: "") }
        return Terminal.line()
    }

    /// - Returns: false to leave.
    mutating func handle(
        _ line: String, output: OutputStyle, verbosity: VerbosityOptions
    ) async throws -> Bool {
        let text = line.trimmingCharacters(in: .whitespaces)
        switch text.split(separator: " ", maxSplits: 1).first.map(String.init) {
        case nil: return true
        case "/quit", "/exit": return false
        case "/reset":
            await model.forget()
            session = model.chat()
            waiting = []
        case "/image":
            let name = text.dropFirst("/image".count).trimmingCharacters(in: .whitespaces)
            guard FileManager.default.fileExists(atPath: name) else {
                Terminal.note("there is no file '\(name)'")
                return true
            }
            waiting.append(.file(URL(filePath: name)))
        case let command? where command.hasPrefix("/") && !command.dropFirst().contains("/"):
            Terminal.note("unknown command \(command); there are /image FILE, /reset and /quit")
        default:
            try await ask(text, output: output, verbosity: verbosity)
        }
        return true
    }

    private mutating func ask(
        _ question: String, output: OutputStyle, verbosity: VerbosityOptions
    ) async throws {
        let progress = ProgressLine("reading the prompt", enabled: !verbosity.quiet)
        let pieces = session.stream(question, images: waiting, options: options) { progress.update($0) }
        do {
            try await output.write(pieces, model: model, verbosity: verbosity, progress: progress)
            waiting = []
        } catch let error as FastVLMError where Terminal.inputIsTerminal {
            // A person at the keyboard can try again; the conversation is as it was.
            Terminal.note("fastvlm: \(error)")
            if error.kind == .image { waiting = [] }
        }
    }
}
