import ArgumentParser
import CommandInput
import FastVLM
import Foundation
import SystemFiles

struct Perplexity: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "How likely a model finds a text: the lower, the better.",
        discussion: """
            fastvlm perplexity book.txt --model FastVLM-0.5B --precision int4
            fastvlm perplexity answers.jsonl --json

            A text is scored in windows of --window tokens, each --stride tokens after the one before, without a \
            conversation around it. Of a file that ends in .jsonl, each line is an object: {"text": …}, which is scored \
            by itself, or {"prompt": …, "answer": …} with "image" or "images" (files, from the folder of the .jsonl \
            file) and "system" if there are any, of which the answer is scored.
            """)

    @Argument(
        help: "A text, or JSON lines; '-' for a text on stdin.",
        completion: .file(extensions: ["txt", "jsonl"]))
    var file: String

    @OptionGroup var model: ModelOptions
    @OptionGroup var verbosity: VerbosityOptions

    @Option(help: "Tokens that are looked at together (default: the context, at most 2048).")
    var window: Int?

    @Option(help: "Tokens from one window to the next (default: half of a window).")
    var stride: Int?

    @Flag(help: "One JSON object on stdout; of JSON lines, one per line and one for all.")
    var json = false

    private struct Line: Decodable {
        var text: String?
        var prompt: String?
        var answer: String?
        var image: String?
        var images: [String]?
        var system: String?
    }

    private struct Report: Encodable {
        var type: String
        var line: Int?
        var tokens: Int
        var logProbability: Double
        var perplexity: Double?

        init(_ type: String, line: Int? = nil, _ scores: [TextScore]) {
            self.type = type
            self.line = line
            tokens = scores.reduce(0) { $0 + $1.tokens.count }
            logProbability = scores.reduce(0) { $0 + $1.logProbability }
            perplexity = tokens > 0 ? exp(-logProbability / Double(tokens)) : nil
        }
    }

    func validate() throws {
        if let window { try check("--window", window, in: 2...1_000_000) }
        if let stride { try check("--stride", stride, in: 1...1_000_000) }
    }

    func run() async throws {
        let name = ByteText.shown(file)
        let bytes = name == "-" ? try readStandardInput(limit: 1 << 30) : try Self.read(name)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw CommandFailure(.usage, "'\(name)' is not a text in UTF-8; convert it, or name another file")
        }
        let isLines = name.lowercased().hasSuffix(".jsonl")
        let lines = isLines ? try Self.lines(text, name) : []
        let folder = URL(filePath: name).deletingLastPathComponent()
        let (model, verbosity, json, window, stride) = (model, verbosity, json, window, stride)
        try await running {
            let loaded = try await model.load(verbosity)
            let progress = ProgressLine("scoring", enabled: !verbosity.quiet)
            defer { progress.clear() }
            var scores: [TextScore] = []
            if isLines {
                for (index, line) in lines.enumerated() {
                    let score: TextScore
                    do {
                        score = try await Self.score(line.content, loaded, folder)
                    } catch let error as FastVLMError {
                        throw CommandFailure(
                            ExitStatus(error.kind), "\(name), line \(line.number): \(error)")
                    }
                    scores.append(score)
                    progress.update(Double(index + 1) / Double(lines.count))
                    if json { try Terminal.json(Report("line", line: line.number, [score])) }
                }
            } else {
                let length = window ?? min(loaded.information.contextLength, 2048)
                scores = [
                    try await loaded.score(
                        windowsOf: text, length: length, stride: stride ?? max(length / 2, 1)
                    ) {
                        progress.update($0)
                    }
                ]
            }
            progress.clear()
            let report = Report("total", scores)
            if json {
                try Terminal.json(report)
            } else {
                let perplexity = report.perplexity.map { String(format: "%.4f", $0) } ?? "none"
                try Terminal.answer(
                    "perplexity \(perplexity) over \(report.tokens) tokens", terminator: "\n")
            }
        }
    }

    private static func read(_ name: String) throws -> Data {
        do {
            return Data(try BoundedFile.read(name, limit: 1 << 30))
        } catch {
            throw CommandFailure(
                error.reason.isExhaustion ? .system : .usage,
                "cannot read '\(name)': \(error.reason); \(error.reason.advice ?? "check the path")")
        }
    }

    private static func lines(_ text: String, _ name: String) throws -> [(number: Int, content: Line)] {
        // By bytes: a Windows line end is one character in Swift.
        try text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated().compactMap {
            index, line in
            guard line.contains(where: { ![0x20, 0x09, 0x0D].contains($0) }) else { return nil }
            func fault(_ reason: String) -> CommandFailure {
                CommandFailure(.usage, "\(name), line \(index + 1): \(reason)")
            }
            let content: Line
            do {
                content = try JSONDecoder().decode(Line.self, from: Data(line))
            } catch {
                throw fault("expected a JSON object with \"text\", or \"prompt\" and \"answer\"")
            }
            guard (content.text == nil) == (content.answer != nil) else {
                throw fault("give either \"text\", or \"prompt\" and \"answer\"")
            }
            return (index + 1, content)
        }
    }

    private static func score(
        _ line: Line, _ model: VisionLanguageModel, _ folder: URL
    ) async throws -> TextScore {
        guard let answer = line.answer else { return try await model.score(line.text ?? "") }
        let names = (line.image.map { [$0] } ?? []) + (line.images ?? [])
        let images = names.map { ImageSource.file(URL(filePath: $0, relativeTo: folder).absoluteURL) }
        var messages: [Message] = line.system.map { [.system($0)] } ?? []
        messages += [.user(line.prompt ?? "", images: images), .assistant(answer)]
        return try await model.score(messages: messages)
    }
}
