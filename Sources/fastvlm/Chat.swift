import ArgumentParser
import CommandInput
import FastVLM
import Foundation

struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Talk about images.",
        discussion: """
            Each line on stdin is a question; the answer follows. Further questions about the same images \
            compute only their own text. Lines with a slash are commands:

            /image FILE   look at another image with the next question
            /resolution N bring images from now on to N pixels a side (the model's own: without N)
            /drop         leave out the images that wait for the next question
            /reset        forget everything
            /quit         leave (as does Ctrl-D)

            FILE may be written as a shell, a file manager or a browser gives it: with ~, quotes or backslashes, or as \
            a https:, file: or data: address. On a terminal, Tab completes it. An image is read as soon as it is \
            named; when it cannot be used, a person at a terminal is told and may go on, and a chat that is fed from a \
            file or pipe ends with status 65, because the next question would be answered about other images.
            """)

    @Argument(
        help: "Images to talk about.", completion: .file(extensions: Array(Question.imageExtensions).sorted())
    )
    var images: [String] = []

    @OptionGroup var model: ModelOptions
    @OptionGroup var sampling: SamplingFlags
    @OptionGroup(title: "Format of the answers") var format: FormatFlags
    @OptionGroup var verbosity: VerbosityOptions

    @Flag(help: "One JSON object per answer on stdout.")
    var json = false

    func validate() throws {
        if images.contains("-") { throw ValidationError("Stdin carries the questions; name image files.") }
        if sampling.logprobs != nil, !json { throw ValidationError("--logprobs needs --json.") }
    }

    func run() async throws {
        let limits = self.model.imageLimits
        let format = try self.format.format()
        let named = try imageArguments(images, limits: limits)
        let (model, verbosity, sampling) = (model, verbosity, sampling)
        let output = OutputStyle(json: json, streaming: !json)
        try await running {
            let waiting = try await named.sources(limits: limits)
            let loaded = try await model.load(verbosity, expecting: waiting)
            Terminal.noteLimits(of: loaded, images: true, verbosity: verbosity)
            var options = try sampling.options(for: loaded)
            options.format = format
            var conversation = Dialogue(
                model: loaded, options: options, limits: limits,
                waiting: zip(named, waiting).map { Dialogue.Waiting(name: $0.name, image: $1) })
            if Terminal.inputIsTerminal, !verbosity.quiet {
                Terminal.note("Ask about the image; /image FILE, /resolution N, /drop, /reset, /quit.")
            }
            let editor = LineEditor()
            while let line = try editor.line() {
                guard try await conversation.handle(line, output: output, verbosity: verbosity) else { break }
                if Task.isCancelled { break }
            }
        }
    }
}

/// The state of an interactive conversation.
private struct Dialogue {
    let model: VisionLanguageModel
    var options: GenerationOptions
    let limits: ImageInputLimits
    /// An image that the next question brings along.
    struct Waiting {
        let name: String
        let image: ImageSource
    }
    var waiting: [Waiting]
    var session: ChatSession
    /// Images that were named and could not be used, until a question was answered or another one named.
    var failed: [String] = []
    /// Whether the conversation has images.
    var hasImages = false

    init(
        model: VisionLanguageModel, options: GenerationOptions, limits: ImageInputLimits,
        waiting: [Waiting]
    ) {
        self.model = model
        self.options = options
        self.limits = limits
        self.waiting = waiting
        session = model.chat()
    }

    /// - Returns: false to leave.
    mutating func handle(
        _ line: String, output: OutputStyle, verbosity: VerbosityOptions
    ) async throws -> Bool {
        let text = line.trimmingCharacters(in: .whitespaces)
        guard let word = text.split(whereSeparator: \.isWhitespace).first.map(String.init) else {
            return true
        }
        let rest = text.dropFirst(word.count).trimmingCharacters(in: .whitespaces)
        switch word {
        case "/quit", "/exit": return false
        case "/reset":
            await model.forget()
            session = model.chat()
            waiting = []
            (failed, hasImages) = ([], false)
        case "/drop":
            let count = waiting.count
            waiting = []
            failed = []
            Terminal.note(count == 0 ? "no image waits" : "\(count) image\(count == 1 ? "" : "s") left out")
        case "/image": try await add(rest)
        case "/resolution": setResolution(rest)
        case _ where word.hasPrefix("/") && !word.dropFirst().contains("/") && word.count > 1:
            Terminal.note(
                "unknown command \(ByteText.shown(word)); there are /image FILE, /resolution N, /drop, /reset and /quit"
            )
        default:
            try await ask(ByteText.shown(text), output: output, verbosity: verbosity)
        }
        return true
    }

    /// Another side is checked when the next question brings images to it.
    private mutating func setResolution(_ text: String) {
        guard !text.isEmpty else { return options.imageSize = nil }
        guard let side = Int(text), side > 0 else {
            return Terminal.note("/resolution needs a number of pixels behind it")
        }
        options.imageSize = side
    }

    /// Reads an image and looks whether it can be decoded. At a terminal, what is wrong with it is only said.
    private mutating func add(_ name: String) async throws {
        failed = []
        do {
            guard !name.isEmpty, name != "-" else {
                throw CommandFailure(.image, "/image needs the name of a file behind it")
            }
            for argument in try arguments(name) {
                let image = try await argument.source(limits: limits)
                do {
                    try await model.check(image)
                } catch let error as FastVLMError {
                    let isNamed = error.description.contains(argument.name)
                    throw CommandFailure(
                        ExitStatus(error.kind), isNamed ? error.description : "\(argument.name): \(error)")
                }
                waiting.append(Waiting(name: argument.name, image: image))
            }
        } catch let failure as CommandFailure where Terminal.inputIsTerminal {
            Terminal.note("fastvlm: \(failure.message)")
            failed = [ByteText.shown(name)]
        }
    }

    /// One image, or several as they are dragged into a terminal together.
    private func arguments(_ name: String) throws -> [ImageArgument] {
        do {
            return [try ImageArgument(name, limits: limits)]
        } catch {
            let words = ShellWords.words(name) ?? []
            guard words.count > 1, !words.contains("-"),
                let several = try? words.map({ try ImageArgument($0, limits: limits) })
            else { throw error }
            return several
        }
    }

    private mutating func ask(
        _ question: String, output: OutputStyle, verbosity: VerbosityOptions
    ) async throws {
        if !failed.isEmpty {
            let about = waiting.isEmpty && !hasImages ? "without an image" : "about the earlier images"
            let names = failed.map { "'\($0)'" }.joined(separator: ", ")
            Terminal.note(
                "note: \(names) \(failed.count == 1 ? "was" : "were") not read; this answer is \(about)")
        }
        let progress = ProgressLine("reading the prompt", enabled: !verbosity.quiet)
        do {
            let events = session.events(question, images: waiting.map(\.image), options: options)
            try await output.write(events, model: model, verbosity: verbosity, progress: progress)
            hasImages = hasImages || !waiting.isEmpty
            waiting = []
            failed = []
        } catch let error as FastVLMError {
            let failure = Self.failure(error)
            guard Terminal.inputIsTerminal else { throw failure }
            // A person at the keyboard can try again; the conversation is as it was.
            Terminal.note("fastvlm: \(failure.message)")
            if error.kind == .image {
                failed += waiting.map(\.name)
                waiting = []
            }
        }
    }

    private static func failure(_ error: FastVLMError) -> CommandFailure {
        guard error.code == .contextExceeded else { return CommandFailure(error) }
        return CommandFailure(
            .usage, "\(error); /reset begins anew, /drop leaves out the images that wait for this question")
    }
}
