import ArgumentParser
import CommandInput
import FastVLM
import Foundation

struct Tokenize: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show how a text becomes token ids.",
        discussion: "Prints one line per token: id, tab, spelling. With --decode, turns ids back into text.")

    @Argument(help: "The text, or ids with --decode; '-' for stdin.")
    var text: [String]

    @OptionGroup var from: SourceOptions

    @Flag(help: "Recognise special tokens such as <|im_end|> in the text.")
    var special = false

    @Flag(help: "The arguments are ids.")
    var decode = false

    @Flag(help: "One JSON object on stdout.")
    var json = false

    private struct Report: Encodable {
        var text: String
        var tokenIds: [Int]
        var tokens: [String]
    }

    func run() async throws {
        let input =
            text == ["-"] ? try Self.textOfStandardInput() : ByteText.shown(text.joined(separator: " "))
        let (from, special, decode, json) = (from, special, decode, json)
        let parsed = try decode ? Self.ids(input) : []
        try await running {
            try await from.fetchIfMissing()
            let tokenizer = try TextTokenizer(contentsOf: from.source())
            let ids = decode ? parsed : tokenizer.encode(input, recognizesSpecialTokens: special)
            let spellings = ids.map { tokenizer.spelling(of: $0) ?? "" }
            let decoded = decode ? tokenizer.decode(ids, skipsSpecialTokens: false) : input
            if json {
                try Terminal.json(Report(text: decoded, tokenIds: ids, tokens: spellings))
            } else if decode {
                try Terminal.answer(decoded, terminator: "\n")
            } else {
                for (id, spelling) in zip(ids, spellings) {
                    try Terminal.answer("\(id)\t\(spelling)", terminator: "\n")
                }
            }
        }
    }

    private static func textOfStandardInput() throws -> String {
        String(decoding: try readStandardInput(limit: 64 << 20), as: UTF8.self)
    }

    private static func ids(_ text: String) throws -> [Int] {
        try text.split(whereSeparator: { $0.isWhitespace || $0 == "," }).map { word in
            guard let id = Int(word) else { throw ValidationError("'\(word)' is not a token id.") }
            return id
        }
    }
}
