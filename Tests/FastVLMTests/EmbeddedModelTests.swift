import FastVLM
import FastVLMEmbedded
import Foundation
import TestSupport
import Testing

@Suite("The embedded model")
struct EmbeddedModelTests {
    /// Image, question, answer of each line of Samples/questions.tsv.
    private static func questions() throws -> [(URL, String, String)] {
        let samples = Fixture.root.deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Samples")
        let text = try String(contentsOf: samples.appending(path: "questions.tsv"), encoding: .utf8)
        return try text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { line in
            let fields = line.split(separator: "\t").map(String.init)
            try #require(fields.count == 3)
            return (samples.appending(path: fields[0]), fields[1], fields[2])
        }
    }

    @Test(
        "Every question about the sample images is answered as listed; integers may miss one in ten",
        arguments: Precision.allCases)
    func samples(precision: Precision) async throws {
        var options = LoadOptions()
        options.precision = precision
        let model = try await VisionLanguageModel(contentsOf: .embedded, options: options)
        #expect(model.information.isEmbedded && model.information.tokensPerImage == 64)
        let questions = try Self.questions()
        #expect(questions.count >= 9)
        var wrong: [String] = []
        for (image, question, expected) in questions {
            let answer = try await model.answer(question, images: [.file(image)])
            if answer.text != expected {
                wrong.append("\(image.lastPathComponent): \(question) \(answer.text)")
            }
            #expect(answer.finishReason == .stop)
        }
        #expect(
            wrong.count <= ([.float32, .bfloat16].contains(precision) ? 0 : questions.count / 10), "\(wrong)")
    }

    @Test("A number of things is pointed at thing by thing, in tokens that the text leaves out")
    func pointing() async throws {
        let model = try await VisionLanguageModel(contentsOf: .embedded)
        let counts = try Self.questions().filter {
            $0.0.lastPathComponent.hasPrefix("count-") && Int($0.2) != nil
        }
        try #require(!counts.isEmpty)
        for (image, question, expected) in counts {
            var (hidden, text, isToken) = (0, "", false)
            for try await event in model.events(question, images: [.file(image)]) {
                // A token that is followed by another one, and not by text, is hidden.
                if isToken, case .text = event {} else if isToken { hidden += 1 }
                isToken = false
                if case .token = event { isToken = true }
                if case .text(let part) = event { text += part }
            }
            #expect(text == expected)
            #expect(hidden >= 2 * (try #require(Int(expected))), "\(question)")  // its row and its column
        }
    }
}
