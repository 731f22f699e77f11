import FastVLM
import FastVLMEmbedded
import Foundation
import Testing

@testable import FastVLMServer

@Suite("OpenAI's and Ollama's interfaces")
struct InterfaceTests {
    /// One for all tests: what they ask does not change it.
    private static let shared = service()
    private var server: FastVLMService { Self.shared }

    @Test("An answer over the interface is the library's")
    func plain() async throws {
        let model = try await VisionLanguageModel(contentsOf: .embedded)
        let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Samples/single-banana.jpg")
        let expected = try await model.answer("What is this?", images: [.file(url)])
        let reply = await server.call(
            "POST", "/v1/chat/completions", try question("What is this?", "single-banana.jpg"),
            headers: ["x-request-id": "abc-1"])
        #expect(reply.head.status == 200)
        #expect(reply.head.headers["content-type"] == "application/json")
        #expect(reply.head.headers["x-request-id"] == "abc-1")
        #expect(reply.head.headers["server-timing"]?.contains("ttft;dur=") == true)
        let choice = (reply.json["choices"] as? [[String: Any]])?.first
        let message = choice?["message"] as? [String: Any]
        #expect(message?["content"] as? String == expected.text)
        #expect(message?["role"] as? String == "assistant")
        #expect(choice?["finish_reason"] as? String == expected.finishReason.rawValue)
        let usage = reply.json["usage"] as? [String: Any]
        #expect(
            usage?["prompt_tokens"] as? Int == expected.usage.promptTokens + expected.usage.cachedTokens)
        #expect(usage?["completion_tokens"] as? Int == expected.usage.completionTokens)
        #expect(
            (reply.json["timings"] as? [String: Any])?["predicted_n"] as? Int
                == expected.usage.completionTokens)
    }

    @Test("A stream's pieces are the answer, from the role to [DONE]")
    func stream() async throws {
        let whole = await server.call(
            "POST", "/v1/chat/completions", try question("Describe the image.", "single-helicopter.png"))
        let reply = await server.call(
            "POST", "/v1/chat/completions",
            try question(
                "Describe the image.", "single-helicopter.png",
                #","stream":true,"stream_options":{"include_usage":true}"#))
        #expect(reply.head.headers["content-type"]?.hasPrefix("text/event-stream") == true)
        #expect(reply.text.hasSuffix("data: [DONE]\n\n"))
        let events = reply.events
        let deltas = events.compactMap {
            ($0["choices"] as? [[String: Any]])?.first?["delta"] as? [String: Any]
        }
        #expect(deltas.first?["role"] as? String == "assistant")
        let expected = (whole.json["choices"] as? [[String: Any]])?.first?["message"] as? [String: Any]
        #expect(
            deltas.compactMap { $0["content"] as? String }.joined() == expected?["content"] as? String)
        let last = events.last
        #expect((last?["choices"] as? [Any])?.isEmpty == true)
        #expect((last?["usage"] as? [String: Any])?["total_tokens"] as? Int ?? 0 > 0)
        let ends = events.compactMap {
            ($0["choices"] as? [[String: Any]])?.first?["finish_reason"] as? String
        }
        #expect(ends == ["stop"])
    }

    @Test("Images are counted whether or not they are remembered, at the side that was asked for")
    func imageTokens() async throws {
        func tokens(_ fields: String) async throws -> (image: Int, cached: Int) {
            let reply = await server.call(
                "POST", "/v1/chat/completions",
                try question("How many are there?", "pair-taco.png", ",\"max_tokens\":2" + fields))
            let details = (reply.json["usage"] as? [String: Any])?["prompt_tokens_details"] as? [String: Any]
            return (details?["image_tokens"] as? Int ?? 0, details?["cached_tokens"] as? Int ?? 0)
        }
        let first = try await tokens("")
        let again = try await tokens("")
        #expect(first.image > 0 && again.image == first.image && again.cached > first.image)
        #expect(try await tokens(",\"resolution\":64").image == 1)
        let model = await server.call("GET", "/v1/models/fastvlm-small")
        let meta = model.json["meta"] as? [String: Any]
        #expect(meta?["image_size_step"] as? Int == 64 && meta?["largest_image_size"] as? Int == 1024)
        for side in ["65", "1088", "0", "\"512\""] {
            let reply = await server.call(
                "POST", "/v1/chat/completions", try question("?", "pair-taco.png", ",\"resolution\":\(side)"))
            #expect(reply.head.status == 400)
            #expect((reply.json["error"] as? [String: Any])?["param"] as? String == "resolution", "\(side)")
        }
    }

    @Test("Several answers of one request, each with its index")
    func several() async throws {
        let reply = await server.call(
            "POST", "/v1/chat/completions",
            try question(
                "Describe the image.", "pair-taco.png", #","n":3,"temperature":1.5,"seed":7"#))
        let choices = reply.json["choices"] as? [[String: Any]]
        #expect(choices?.compactMap { $0["index"] as? Int } == [0, 1, 2])
        let again = await server.call(
            "POST", "/v1/chat/completions",
            try question(
                "Describe the image.", "pair-taco.png", #","n":3,"temperature":1.5,"seed":7"#))
        func texts(_ reply: Reply) -> [String] {
            (reply.json["choices"] as? [[String: Any]] ?? []).compactMap {
                ($0["message"] as? [String: Any])?["content"] as? String
            }
        }
        #expect(texts(reply) == texts(again) && texts(reply).count == 3)
    }

    @Test("Log-probabilities cover every token, whole and in a stream")
    func logProbabilities() async throws {
        let more = #","logprobs":true,"top_logprobs":2"#
        let reply = await server.call(
            "POST", "/v1/chat/completions", try question("What is this?", "single-banana.jpg", more))
        func tokens(_ choice: [String: Any]?) -> [[String: Any]] {
            ((choice?["logprobs"] as? [String: Any])?["content"] as? [[String: Any]]) ?? []
        }
        let whole = tokens((reply.json["choices"] as? [[String: Any]])?.first)
        let usage = reply.json["usage"] as? [String: Any]
        #expect(whole.count == usage?["completion_tokens"] as? Int)
        #expect(whole.allSatisfy { ($0["top_logprobs"] as? [Any])?.count == 2 && $0["bytes"] is [Any] })
        let streamed = await server.call(
            "POST", "/v1/chat/completions",
            try question("What is this?", "single-banana.jpg", more + #","stream":true"#))
        let pieces = streamed.events.flatMap { tokens(($0["choices"] as? [[String: Any]])?.first) }
        #expect(pieces.compactMap { $0["token"] as? String } == whole.compactMap { $0["token"] as? String })
    }

    @Test("Answers keep to the form that is asked for, in either interface; what cannot be kept is refused")
    func formats() async throws {
        let schema =
            #"{"type":"object","properties":{"count":{"type":"integer"}},"required":["count"],"additionalProperties":false}"#
        let format =
            #","response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":\#(schema)}}"#
        func content(_ reply: Reply) -> String {
            let choice = (reply.json["choices"] as? [[String: Any]])?.first
            return (choice?["message"] as? [String: Any])?["content"] as? String ?? reply.text
        }
        func object(_ text: String) -> [String: Any]? {
            (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any]
        }
        let reply = await server.call(
            "POST", "/v1/chat/completions", try question("How many?", "count-crown.jpg", format))
        #expect(object(content(reply))?["count"] is Int, "\(content(reply))")
        let chosen = await server.call(
            "POST", "/v1/chat/completions",
            try question("What is this?", "single-banana.jpg", #","guided_choice":["cherry","apple pie"]"#))
        #expect(["cherry", "apple pie"].contains(content(chosen)))
        let image = try sample("count-crown.jpg").split(separator: ",")[1]
        let ollama = await server.call(
            "POST", "/api/generate",
            #"{"prompt":"How many?","images":["\#(image)"],"stream":false,"format":\#(schema)}"#)
        #expect(object(ollama.json["response"] as? String ?? "")?["count"] is Int)
        let refused = await server.call(
            "POST", "/v1/chat/completions",
            #"{"messages":[{"role":"user","content":"x"}],"guided_regex":"(","stream":true}"#)
        #expect(refused.head.status == 400 && refused.pieces == 0)
        #expect((refused.json["error"] as? [String: Any])?["param"] as? String == "response_format")
    }

    @Test("Fields without effect are named in a header")
    func ignored() async throws {
        let reply = await server.call(
            "POST", "/v1/chat/completions",
            #"{"messages":[{"role":"user","content":"Hello"}],"tools":[1],"a b\r\nx":1,"max_tokens":2}"#)
        #expect(reply.head.status == 200)
        #expect(reply.head.headers["x-fastvlm-ignored"] == "tools, a?b??x")
    }

    @Test("Errors before the first token are plain errors, for streams too")
    func errors() async throws {
        let damaged =
            "data:image/png;base64," + Data("\u{89}PNG\r\n\u{1A}\nno image at all".utf8).base64EncodedString()
        for more in ["", #","stream":true"#] {
            let image = await server.call(
                "POST", "/v1/chat/completions",
                #"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"\#(damaged)"}]}]\#(more)}"#
            )
            #expect(image.head.status == 400 && image.pieces == 0)
            let error = image.json["error"] as? [String: Any]
            #expect(["invalid_image", "unsupported_image"].contains(error?["code"] as? String))
            #expect(error?["request_id"] as? String == image.head.headers["x-request-id"])
            let long = String(repeating: "word ", count: 20000)
            let context = await server.call(
                "POST", "/v1/chat/completions",
                #"{"messages":[{"role":"user","content":"\#(long)"}]\#(more)}"#)
            #expect(context.head.status == 400)
            #expect(
                (context.json["error"] as? [String: Any])?["code"] as? String == "context_length_exceeded")
            let address = await server.call(
                "POST", "/v1/chat/completions",
                #"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"https://127.0.0.1/x"}]}]\#(more)}"#
            )
            #expect((address.json["error"] as? [String: Any])?["code"] as? String == "remote_images_disabled")
        }
        let ollama = await server.call("POST", "/api/chat", #"{"messages":[{"role":"user","content":3}]}"#)
        #expect(ollama.head.status == 400 && ollama.json["error"] is String)
    }

    @Test("Unknown addresses and methods are JSON errors")
    func addresses() async {
        #expect(await server.call("GET", "/v2").head.status == 404)
        #expect(await server.call("GET", "/api/none").json["error"] is String)
        let wrong = await server.call("GET", "/v1/chat/completions")
        #expect(wrong.head.status == 405 && wrong.head.headers["allow"] == "POST, OPTIONS")
        let head = await server.call("HEAD", "/v1/models")
        #expect(head.head.status == 200 && head.body.isEmpty)
        #expect(Int(head.head.headers["content-length"] ?? "") ?? 0 > 0)
        #expect(await server.call("OPTIONS", "/v1/models").head.headers["allow"] == "GET, HEAD, OPTIONS")
        #expect(await server.call("GET", "/%").head.status == 404)
        #expect(await server.call("GET", "/v1/models?x=1").head.status == 200)
    }

    @Test("Ollama's chat: lines of a stream, and one object without")
    func ollamaChat() async throws {
        let image = try sample("single-banana.jpg").split(separator: ",")[1]
        let body =
            #"{"model":"any:latest","messages":[{"role":"user","content":"What is this?","images":["\#(image)"]}]"#
        let reply = await server.call("POST", "/api/chat", body + "}")
        #expect(reply.head.headers["content-type"] == "application/x-ndjson")
        let lines = reply.events
        #expect(lines.last?["done"] as? Bool == true && lines.last?["done_reason"] as? String == "stop")
        #expect(lines.last?["eval_count"] as? Int ?? 0 > 0 && lines.last?["total_duration"] as? Int ?? 0 > 0)
        #expect(lines.allSatisfy { $0["model"] as? String == "any:latest" })
        let text = lines.compactMap { ($0["message"] as? [String: Any])?["content"] as? String }.joined()
        let whole = await server.call("POST", "/api/chat", body + #","stream":false}"#)
        #expect((whole.json["message"] as? [String: Any])?["content"] as? String == text && !text.isEmpty)
        let generated = await server.call(
            "POST", "/api/generate",
            #"{"model":"any","prompt":"What is this?","images":["\#(image)"],"stream":false}"#)
        #expect(generated.json["response"] as? String == text)
    }

    @Test("Ollama's lists and the sentence that its clients look for")
    func ollamaLists() async throws {
        let model = (await server.call("GET", "/api/tags").json["models"] as? [[String: Any]])?.first
        #expect(model?["name"] as? String == "fastvlm-small" && model?["model"] as? String != nil)
        #expect((model?["digest"] as? String)?.count == 64 && model?["size"] as? Int ?? 0 > 1_000_000)
        let shown = await server.call("POST", "/api/show", #"{"model":"fastvlm-small:latest"}"#)
        // One model has any name, as in chat.
        #expect(await server.call("POST", "/api/show", #"{"model":"none"}"#).head.status == 200)
        #expect(shown.json["capabilities"] as? [String] == ["completion", "vision"])
        #expect(await server.call("GET", "/api/version").json["version"] as? String == "test")
        #expect(await server.call("GET", "/").text == "Ollama is running")
        #expect(await server.call("HEAD", "/").head.status == 200)
    }

    @Test("A form with a file gets text, or JSON")
    func describe() async throws {
        let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Samples/single-banana.jpg")
        var form = Data("--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n".utf8)
        form.append(try Data(contentsOf: url))
        form.append(
            Data(
                "\r\n--B\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nWhat is this?\r\n--B--\r\n"
                    .utf8))
        let type: HeaderFields = ["content-type": "multipart/form-data; boundary=B"]
        let reply = await server.call("POST", "/v1/describe", data: form, headers: type)
        #expect(reply.text == "A banana.\n", "\(reply.text)")
        var json = type
        json.append("accept", "application/json")
        #expect(
            await server.call("POST", "/v1/describe", data: form, headers: json).json["text"] as? String
                == "A banana.")
        #expect(await server.call("POST", "/v1/describe", "{}").head.status == 400)
    }

    @Test("Embeddings are the encoder's mean features of length 1, the same in both encodings")
    func embeddings() async throws {
        let image = try sample("single-banana.jpg")
        let reply = await server.call("POST", "/v1/embeddings", #"{"input":["\#(image)","\#(image)"]}"#)
        let data = reply.json["data"] as? [[String: Any]]
        let vectors = data?.compactMap { $0["embedding"] as? [Double] } ?? []
        #expect(vectors.count == 2 && vectors.first == vectors.last)
        #expect(abs((vectors.first ?? []).reduce(0) { $0 + $1 * $1 } - 1) < 1e-4)
        let encoded = await server.call(
            "POST", "/v1/embeddings", #"{"input":"\#(image)","encoding_format":"base64"}"#)
        let text = (encoded.json["data"] as? [[String: Any]])?.first?["embedding"] as? String
        let bytes = Data(base64Encoded: text ?? "") ?? Data()
        #expect(bytes.count == (vectors.first?.count ?? -1) * 4)
        #expect(FastVLMService.pooled([1, 0, 3, 0], channels: 2) == [1, 0])
    }
}
