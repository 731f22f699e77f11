import Foundation
import Logging
import Metrics
import MetricsTestKit
import Synchronization
import TestSupport
import Testing

@testable import FastVLM

@Suite("Metrics and logs")
struct MetricsTests {
    private let image = ImageSource.file(Fixture.url("models/images/image-0.png"))

    private var options: GenerationOptions {
        var options = GenerationOptions()
        options.maximumTokens = 6
        return options
    }

    @Test("Requests, images, positions, tokens, batches and times are told")
    func counts() async throws {
        let metrics = TestMetrics()
        let model = try await load { $0.metrics = metrics }
        let answers = [
            try await model.answer("What is this?", images: [image], options: options),
            try await model.answer("What is this?", images: [image], options: options),
        ]
        _ = try? await model.answer("", options: options)
        func total(_ label: String, _ name: String, _ value: String) -> Int64 {
            (try? metrics.expectCounter(label, [(name, value)]).totalValue) ?? -1
        }
        #expect(total("fastvlm_requests_total", "outcome", "length") == 2)
        #expect(total("fastvlm_requests_total", "outcome", "emptyPrompt") == 1)
        #expect(total("fastvlm_images_total", "source", "encoded") == 1)
        #expect(total("fastvlm_images_total", "source", "remembered") == 1)
        let usages = answers.map(\.usage)
        #expect(
            total("fastvlm_positions_total", "source", "computed")
                == Int64(usages.reduce(0) { $0 + $1.promptTokens }))
        #expect(
            total("fastvlm_positions_total", "source", "remembered")
                == Int64(usages.reduce(0) { $0 + $1.cachedTokens }))
        #expect(try metrics.expectCounter("fastvlm_tokens_total").totalValue == 12)
        // A prompt and five further tokens each.
        let batches = try metrics.expectRecorder("fastvlm_batch_sequences").values
        #expect(batches.count >= 12 && batches.allSatisfy { $0 == 1 })
        #expect(try metrics.expectTimer("fastvlm_stage_seconds", [("stage", "encode")]).values.count == 1)
        #expect(try metrics.expectTimer("fastvlm_stage_seconds", [("stage", "prefill")]).values.count >= 1)
        #expect(try metrics.expectTimer("fastvlm_first_token_seconds").values.count == 2)
        #expect(try metrics.expectTimer("fastvlm_token_seconds").values.count == 10)
        #expect(try metrics.expectMeter("fastvlm_requests_running").values.last == 0)
        #expect(try metrics.expectMeter("fastvlm_requests_running").values.contains(1))
    }

    @Test("Where nobody listens there are no metrics at all")
    func nobody() {
        #expect(EngineMetrics(nil) == nil && EngineMetrics(NOOPMetricsHandler.instance) == nil)
        #expect(EngineMetrics(TestMetrics()) != nil)
    }

    private final class Lines: Sendable {
        private let lines = Mutex<[(request: String?, text: String)]>([])
        var all: [(request: String?, text: String)] { lines.withLock { $0 } }
        func append(_ request: String?, _ text: String) { lines.withLock { $0.append((request, text)) } }
    }

    private struct Handler: LogHandler {
        let lines: Lines
        var logLevel = Logger.Level.debug
        var metadata = Logger.Metadata()

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { lines.append(metadata["request"].map { "\($0)" }, "\(event.message)") }
    }

    @Test("Every line about a request has its id, the caller's or a number")
    func requestIDs() async throws {
        let lines = Lines()
        let model = try await load { $0.logger = Logger(label: "test") { _ in Handler(lines: lines) } }
        let before = lines.all.count
        var named = options
        named.requestID = "abc"
        _ = try await model.answer("What is this?", images: [image], options: named)
        _ = try await model.answer("What is this?", options: options)
        _ = try? await model.answer("", options: options)
        let said = lines.all.dropFirst(before)
        #expect(said.map(\.request) == ["abc", "abc", "abc", "1", "1", "1", "2", "2"])
        #expect(said.last?.text.contains("neither text nor image") == true)
    }
}
