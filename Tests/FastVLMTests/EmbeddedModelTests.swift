import FastVLM
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
        arguments: LoadOptions.Precision.allCases)
    func samples(precision: LoadOptions.Precision) async throws {
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
        #expect(wrong.count <= ([.int8, .int4].contains(precision) ? questions.count / 10 : 0), "\(wrong)")
    }
}
