import CoreMetrics
import Foundation
import Testing

@testable import FastVLMServer

@Suite("Metrics in Prometheus' text format")
struct MetricsTests {
    @Test("Counters, gauges and histograms, sorted, with their labels")
    func text() {
        let registry = MetricsRegistry()
        registry.describe("a_total", "Things.")
        let factory = registry.labelled("model", "x\"\\\n")
        let counter = factory.makeCounter(label: "a_total", dimensions: [("kind", "b")])
        counter.increment(by: 2)
        counter.increment(by: 3)
        factory.makeMeter(label: "b.now", dimensions: []).set(1.5)
        let timer = factory.makeTimer(label: "c_seconds", dimensions: [])
        timer.recordNanoseconds(2_000_000)
        timer.recordNanoseconds(400_000_000_000)
        let label = #"model="x\"\\\n""#
        let lines = registry.text.split(separator: "\n").map(String.init)
        #expect(
            lines.prefix(5) == [
                "# HELP a_total Things.", "# TYPE a_total counter", "a_total{kind=\"b\",\(label)} 5",
                "# TYPE b_now gauge", "b_now{\(label)} 1.5",
            ])
        #expect(lines.contains("c_seconds_bucket{\(label),le=\"0.001\"} 0"))
        #expect(lines.contains("c_seconds_bucket{\(label),le=\"0.0025\"} 1"))
        #expect(lines.contains("c_seconds_bucket{\(label),le=\"300\"} 1"))
        #expect(lines.contains("c_seconds_bucket{\(label),le=\"+Inf\"} 2"))
        #expect(lines.contains("c_seconds_sum{\(label)} 400.002"))
        #expect(lines.last == "c_seconds_count{\(label)} 2")
    }

    @Test("A request is counted where it belongs")
    func requests() async throws {
        let service = service()
        let reply = await service.call(
            "POST", "/v1/chat/completions",
            #"{"messages":[{"role":"user","content":"Hello"}],"max_tokens":3}"#)
        let tokens = (reply.json["usage"] as? [String: Any])?["completion_tokens"] as? Int ?? 0
        #expect(tokens > 0)
        _ = await service.call("POST", "/v1/chat/completions", "{")
        _ = await service.call("MAKE\u{1}UP", "/nothing")
        let text = await service.call("GET", "/metrics").text
        for line in [
            #"fastvlm_http_requests_total{method="POST",route="/v1/chat/completions",status="200"} 1"#,
            #"fastvlm_http_requests_total{method="POST",route="/v1/chat/completions",status="400"} 1"#,
            #"fastvlm_http_requests_total{method="other",route="(none)",status="404"} 1"#,
            #"fastvlm_refused_total{reason="invalid_request"} 1"#,
            #"fastvlm_tokens_total{model="fastvlm-small"} \#(tokens)"#,
            "fastvlm_queue_seconds_count 1", "fastvlm_models_loaded 1",
        ] { #expect(text.contains(line + "\n"), "\(line)") }
        #expect(text.contains("process_resident_memory_bytes "))
    }
}
