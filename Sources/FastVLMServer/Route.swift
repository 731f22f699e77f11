/// One of the addresses that the server answers to.
struct Route: Sendable {
    /// Whose clients use it; decides what errors look like.
    enum Interface: Sendable { case openAI, ollama, plain }

    let method: String
    /// A last component of `*` matches all remaining components.
    let path: String
    let interface: Interface
    /// Whether it needs no key.
    var isPublic = false
    let handle: @Sendable (FastVLMService, Exchange) async throws -> Void

    init(
        _ method: String, _ path: String, _ interface: Interface, isPublic: Bool = false,
        _ handle: @escaping @Sendable (FastVLMService, Exchange) async throws -> Void
    ) {
        self.method = method
        self.path = path
        self.interface = interface
        self.isPublic = isPublic
        self.handle = handle
    }

    /// What stands in a path for the last component; nil where the path is another one.
    func match(_ path: String) -> String? {
        guard self.path.hasSuffix("/*") else { return self.path == path ? "" : nil }
        let start = self.path.dropLast()
        return path.hasPrefix(start) && path.utf8.count > start.utf8.count
            ? String(path.dropFirst(start.count)) : nil
    }

    /// All routes. Nothing else is answered, and each of them is checked in the same place.
    static let all: [Route] =
        [
            Route("GET", "/health", .plain, isPublic: true) { try await $0.health($1) },
            Route("GET", "/healthz", .plain) { $1.respond(Response(text: "ok\n")) },
            Route("GET", "/readyz", .plain) { try await $0.ready($1) },
            Route("GET", "/metrics", .plain) { try await $0.metrics($1) },
            Route("GET", "/", .plain) { try $0.root($1) },
            Route("POST", "/v1/chat/completions", .openAI) { try await $0.chatCompletions($1) },
            Route("POST", "/v1/completions", .openAI) { try await $0.completions($1) },
            Route("POST", "/v1/embeddings", .openAI) { try await $0.embeddings($1) },
            Route("POST", "/v1/describe", .openAI) { try await $0.describe($1) },
            Route("GET", "/v1/models", .openAI) { try await $0.models($1) },
            Route("GET", "/v1/models/*", .openAI) { try await $0.model($1) },
            Route("POST", "/api/chat", .ollama) { try await $0.ollamaChat($1) },
            Route("POST", "/api/generate", .ollama) { try await $0.ollamaGenerate($1) },
            Route("GET", "/api/tags", .ollama) { try await $0.ollamaTags($1) },
            Route("GET", "/api/ps", .ollama) { try await $0.ollamaRunning($1) },
            Route("POST", "/api/show", .ollama) { try await $0.ollamaShow($1) },
            Route("GET", "/api/version", .ollama) { try $0.ollamaVersion($1) },
        ]
        + Page.files.map(\.path).filter { $0 != "/" }.map { path in
            Route("GET", path, .plain) { try $0.page($1, path) }
        }

    /// Whose error form an address without a route gets.
    static func interface(of path: String) -> Interface {
        path.hasPrefix("/api/") ? .ollama : path.hasPrefix("/v1/") ? .openAI : .plain
    }
}
