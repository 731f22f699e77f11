import FastVLM
import FastVLMEmbedded
import Foundation
import Logging
import Synchronization
import Testing

@testable import FastVLMServer

@Suite("Limits and states of the server")
struct LimitTests {
    private let hello = #"{"messages":[{"role":"user","content":"Hello"}],"max_tokens":3}"#

    @Test("A body over the limit is refused by its length, and the connection ends")
    func bodyLength() async {
        let service = service { $0.maximumBody = 100 }
        let reply = await service.call(
            "POST", "/v1/chat/completions", data: nil, headers: ["content-length": "101"])
        #expect(reply.head.status == 413 && reply.head.closesConnection)
        #expect((reply.json["error"] as? [String: Any])?["code"] as? String == "body_too_large")
        for fault in [FastVLMService.BodyFault.tooLarge, .late, .noMemory] {
            let collector = PartCollector()
            let head = RequestHead(method: "POST", target: "/api/chat", host: "localhost")
            let reception = service.receive(head, send: collector.add)
            #expect(reception != nil)
            if let reception { service.refuseBody(of: reception, fault, send: collector.add) }
            #expect(collector.reply?.head.closesConnection == true)
            #expect(collector.reply?.json["error"] is String)
        }
    }

    @Test("Bodies of all requests are bounded together")
    func bodyMemory() {
        let service = service { $0.bodyMemory = 100 }
        #expect(service.claim(bodyBytes: 60))
        #expect(!service.claim(bodyBytes: 41))
        #expect(service.claim(bodyBytes: 40))
        service.release(bodyBytes: 60)
        #expect(service.claim(bodyBytes: 60))
    }

    @Test("More images than the server takes are refused")
    func images() async throws {
        let service = service { $0.maximumImages = 1 }
        let image = #"{"type":"image_url","image_url":"\#(try sample("number-68.png"))"}"#
        let reply = await service.call(
            "POST", "/v1/chat/completions", #"{"messages":[{"role":"user","content":[\#(image),\#(image)]}]}"#
        )
        #expect((reply.json["error"] as? [String: Any])?["code"] as? String == "too_many_images")
    }

    @Test("An answer is never longer than the server allows")
    func tokens() async throws {
        let service = service { $0.maximumTokens = 2 }
        let reply = await service.call(
            "POST", "/v1/chat/completions",
            try question("What is this?", "single-banana.jpg", #","max_tokens":100000"#))
        let choice = (reply.json["choices"] as? [[String: Any]])?.first
        #expect(choice?["finish_reason"] as? String == "length")
        #expect((reply.json["usage"] as? [String: Any])?["completion_tokens"] as? Int == 2)
    }

    @Test("Beyond the queue requests get 429 with their place and when to come back")
    func queue() async throws {
        let service = service {
            $0.load.maximumRunning = 1
            $0.load.maximumWaiting = 1
        }
        _ = await service.call("POST", "/v1/chat/completions", hello)
        let replies = await withTaskGroup(of: Reply.self) { group in
            for _ in 0..<12 { group.addTask { await service.call("POST", "/v1/chat/completions", hello) } }
            var replies: [Reply] = []
            for await reply in group { replies.append(reply) }
            return replies
        }
        // The first one is taken in any case; how many find a place behind it depends on its speed.
        #expect(replies.contains { $0.head.status == 200 })
        let refused = replies.filter { $0.head.status == 429 }
        #expect(refused.count + replies.count { $0.head.status == 200 } == 12)
        for reply in refused {
            #expect(Int(reply.head.headers["retry-after"] ?? "") ?? 0 >= 1)
            #expect(Int(reply.head.headers["x-fastvlm-queue-position"] ?? "") ?? 0 >= 1)
            #expect((reply.json["error"] as? [String: Any])?["code"] as? String == "overloaded")
        }
        #expect(service.current == 0)
    }

    @Test("While it ends the server takes nothing new, and says that it lives")
    func draining() async {
        let service = service()
        service.drain()
        let reply = await service.call("POST", "/v1/chat/completions", hello)
        #expect(reply.head.status == 503 && reply.head.headers["retry-after"] != nil)
        #expect(reply.head.closesConnection)
        #expect(await service.call("GET", "/health").json["status"] as? String == "shutting down")
    }

    @Test("A request that is cancelled ends without an answer")
    func cancellation() async throws {
        let log = LogLines()
        let service = service(logger: log.logger)
        let task = Task {
            await service.call(
                "POST", "/v1/chat/completions",
                #"{"messages":[{"role":"user","content":"Hello"}],"max_tokens":64}"#)
        }
        task.cancel()
        let reply = await task.value
        #expect(reply.head.status == 0)
        #expect(log.lines.contains { $0.contains(#""status":"499""#) })
        // The next one is answered.
        #expect(await service.call("POST", "/v1/chat/completions", hello).head.status == 200)
    }

    @Test("The log has no question, answer or image unless it is asked for")
    func prompts() async throws {
        for logs in [false, true] {
            let log = LogLines()
            let service = service(logger: log.logger) { $0.logsPrompts = logs }
            _ = await service.call(
                "POST", "/v1/chat/completions", try question("What is this?", "single-banana.jpg"))
            let text = log.lines.joined()
            #expect(text.contains("What is this?") == logs && text.contains("banana") == logs)
            #expect(!text.contains("base64") && text.contains(#""route":"/v1/chat/completions""#))
        }
    }
}

/// What was logged, one JSON object a line.
final class LogLines: Sendable {
    private let text = Mutex<[String]>([])

    var lines: [String] { text.withLock { $0 } }

    var logger: Logger {
        var logger = Logger(label: "test") { label in
            JSONLogHandler(label: label) { line in self.text.withLock { $0.append(line) } }
        }
        logger.logLevel = .debug
        return logger
    }
}
