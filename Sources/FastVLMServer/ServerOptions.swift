package import FastVLM
internal import Foundation
package import MediaFetch

/// How the server behaves.
package struct ServerOptions: Sendable {
    /// The address that is listened on.
    package var host = "127.0.0.1"
    package var port = 8080
    /// Any of them opens every route; none leaves them open to whoever reaches the address.
    package var keys: [String] = []
    /// Origins whose pages may use the server, as browsers name them; `*` for all.
    package var allowedOrigins: [String] = []
    /// Names by which the server may be called, beside loopback's and its address.
    package var allowedHosts: [String] = []
    /// Most bytes of a request's body.
    package var maximumBody = 32 << 20
    /// Most bytes of the bodies of all requests together.
    package var bodyMemory = 256 << 20
    /// Most images of a request.
    package var maximumImages = 16
    /// Most tokens of an answer, and how many it gets where the request names no number.
    package var maximumTokens = 1024
    /// Most pixels per side that a request may have its images brought to; the model's own side it always may.
    package var maximumResolution = 1024
    /// Longest time from a request's head to the end of its answer.
    package var requestTimeout: Duration = .seconds(600)
    /// Longest time in which a request's body has to arrive.
    package var bodyTimeout: Duration = .seconds(30)
    /// Longest time of a connection on which nothing happens; an answer that is computed is something.
    package var idleTimeout: Duration = .seconds(60)
    /// Longest time in which running requests may finish once the server is asked to end.
    package var drainTimeout: Duration = .seconds(30)
    /// Most connections at a time; further ones wait.
    package var maximumConnections = 512
    /// Time after which a model that nobody asks is unloaded; nil keeps it.
    package var idleUnload: Duration?
    /// Most bytes that loaded models may take; nil sets no limit.
    package var memoryBudget: Int?
    /// Whether models are loaded by the first request for them only.
    package var loadsLazily = false
    /// Whether questions and answers are logged.
    package var logsPrompts = false
    /// The program's version.
    package var version = ""
    /// How each model is loaded, `maximumRunning` and `maximumWaiting` included.
    package var load = LoadOptions()
    /// Fetches images whose addresses requests name; nil where addresses are refused.
    package var fetcher: MediaFetcher?

    package init() {}

    /// Whether the server can be reached from this machine only.
    package var isLoopback: Bool { Access.isLoopback(host) }
}

/// A model that the server has.
package struct ServedModel: Sendable {
    package let id: String
    package let source: ModelSource
    /// Other names for it.
    package var aliases: [String]

    package init(id: String, source: ModelSource, aliases: [String] = []) {
        self.id = id
        self.source = source
        self.aliases = aliases
    }
}
