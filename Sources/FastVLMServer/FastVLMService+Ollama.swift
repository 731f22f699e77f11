internal import FastVLM
internal import Foundation
internal import RequestTranslation
internal import WireFormats

/// Ollama's interface.
extension FastVLMService {
    func ollamaChat(_ exchange: Exchange) async throws {
        try await answer(exchange, Ollama.chatRequest(exchange.body), isChat: true)
    }

    func ollamaGenerate(_ exchange: Exchange) async throws {
        try await answer(exchange, Ollama.generateRequest(exchange.body), isChat: false)
    }

    private func answer(_ exchange: Exchange, _ request: Ollama.Request, isChat: Bool) async throws {
        let name = request.chat.model
        guard !request.isEmpty else {
            // Without a question it is about loading; 0 asks to unload.
            let unloads = request.keepAlive == 0
            if unloads { try await store.keep(name, for: 0) }
            let id =
                unloads
                ? try await store.status(of: name).id
                : try await store.withModel(name, keepAlive: request.keepAlive) { $0.id }
            let line = Ollama.Line(
                model: name ?? id, createdAt: Self.timestamp(), text: "", isChat: isChat,
                reason: unloads ? "unload" : "load")
            await store.unloadIdle()
            return exchange.respond(Response(type: "application/json", try WireText.json(line)))
        }
        try await store.withModel(name, keepAlive: request.keepAlive) { lease in
            let events = try await events(request.chat, lease, exchange)
            let writer = OllamaWriter(
                // Clients look for the name that they asked for.
                model: name ?? lease.id, isChat: isChat, lease: lease, exchange: exchange, service: self)
            try await writer.write(events, streams: request.chat.streams)
        }
        if request.keepAlive == 0 { await store.unloadIdle() }
    }

    static func timestamp(_ date: Date = Date()) -> String {
        date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }

    // MARK: - Models

    func ollamaTags(_ exchange: Exchange) async throws {
        let models = await store.status.map(Self.ollamaModel)
        exchange.respond(Response(type: "application/json", try WireText.json(Ollama.ModelList(models))))
    }

    func ollamaRunning(_ exchange: Exchange) async throws {
        let models = await store.status.filter { $0.state == "loaded" }.map { status in
            var model = Self.ollamaModel(status)
            // Far away where it stays: clients want a time.
            model.expiresAt = Self.timestamp(Date(timeIntervalSinceNow: status.expiresIn ?? 1e9))
            model.sizeVram = 0
            model.contextLength = status.information?.contextLength
            return model
        }
        exchange.respond(Response(type: "application/json", try WireText.json(Ollama.ModelList(models))))
    }

    func ollamaShow(_ exchange: Exchange) async throws {
        // Clients ask for the name that they chat with.
        let status = try await store.status(of: try Ollama.shownModel(exchange.body))
        var description = Ollama.Description(
            details: Self.details(status), template: status.information?.template ?? "",
            contextLength: status.information?.contextLength,
            tokensPerImage: status.information?.tokensPerImage)
        description.modifiedAt = status.files.modified.map { Self.timestamp($0) }
        exchange.respond(Response(type: "application/json", try WireText.json(description)))
    }

    func ollamaVersion(_ exchange: Exchange) throws {
        exchange.respond(
            Response(type: "application/json", try WireText.json(Ollama.Version(options.version))))
    }

    private static func ollamaModel(_ status: ModelStore.Status) -> Ollama.Model {
        var model = Ollama.Model(
            name: status.id, size: status.files.bytes, digest: status.files.digest, details: details(status))
        model.modifiedAt = timestamp(status.files.modified ?? Date(timeIntervalSince1970: 0))
        return model
    }

    private static func details(_ status: ModelStore.Status) -> Ollama.Details {
        Ollama.Details(parameterSize: "", quantizationLevel: status.information?.precision.rawValue ?? "")
    }
}

/// Brings the events of an answer into Ollama's form.
struct OllamaWriter: Sendable {
    let model: String
    let isChat: Bool
    let lease: ModelStore.Lease
    let exchange: Exchange
    let service: FastVLMService

    func write(_ events: AsyncThrowingStream<IndexedEvent, any Error>, streams: Bool) async throws {
        var answer: Answer?
        for try await event in events {
            if streams, !exchange.hasBegun {
                exchange.begin(
                    ResponseHead(
                        200, ["content-type": "application/x-ndjson", "x-accel-buffering": "no"]))
            }
            switch event.event {
            case .text(let text) where streams: exchange.write(try WireText.line(line(text)))
            case .finished(let finished): answer = finished
            default: break
            }
        }
        // A stream ends without its answer only when this task was cancelled.
        guard let answer else { throw CancellationError() }
        let numbers = service.note([answer], lease, exchange)
        let timings = numbers.timings
        let totals = Ollama.Totals(
            total: (ContinuousClock.now - exchange.start).inSeconds, load: lease.loadSeconds,
            promptCount: numbers.usage.promptTokens, prompt: timings.promptMs / 1000,
            count: numbers.usage.completionTokens, generation: timings.predictedMs / 1000)
        let last = Ollama.Line(
            model: model, createdAt: FastVLMService.timestamp(), text: streams ? "" : answer.text,
            isChat: isChat, reason: answer.finishReason.rawValue, totals: totals)
        if streams {
            exchange.write(try WireText.line(last))
        } else {
            var response = Response(type: "application/json", try WireText.json(last))
            response.head.headers.set("server-timing", timings.header)
            exchange.respond(response)
        }
    }

    private func line(_ text: String) -> Ollama.Line {
        Ollama.Line(model: model, createdAt: FastVLMService.timestamp(), text: text, isChat: isChat)
    }
}
