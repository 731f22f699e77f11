import Foundation
import TestSupport
import Testing

@testable import FastVLM

@Suite("What waiting requests have brought is bounded", .timeLimit(.minutes(10)))
struct RequestBytesTests {
    private var options: GenerationOptions {
        var options = GenerationOptions()
        options.maximumTokens = 4
        return options
    }

    private let side = 100
    private var pixels: ImageSource {
        .pixels(width: side, height: side, rgb: Data(repeating: 90, count: side * side * 3))
    }
    /// As many bytes as the pixels have; what they are is not looked at before the request is worked on.
    private let data = ImageSource.data(Data(repeating: 90, count: 30_000))
    private let file = ImageSource.file(Fixture.url("models/images/image-0.png"))

    private func code(_ body: () async throws -> Void) async -> FastVLMError.Code? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? FastVLMError)?.code
        }
    }

    /// Runs `body` while 60 of 80 thousand bytes are held by requests that wait.
    private func whileWaiting(
        _ image: ImageSource, _ body: (VisionLanguageModel) async throws -> Void
    ) async throws {
        let model = try await load {
            $0.maximumRunning = 1
            $0.requestBytes = 80_000
        }
        try await whileAnswering(model) {
            let tasks = (0..<2).map { _ in
                Task { try await model.answer("?", images: [image], options: options) }
            }
            while model.preparation.limits.running.waiting != 2
                || model.preparation.limits.bytes.taken != 60_008
            { try await Task.sleep(for: .milliseconds(1)) }
            try await body(model)
            for task in tasks { task.cancel() }
        }
        while model.preparation.limits.current > 0 { try await Task.sleep(for: .milliseconds(1)) }
        #expect(model.preparation.limits.bytes.taken == 0)
    }

    @Test("Images as bytes and as pixels beyond the bound are refused at once, whatever they are for")
    func given() async throws {
        for image in [data, pixels] {
            try await whileWaiting(image) { model in
                let error = await #expect(throws: FastVLMError.self) {
                    try await model.answer("What?", images: [image], options: options)
                }
                #expect(error?.code == .overloaded && error?.kind == .system)
                #expect(error?.needed == 30_005 && error?.limit == 80_000 && error?.option == "requestBytes")
                let message = Message.user("?", images: [image])
                #expect(await code { _ = try await model.answer(messages: [message]) } == .overloaded)
                #expect(await code { _ = try await model.encode(image) } == .overloaded)
                #expect(await code { try await model.check(image) } == .overloaded)
                #expect(
                    await code { _ = try await model.score(messages: [message, .assistant("!")]) }
                        == .overloaded)
            }
        }
        // When nobody else has any, it is as it would be without a bound.
        let model = try await load { $0.requestBytes = 80_000 }
        #expect(await code { _ = try await model.encode(data) } == .unsupportedImage)
        #expect(try await model.answer("?", images: [pixels], options: options).usage.imageTokens == 9)
    }

    @Test("Text counts too: a long one is refused, a short one waits")
    func text() async throws {
        try await whileWaiting(pixels) { model in
            let text = String(repeating: "long ", count: 5_000)
            #expect(await code { _ = try await model.answer(text, options: options) } == .overloaded)
            #expect(await code { _ = try await model.score(text) } == .overloaded)
            #expect(
                await code { _ = try await model.score(windowsOf: text, length: 64, stride: 32) }
                    == .overloaded)
            var system = options
            system.system = text
            #expect(await code { _ = try await model.answer("?", options: system) } == .overloaded)
            let chat = model.chat(history: [.user(text), .assistant("Yes.")])
            #expect(await code { _ = try await chat.answer("?", options: options) } == .overloaded)
            for try await event in model.events("Short?", options: options) {
                #expect(event == .queued(position: 3))
                break
            }
        }
    }

    @Test("A pipe that gives more than is left is refused, and leaves what was left")
    func pipe() async throws {
        try await whileWaiting(pixels) { model in
            try await withPipe { pipe, url in
                fill(url, with: Data(repeating: 90, count: 30_000))
                #expect(
                    await code { _ = try await model.answer("?", images: [pipe], options: options) }
                        == .overloaded)
            }
            while model.preparation.limits.bytes.taken != 60_008 {
                try await Task.sleep(for: .milliseconds(1))
            }
        }
    }

    @Test("A request that is larger than the whole bound is answered when it is alone")
    func alone() async throws {
        let model = try await load { $0.requestBytes = 10 }
        for image in [pixels, file] {
            let answer = try await model.answer("What is this?", images: [image], options: options)
            #expect(answer.usage.imageTokens == 9)
        }
        let bytes = try Fixture.data("models/images/image-1.png")
        try await withPipe { pipe, url in
            fill(url, with: bytes)
            let tokens = try await model.encode(pipe).tokens
            #expect(tokens == 9)
        }
        #expect(model.preparation.limits.bytes.taken == 0)
    }

    @Test("Requests that have brought bytes and wait for those of files do not wait for each other")
    func filesBesideBytes() async throws {
        let model = try await load {
            $0.maximumRunning = 2
            // For all pixels and one byte, and no file beside them.
            $0.requestBytes = 8 * 30_005 + 1
        }
        let limits = model.preparation.limits
        // No file is read before all have brought their pixels: whoever came later would be refused.
        let held = limits.bytes.join(1)
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    try await model.answer("What?", images: [pixels, file], options: options)
                        .usage.positions
                }
            }
            while limits.current < 8 { try await Task.sleep(for: .milliseconds(1)) }
            held.release()
            var positions: Set<Int> = []
            for try await count in group { positions.insert(count) }
            #expect(positions.count == 1)
        }
        #expect(model.preparation.limits.bytes.taken == 0)
    }
}
