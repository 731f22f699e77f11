import Foundation
import Synchronization
import TestSupport
import Testing

@testable import FastVLM

@Suite("Images are read and decoded beside the engine", .timeLimit(.minutes(10)))
struct PreparationTests {
    private var options: GenerationOptions {
        var options = GenerationOptions()
        options.maximumTokens = 12
        return options
    }

    private func bytes(_ number: Int) throws -> Data { try Fixture.data("models/images/image-\(number).png") }
    private func image(_ number: Int) throws -> ImageSource { .data(try bytes(number)) }

    @Test(
        "A pipe without a writer holds up nobody else, and is given up the moment its question is cancelled")
    func hangingPipe() async throws {
        let model = try await load()
        try await withPipe { pipe, _ in
            let hanging = (0..<20).map { _ in
                Task { try await model.answer("What is this?", images: [pipe], options: options) }
            }
            let encoding = Task { try await model.encode(pipe) }
            try await Task.sleep(for: .milliseconds(50))
            let other = try await model.answer("What is this?", images: [image(0)], options: options)
            #expect(other.usage.imageTokens == 9)
            for task in hanging { task.cancel() }
            encoding.cancel()
            for task in hanging {
                await #expect(throws: CancellationError.self) { try await task.value }
            }
            await #expect(throws: CancellationError.self) { try await encoding.value }
        }
    }

    @Test("A pipe that is written later is read to its end")
    func pipe() async throws {
        let model = try await load { $0.rememberedImages = 0 }
        let expected = try await model.answer("What is this?", images: [image(1)], options: options)
        try await withPipe { pipe, url in
            fill(url, with: try bytes(1))
            let got = try await model.answer("What is this?", images: [pipe], options: options)
            #expect(got.text == expected.text)
        }
    }

