import FastVLM
import FastVLMEmbedded
import Foundation
import Testing

@testable import BatchAnswers

@Suite("Items are answered by the embedded model")
struct AnsweringTests {
    private static let samples = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Samples").path

    private static let model = Task {
        var options = LoadOptions()
        options.imageSize = 256
        options.prefersThroughput = true
        return try await VisionLanguageModel(contentsOf: .embedded, options: options)
    }

    private func records(
        _ lines: String, timings: Bool = false, _ change: (inout GenerationOptions) -> Void = { _ in }
    ) async throws -> [[String: Any]] {
        var options = GenerationOptions()
        options.maximumTokens = 16
        change(&options)
        let answering = ItemAnswering(
            try await Self.model.value, named: "small", folder: Self.samples, options: options,
            includesTimings: timings)
        return try await withSource(lines) { source in
            var records: [[String: Any]] = []
            _ = try await BatchRun().run(source) {
                try await answering.record($0)
            } write: { record, _ in
                #expect(record.line.last == 0x0A && record.line.dropLast().contains(0x0A) == false)
                records.append(record.object)
            }
            return records
        }
    }

    @Test("Paths, data: addresses and base64 come to the same answer, which is that of the library")
    func images() async throws {
        let data = try Data(contentsOf: URL(filePath: Self.samples + "/single-banana.jpg"))
        let base64 = data.base64EncodedString()
        let records = try await records(
            """
            {"id":1,"image":"single-banana.jpg","question":"What is this?"}
            {"id":2,"image":"\(Self.samples)/single-banana.jpg","question":"What is this?"}
            {"id":3,"image":"data:image/jpeg;base64,\(base64)","question":"What is this?"}
            {"id":4,"images":["\(base64)"],"question":"What is this?"}
            {"id":5,"messages":[{"role":"user","content":"What is this?","images":["single-banana.jpg"]}]}
            """)
        var options = GenerationOptions()
        options.maximumTokens = 16
        let expected = try await Self.model.value.answer(
            "What is this?", images: [.data(data)], options: options)
        #expect(expected.text == "A banana.")
        #expect(records.map { $0["id"] as? Int } == [1, 2, 3, 4, 5])
        for record in records {
            #expect(
                record["text"] as? String == expected.text && record["finish_reason"] as? String == "stop")
            let usage = record["usage"] as? [String: Any]
            #expect(
                usage?["prompt_tokens"] as? Int == expected.usage.promptTokens + expected.usage.cachedTokens)
            #expect(usage?["completion_tokens"] as? Int == expected.usage.completionTokens)
            #expect(record["timings"] == nil && record["error"] == nil)
        }
    }

    @Test("Options of an item go before those of the batch")
    func options() async throws {
        let records = try await records(
            #"""
            {"id":1,"image":"single-banana.jpg","question":"What is this?","max_tokens":1}
            {"id":2,"image":"single-banana.jpg","question":"What is this?"}
            {"id":3,"image":"single-banana.jpg","question":"What is this?","guided_choice":["yes","no"]}
            {"id":4,"image":"single-banana.jpg","question":"What is this?","logprobs":true,"max_tokens":3}
            """#, timings: true
        ) { $0.maximumTokens = 2 }
        #expect(records[0]["finish_reason"] as? String == "length")
        let tokens = records.map { ($0["usage"] as? [String: Any])?["completion_tokens"] as? Int }
        #expect(tokens[0] == 1 && tokens[1] == 2 && tokens[3] == 3)
        #expect(["yes", "no"].contains(records[2]["text"] as? String))
        let content = (records[3]["logprobs"] as? [String: Any])?["content"] as? [[String: Any]]
        #expect(content?.count == 3 && content?.allSatisfy { $0["logprob"] is Double } == true)
        let timings = records[0]["timings"] as? [String: Any]
        #expect((timings?["time_to_first_token"] as? Double ?? 0) > 0)
        #expect((timings?["total"] as? Double ?? 0) > 0)
    }

    @Test("What is wrong with an item is its own error, with a code")
    func errors() async throws {
        let records = try await records(
            """
            {"id":"none","image":"none.png","question":"?"}
            {"id":"text","image":"../README.md","question":"?"}
            {"id":"folder","image":"/","question":"?"}
            {"id":"device","image":"/dev/zero","question":"?"}
            {"id":"web","image":"https://example.org/a.png","question":"?"}
            {"id":"option","question":"?","max_tokens":0}
            {"id":"top","question":"?","guided_regex":"("}
            {"id":"long","question":"\(String(repeating: "word ", count: 40000))"}
            no json
            {"id":"good","question":"?"}
            """)
        #expect(
            records.map { ($0["error"] as? [String: Any])?["code"] as? String } == [
                "unreadable_image", "unsupported_image", "unreadable_image", "unreadable_image",
                "remote_images_disabled", "invalid_request", "invalid_option", "context_length_exceeded",
                "invalid_request", nil,
            ])
        #expect(records[8]["id"] is NSNull && records[8]["line"] as? Int == 9)
        for record in records.dropLast() {
            let message = (record["error"] as? [String: Any])?["message"] as? String
            #expect(message?.isEmpty == false && record["text"] == nil)
        }
    }

    @Test("Answers to OpenAI's lines have the form of its output files")
    func openAI() async throws {
        let records = try await records(
            #"""
            {"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"x","messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"single-banana.jpg"}}]}]}}
            {"custom_id":"b","body":{"messages":[]}}
            """#)
        #expect(records.map { $0["custom_id"] as? String } == ["a", "b"])
        #expect(records[0]["error"] is NSNull && records[0]["id"] as? String == "batch_req_1")
        let response = try #require(records[0]["response"] as? [String: Any])
        #expect(response["status_code"] as? Int == 200)
        let body = try #require(response["body"] as? [String: Any])
        #expect(body["object"] as? String == "chat.completion" && body["model"] as? String == "small")
        let choice = (body["choices"] as? [[String: Any]])?.first
        #expect((choice?["message"] as? [String: Any])?["content"] as? String == "A banana.")
        #expect(choice?["finish_reason"] as? String == "stop")
        let failed = try #require(records[1]["response"] as? [String: Any])
        #expect(failed["status_code"] as? Int == 400)
        let error = (failed["body"] as? [String: Any])?["error"] as? [String: Any]
        #expect(error?["param"] as? String == "messages")
        #expect((records[1]["error"] as? [String: Any])?["code"] as? String == "invalid_request")
    }

    @Test("Fields that nobody reads are told")
    func ignored() async throws {
        let answering = ItemAnswering(try await Self.model.value, named: "small", folder: Self.samples)
        let items = try await withSource(#"{"question":"?","max_token":1,"max_tokens":1}"#) {
            try $0.all().items
        }
        #expect(try await answering.record(items[0]).ignored == ["max_token"])
    }
}
