import FastVLM
import FastVLMEmbedded
import Foundation
import Testing

@testable import FastVLMServer

@Suite("Several models")
struct ModelStoreTests {
    private let two = [
        ServedModel(id: "first", source: .embedded, aliases: ["uno"]),
        ServedModel(id: "second", source: .embedded),
    ]

    private func ask(_ service: FastVLMService, _ model: String, _ more: String = "") async -> Reply {
        await service.call(
            "POST", "/v1/chat/completions",
            #"{"model":"\#(model)","messages":[{"role":"user","content":"Hello"}],"max_tokens":2\#(more)}"#)
    }

    @Test("The name in the request chooses; models are loaded when they are asked for")
    func choice() async {
        let service = service(models: two)
        func states() async -> [String] { await service.store.status.map(\.state) }
        #expect(await states() == ["unloaded", "unloaded"])
        for (name, id) in [
            ("second", "second"), ("second:latest", "second"), ("uno", "first"), ("", "first"),
        ] {
            #expect(await ask(service, name).json["model"] as? String == id)
        }
        #expect(await states() == ["loaded", "loaded"])
        let unknown = await ask(service, "third")
        #expect(unknown.head.status == 404)
        #expect((unknown.json["error"] as? [String: Any])?["code"] as? String == "model_not_found")
        #expect(await service.call("GET", "/v1/models/second").json["status"] as? String == "loaded")
        #expect(await service.call("GET", "/v1/models/third").head.status == 404)
    }

    @Test("A single model answers to any name and says its own")
    func single() async {
        let service = service()
        #expect(await ask(service, "gpt-4o-mini").json["model"] as? String == "fastvlm-small")
        #expect(await service.call("GET", "/v1/models/gpt-4o-mini").head.status == 404)
    }

    @Test("A model that nobody uses is unloaded after its time, and loaded again")
    func idle() async throws {
        let service = service(models: two) { $0.idleUnload = .seconds(60) }
        _ = await ask(service, "first")
        await service.store.unloadIdle(now: .now + .seconds(59))
        #expect(await service.store.status[0].state == "loaded")
        await service.store.unloadIdle(now: .now + .seconds(61))
        #expect(await service.store.status[0].state == "unloaded")
        #expect(await ask(service, "first").head.status == 200)
    }

    @Test("Ollama's keep_alive unloads at once, and keeps for ever")
    func keepAlive() async {
        let service = service { $0.idleUnload = .seconds(60) }
        func generate(_ keep: String) async -> Reply {
            await service.call("POST", "/api/generate", #"{"model":"m","keep_alive":\#(keep)}"#)
        }
        #expect(await generate("-1").json["done_reason"] as? String == "load")
        await service.store.unloadIdle(now: .now + .seconds(1_000_000))
        #expect(await service.store.status[0].state == "loaded")
        #expect(await generate("0").json["done_reason"] as? String == "unload")
        #expect(await service.store.status[0].state == "unloaded")
        // A question's is for that request; the next one that names none has the server's.
        let question = #"{"prompt":"Hello","stream":false,"keep_alive":0,"options":{"num_predict":2}}"#
        #expect(await service.call("POST", "/api/generate", question).head.status == 200)
        #expect(await service.store.status[0].state == "unloaded")
        #expect(await ask(service, "m").head.status == 200)
        await service.store.unloadIdle(now: .now + .seconds(59))
        #expect(await service.store.status[0].state == "loaded")
    }

    @Test("Within a memory budget the model that was used longest ago makes room")
    func budget() async {
        let size = ModelFiles(.embedded).bytes
        let service = service(models: two) { $0.memoryBudget = size * 3 / 2 }
        #expect(await ask(service, "first").head.status == 200)
        #expect(await ask(service, "second").head.status == 200)
        #expect(await service.store.status.map(\.state) == ["unloaded", "loaded"])
        let small = FastVLMServerTests.service(models: two) { $0.memoryBudget = size / 2 }
        let reply = await ask(small, "first")
        #expect(reply.head.status == 503)
        #expect((reply.json["error"] as? [String: Any])?["code"] as? String == "no_memory_for_model")
        #expect(ModelStore.oversized(two, budget: size / 2)?.id == "first")
        #expect(ModelStore.oversized(two, budget: size) == nil)
    }

    @Test("A limit of tokens above the server's is cut, and named")
    func mostTokens() async {
        let service = service { $0.maximumTokens = 3 }
        let body = #"{"messages":[{"role":"user","content":"Hello"}],"max_tokens":4}"#
        let reply = await service.call("POST", "/v1/chat/completions", body)
        #expect(reply.head.status == 200 && reply.head.headers["x-fastvlm-ignored"] == "max_tokens")
    }

    @Test("The time of a request ends it whatever it waits for")
    func requestTimeout() async {
        let service = service { $0.requestTimeout = .zero }
        let reply = await ask(service, "first")
        #expect(reply.head.status == 504)
        #expect((reply.json["error"] as? [String: Any])?["code"] as? String == "timeout")
    }

    @Test("A model that cannot be loaded is an error that tells nothing of the machine")
    func broken() async {
        let service = service(models: [
            ServedModel(id: "broken", source: .directory(URL(filePath: "/nowhere/secret")))
        ])
        for _ in 0..<2 {
            let reply = await ask(service, "broken")
            #expect(reply.head.status == 500 && !reply.text.contains("secret"))
        }
        await #expect(throws: FastVLMError.self) { try await service.store.loadFirst() }
        #expect(await service.call("GET", "/readyz").head.status == 503)
    }
}