    @Test("Turns of a conversation keep their order, however long the image of one takes")
    func order() async throws {
        let model = try await load()
        let (sequential, together) = (model.chat(), model.chat())
        let expected = [
            try await sequential.answer("What is this?", images: [image(1)], options: options),
            try await sequential.answer("And now?", options: options),
            try await sequential.answer("Why?", images: [image(0)], options: options),
        ]
        try await withPipe { pipe, url in
            let streams = [
                together.events("What is this?", images: [pipe], options: options),
                together.events("And now?", options: options),
                together.events("Why?", images: [try image(0)], options: options),
            ]
            // Asked for from the last to the first: only the calls above may count.
            let tasks = streams.reversed().map { stream in
                Task { try await finished(stream) }
            }
            try await Task.sleep(for: .milliseconds(20))
            fill(url, with: try bytes(1))
            for (task, expected) in zip(tasks.reversed(), expected) {
                let got = try await task.value
                #expect(got.text == expected.text)
                #expect(
                    got.usage.promptTokens + got.usage.cachedTokens
                        == expected.usage.promptTokens + expected.usage.cachedTokens)
            }
        }
    }

    @Test("A turn whose image cannot be had is skipped by those behind it")
    func failedTurnInLine() async throws {
        let model = try await load()
        let (undisturbed, disturbed) = (model.chat(), model.chat())
        for session in [undisturbed, disturbed] {
            _ = try await session.answer("What is this?", images: [image(0)], options: options)
        }
        let expected = try await undisturbed.answer("And now?", options: options)
        let failing = disturbed.stream("x", images: [.data(Data("no image".utf8))], options: options)
        let following = disturbed.events("And now?", options: options)
        await #expect(throws: FastVLMError.self) { for try await _ in failing {} }
        let got = try await finished(following)
        #expect(got.text == expected.text && got.usage.positions == expected.usage.positions)
    }

    @Test("An image given several times in a turn is read, decoded and encoded once")
    func twice() async throws {
        let model = try await load()
        let forgetful = try await load {
            $0.rememberedImages = 0
            $0.keyValueBytes = 0
        }
        // As in a conversation that saw the image before, so that nothing is encoded twice.
        let placed = "<image> or <image>?"
        var options = options
        options.placesImages = true
        let known = try await load { $0.keyValueBytes = 0 }
        _ = try await known.answer("What is this?", images: [image(1)], options: self.options)
        let expected = try await known.answer(placed, images: [image(1), image(1)], options: options)
        #expect(expected.usage.imageTokens == 18 && expected.timings.encode == 0)
        // A pipe can be read once only.
        try await withPipe { pipe, url in
            fill(url, with: try bytes(1))
            let got = try await forgetful.answer(placed, images: [pipe, pipe], options: options)
            #expect(got.text == expected.text && got.usage.imageTokens == 18)
        }
        // The same bytes from two places, with another image between them.
        let three = "<image> <image> <image>"
        let file = ImageSource.file(Fixture.url("models/images/image-1.png"))
        let mixed = try await model.answer(three, images: [image(1), image(0), file], options: options)
        _ = try await known.answer("What is this?", images: [image(0)], options: self.options)
        let expectedMixed = try await known.answer(
            three, images: [image(1), image(0), image(1)], options: options)
        #expect(mixed.text == expectedMixed.text && mixed.usage.imageTokens == 27)
    }

    @Test("A remark names the number that its image was given under, the same one given twice counting twice")
    func remarkNumbers() async throws {
        let samples = Fixture.root.deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Samples")
        // Without its end marker.
        let cut = ImageSource.data(
            try Data(contentsOf: samples.appending(path: "single-banana.jpg")).dropLast(2))
        let model = try await load()
        let alone = try await model.answer("What?", images: [cut], options: options).remarks
        #expect(alone.count == 1)
        let third = try await model.answer(
            "What?", images: [image(0), image(0), cut, cut], options: options
        ).remarks
        #expect(third == alone.map { "image 3: \($0)" })
    }

    @Test("Uploads that are no images push none of the remembered ones out")
    func undecodable() async throws {
        let model = try await load {
            $0.rememberedImages = 1
            $0.keyValueBytes = 0
        }
        _ = try await model.answer("What is this?", images: [image(0)], options: options)
        var damaged = try bytes(1)
        damaged.removeLast(damaged.count / 2)
        for unfit in [Data("no image".utf8), damaged, Data()] {
            await #expect(throws: FastVLMError.self) {
                try await model.answer("What is this?", images: [.data(unfit)], options: options)
            }
        }
        let again = try await model.answer("What is this?", images: [image(0)], options: options)
        #expect(again.timings.encode == 0 && again.usage.imageTokens == 9)
    }

    @Test("An answer that was left keeps what its image was encoded to")
    func keptEncoding() async throws {
        let model = try await load { $0.keyValueBytes = 0 }
        var endless = options
        endless.maximumTokens = 8000
        for try await _ in model.stream("What is this?", images: [try image(0)], options: endless) { break }
        let again = try await model.answer("What is this?", images: [image(0)], options: options)
        #expect(again.timings.encode == 0 && again.usage.imageTokens == 9)
    }

    @Test("Requests about one new image at once encode it once")
    func sameImageAtOnce() async throws {
        let model = try await load { $0.keyValueBytes = 0 }
        let encodings = try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<8 {
                group.addTask {
                    try await model.answer(
                        "Question \(number)?", images: [image(1)], options: options
                    ).timings.encode > 0
                }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(encodings == 1)
    }

    @Test("Times count the stages that a request went through, and not its waiting")
    func timings() async throws {
        let model = try await load {
            $0.rememberedImages = 0
            $0.keyValueBytes = 0
        }
        let answers = try await withThrowingTaskGroup(of: Answer.self) { group in
            for number in 0..<6 {
                group.addTask {
                    try await model.answer("Question \(number)?", images: [image(1)], options: options)
                }
            }
            return try await group.reduce(into: [Answer]()) { $0.append($1) }
        }
        // Whoever waits for another one's encoding has none of its own.
        #expect(answers.contains { $0.timings.encode > 0 })
        for timings in answers.map(\.timings) {
            #expect(timings.decodeImage > 0 && timings.preprocess > 0)
            let stages =
                timings.decodeImage + timings.preprocess + timings.encode + timings.project + timings.prefill
            #expect(stages <= timings.timeToFirstToken && timings.timeToFirstToken <= timings.total)
        }
    }
}

extension Usage {
    /// Of the whole prompt, those included whose keys and values another conversation may have left.
    var positions: Int { promptTokens + cachedTokens }
}
