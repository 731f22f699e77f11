internal import FastVLM
internal import Foundation
internal import RequestTranslation
internal import WireFormats

/// What belongs to no other program's interface.
extension FastVLMService {
    private struct Health: Encodable {
        var status: String
        var version: String
    }

    /// Whether the server works: 503 while its model is being loaded and while it ends.
    func health(_ exchange: Exchange) async throws {
        let status = isDraining ? "shutting down" : store.isStarting ? "loading model" : "ok"
        let body = try WireText.json(Health(status: status, version: options.version))
        exchange.respond(Response(status == "ok" ? 200 : 503, type: "application/json", body))
    }

    /// Whether a request would be answered now.
    func ready(_ exchange: Exchange) async throws {
        let isReady = await store.isReady
        exchange.respond(Response(isReady ? 200 : 503, text: isReady ? "ok\n" : "loading\n"))
    }

    func metrics(_ exchange: Exchange) async throws {
        let loaded = await store.status.count { $0.state == "loaded" }
        counts.measure(models: loaded, requests: load.current)
        exchange.respond(
            Response(type: "text/plain; version=0.0.4; charset=utf-8", Data(registry.text.utf8)))
    }

    /// The page for browsers; Ollama's clients look for its sentence.
    func root(_ exchange: Exchange) throws {
        guard exchange.head.headers["accept"]?.contains("text/html") ?? false else {
            var response = Response(text: "Ollama is running")
            response.head.headers.set("vary", "Accept")
            return exchange.respond(response)
        }
        try page(exchange, "/")
    }

    /// One of the page's files.
    func page(_ exchange: Exchange, _ path: String) throws {
        guard let file = Page.files.first(where: { $0.path == path }) else {
            throw Refusal.notFound("There is nothing at this address.")
        }
        var response = Response(type: file.contentType, Data(file.bytes))
        for (name, value) in Page.headers { response.head.headers.set(name, value) }
        if path == "/" { response.head.headers.set("vary", "Accept") }
        exchange.respond(response)
    }

    private struct DescriptionText: Encodable {
        var text: String
        var model: String
        var finishReason: String
        var usage: OpenAI.Usage
        var timings: StageTimings
    }

    /// A form with a file and a question; the answer is plain text, or JSON for those who accept only that.
    func describe(_ exchange: Exchange) async throws {
        let form = try MultipartForm(
            contentType: exchange.head.headers["content-type"] ?? "", body: exchange.body)
        let images = form.parts.filter { ["file", "image", "files", "images"].contains($0.name) }
        guard !images.isEmpty else {
            throw RequestError("the form has no part named file", parameter: "file")
        }
        let prompt = try form.text("prompt") ?? form.text("question") ?? ""
        var parts = images.map { ChatMessage.Part.image(.data($0.data)) }
        parts.append(.text(prompt.isEmpty ? "Describe the image." : prompt))
        let (turns, _) = try ChatConversation.turns([ChatMessage(.user, parts)])
        var request = ChatRequest(
            model: try form.text("model"), messages: turns, parameters: GenerationParameters(), streams: false
        )
        if let text = try form.text("max_tokens") {
            guard let most = Int(text), most > 0 else {
                throw RequestError("max_tokens must be an integer of at least 1", parameter: "max_tokens")
            }
            request.parameters.maximumTokens = most
        }
        if let text = try form.text("temperature") {
            guard let temperature = Double(text), (0...2).contains(temperature) else {
                throw RequestError("temperature must be a number from 0 to 2", parameter: "temperature")
            }
            request.parameters.temperature = temperature
        }
        if let text = try form.text("resolution") {
            guard let side = Int(text), side > 0 else {
                throw RequestError("resolution must be an integer of at least 1", parameter: "resolution")
            }
            request.parameters.resolution = side
        }
        let known = [
            "file", "image", "files", "images", "prompt", "question", "model", "max_tokens", "temperature",
            "resolution",
        ]
        request.ignored = form.parts.map(\.name).filter { !known.contains($0) }
        try await respond(to: request, exchange)
    }

    private func respond(to request: ChatRequest, _ exchange: Exchange) async throws {
        try await store.withModel(request.model) { lease in
            var answer: Answer?
            for try await event in try await events(request, lease, exchange) {
                if case .finished(let finished) = event.event { answer = finished }
            }
            guard let answer else { throw CancellationError() }
            let numbers = note([answer], lease, exchange)
            let wantsJSON = exchange.head.headers["accept"]?.contains("application/json") ?? false
            var response =
                wantsJSON
                ? Response(
                    type: "application/json",
                    try WireText.json(
                        DescriptionText(
                            text: answer.text, model: lease.id, finishReason: answer.finishReason.rawValue,
                            usage: numbers.usage, timings: numbers.timings)))
                : Response(text: answer.text + "\n")
            response.head.headers.set("server-timing", numbers.timings.header)
            exchange.respond(response)
        }
    }
}
