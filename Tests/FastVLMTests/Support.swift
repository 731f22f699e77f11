import Dispatch
import Foundation
import TestSupport

@testable import FastVLM

/// The fixture `tiny-hf`, in float32 unless `change` says otherwise.
func load(_ change: (inout LoadOptions) -> Void = { _ in }) async throws -> VisionLanguageModel {
    var options = LoadOptions()
    options.precision = .float32
    change(&options)
    return try await VisionLanguageModel(
        contentsOf: .directory(Fixture.url("models/tiny-hf")), options: options)
}

/// Runs `body` while an answer is being generated that goes on only afterwards, since it holds the engine's thread.
func whileAnswering(_ model: VisionLanguageModel, _ body: () async throws -> Void) async throws {
    let gate = DispatchSemaphore(value: 0)
    let (begun, begin) = AsyncStream.makeStream(of: Void.self)
    var options = GenerationOptions()
    options.maximumTokens = 8000
    let stream = model.chat().answer(Turn(content: .question("Go on.", images: []), options: options)) {
        event in
        // A prompt that is remembered makes no progress: its first event is a token.
        switch event {
        case .progress, .token: break
        default: return event
        }
        begin.finish()
        gate.wait()
        gate.signal()
        return event
    }
    let task = Task { for try await _ in stream {} }
    for await _ in begun {}
    let result: Result<Void, any Error>
    do { result = .success(try await body()) } catch { result = .failure(error) }
    task.cancel()
    gate.signal()
    try? await task.value
    try result.get()
}

struct NoPipe: Error {}

/// A named pipe as long as `body` runs; it gets its writer, if ever, by ``fill(_:with:)``.
func withPipe<Result>(_ body: (ImageSource, URL) async throws -> Result) async throws -> Result {
    let url = FileManager.default.temporaryDirectory.appending(path: "fastvlm-pipe-\(UUID())")
    guard mkfifo(url.path, 0o600) == 0 else { throw NoPipe() }
    defer { try? FileManager.default.removeItem(at: url) }
    return try await body(.file(url), url)
}

/// Opens a pipe for writing, which waits for its reader, and closes it behind the bytes.
func fill(_ pipe: URL, with bytes: Data) {
    let thread = Thread {
        guard let handle = try? FileHandle(forWritingTo: pipe) else { return }
        // In two parts, so that the reader sees the pipe empty in between.
        try? handle.write(contentsOf: bytes.prefix(100))
        Thread.sleep(forTimeInterval: 0.25)
        try? handle.write(contentsOf: bytes.dropFirst(100))
        try? handle.close()
    }
    thread.start()
}
