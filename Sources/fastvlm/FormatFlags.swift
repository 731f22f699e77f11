import ArgumentParser
import CommandInput
import FastVLM
import StructuredOutput
import SystemFiles

/// What the answer must look like.
struct FormatFlags: ParsableArguments {
    @Option(
        help: "A file with a JSON schema that the answer must be valid under.",
        completion: .file(extensions: ["json"]))
    var jsonSchema: String?

    @Flag(help: "The answer is a JSON object.")
    var jsonObject = false

    @Option(help: "A text that the answer may be; give it once for each.")
    var choice: [String] = []

    @Option(help: "A regular expression that the whole answer must match.")
    var regex: String?

    /// Bytes of a schema's file.
    private static let largestFile = 1 << 20

    func validate() throws {
        let given = [
            ("--json-schema", jsonSchema != nil), ("--json-object", jsonObject),
            ("--choice", !choice.isEmpty),
            ("--regex", regex != nil),
        ].filter(\.1).map(\.0)
        if given.count > 1 {
            throw ValidationError("\(given.joined(separator: " and ")) exclude each other.")
        }
    }

    /// nil leaves the answer to the model. What is wrong with a format is said before a model is loaded.
    /// - Throws: `CommandFailure` with the status `usage`.
    func format() throws -> AnswerFormat? {
        let format: AnswerFormat
        if let jsonSchema {
            format = .jsonSchema(try textFile(jsonSchema, limit: Self.largestFile))
        } else if jsonObject {
            format = .jsonObject
        } else if !choice.isEmpty {
            format = .choice(choice.map(ByteText.shown))
        } else if let regex {
            format = .regularExpression(ByteText.shown(regex))
        } else {
            return nil
        }
        do {
            try format.check()
        } catch {
            let place = jsonSchema.map { "\(ByteText.shown($0)): " } ?? ""
            throw CommandFailure(.usage, "\(place)\(error)")
        }
        return format
    }
}

/// The text of a file that the user names.
/// - Throws: `CommandFailure` with the reason and what to do.
func textFile(_ path: String, limit: Int) throws -> String {
    let bytes: [UInt8]
    do {
        bytes = try BoundedFile.read(path, limit: limit)
    } catch {
        throw CommandFailure(
            .usage,
            "cannot read '\(ByteText.shown(path))': \(error.reason); \(error.reason.advice ?? "check the path")"
        )
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        throw CommandFailure(.usage, "\(ByteText.shown(path)): the text is not UTF-8")
    }
    return text
}
