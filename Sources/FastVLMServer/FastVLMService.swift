internal import FastVLM
package import Foundation
package import Logging
internal import MediaFetch
internal import Synchronization
internal import WireFormats

/// A request that was let in, before its body is read.
package struct Reception: Sendable {
    let head: RequestHead
    let route: Route
    let argument: String
    let id: String
    let start: ContinuousClock.Instant
    let headers: HeaderFields
    let journal = ExchangeJournal()
    /// Most bytes of the body.
    package let maximumBody: Int
    /// When the body has to be there.
    package let bodyDeadline: ContinuousClock.Instant
}

/// The server without its sockets: routes, limits, models. One for the life of the process.
///
/// A request comes in two steps: ``receive(_:)`` looks at its head, so that what is refused needs no body, and
/// ``respond(to:body:send:)`` answers it. Cancelling the task of the second one ends the work.
package final class FastVLMService: Sendable {
    package let options: ServerOptions
    package let store: ModelStore
    let access: Access
    let logger: Logger
    let registry: MetricsRegistry
    let counts: ServerMetrics
    let load = ServerLoad()
    private let draining = Atomic<Bool>(false)
    private let bodyBytes = Mutex(0)

    /// - Parameter registry: what `/metrics` shows; models are loaded with it as their metrics
    package init(
        _ models: [ServedModel], options: ServerOptions, registry: MetricsRegistry, logger: Logger
    ) {
        self.options = options
        self.registry = registry
        self.logger = logger
        access = Access(options)
        counts = ServerMetrics(registry)
        store = ModelStore(models, options: options, logger: logger) { id in
            var load = options.load
            load.logger = logger
            load.metrics = registry.labelled("model", id)
            return load
        }
    }

    /// From now on new requests are refused.
    package func drain() { draining.store(true, ordering: .relaxed) }

    package var isDraining: Bool { draining.load(ordering: .relaxed) }

    /// Requests that are not answered yet.
    package var current: Int { load.current }

    // MARK: - A request's way

    /// Looks at a request's head.
    /// - Parameter send: receives the refusal, where it is one
    /// - Returns: nil where the request was answered already.
    package func receive(
        _ head: RequestHead, send: @escaping @Sendable (ResponsePart) -> Void
    ) -> Reception? {
        let start = ContinuousClock.now
        let id = Self.requestID(head)
        let path = head.path ?? ""
        var headers = access.headers(for: head)
        headers.append("x-request-id", id)
        headers.append("x-content-type-options", "nosniff")
        let (route, argument, methods) = find(path, head.method)
        let reception = Reception(
            head: head, route: route ?? Self.missing(path), argument: argument, id: id, start: start,
            headers: headers, maximumBody: options.maximumBody, bodyDeadline: start + options.bodyTimeout)
        do throws(Refusal) {
            if head.method == "OPTIONS", !methods.isEmpty {
                finish(reception, access.preflight(head, methods: methods), send)
                return nil
            }
            try access.check(head, isPublic: route?.isPublic ?? false)
            guard route != nil else {
                guard methods.isEmpty else {
                    var refusal = Refusal(
                        405, "This address takes \(methods.joined(separator: ", ")) only.",
                        code: "method_not_allowed", reason: "method")
                    refusal.headers.set("allow", methods.joined(separator: ", "))
                    throw refusal
                }
                throw .notFound("There is nothing at this address.")
            }
            // Whether the server lives can be asked until its end.
            guard !isDraining || route?.isPublic == true else {
                var refusal = Refusal.unavailable(
                    "The server is shutting down.", code: "shutting_down", retryAfter: 5)
                refusal.closesConnection = true
                throw refusal
            }
            if let length = head.headers["content-length"].flatMap(Int.init), length > options.maximumBody {
                throw bodyTooLarge
            }
            return reception
        } catch {
            refuse(reception, error, send)
            return nil
        }
    }

    /// Answers a request whose body is there.
    package func respond(
        to reception: Reception, body: Data, send: @escaping @Sendable (ResponsePart) -> Void
    ) async {
        load.begin()
        let exchange = exchange(reception, body, send)
        do {
            // Whatever takes the time: loading the model, fetching an image, the answer.
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await reception.route.handle(self, exchange) }
                group.addTask { [options] in
                    try await pause(until: reception.start + options.requestTimeout)
                    throw Refusal.late
                }
                try await group.next()
                group.cancelAll()
            }
        } catch {
            fail(exchange, error)
        }
        let duration = ContinuousClock.now - reception.start
        load.end(duration, isAnswer: reception.head.method == "POST")
        log(reception, duration)
    }

    /// Answers a request whose body did not come as it should.
    package func refuseBody(
        of reception: Reception, _ fault: BodyFault, send: @escaping @Sendable (ResponsePart) -> Void
    ) {
        switch fault {
        case .tooLarge: refuse(reception, bodyTooLarge, send)
        case .late:
            var refusal = Refusal(
                408, "The request's body did not arrive in time.", type: "timeout_error", code: "timeout",
                reason: "slow_body")
            refusal.closesConnection = true
            refuse(reception, refusal, send)
        case .noMemory:
            var refusal = Refusal.overloaded(
                "The server holds as many bytes of requests as it may. Try again later.", position: nil,
                retryAfter: load.retryAfter(running: options.load.maximumRunning))
            refusal.closesConnection = true
            refuse(reception, refusal, send)
        }
    }

    /// What can be wrong with a body before anybody looks into it.
    package enum BodyFault: Sendable { case tooLarge, late, noMemory }

    private var bodyTooLarge: Refusal {
        var refusal = Refusal(
            413, "The request's body is larger than \(options.maximumBody) bytes.", code: "body_too_large",
            reason: "body")
        refusal.closesConnection = true
        return refusal
    }

    /// Counts bytes of a body that are held until ``release(bodyBytes:)``.
    /// - Returns: false when others hold too many.
    func claim(bodyBytes count: Int) -> Bool {
        bodyBytes.withLock { held in
            guard held + count <= options.bodyMemory else { return false }
            held += count
            return true
        }
    }

    func release(bodyBytes count: Int) { bodyBytes.withLock { $0 -= count } }

    // MARK: - Routes

    private func find(_ path: String, _ method: String) -> (Route?, argument: String, methods: [String]) {
        var methods: [String] = []
        for route in Route.all {
            guard let argument = route.match(path) else { continue }
            if route.method == method || (route.method == "GET" && method == "HEAD") {
                return (route, argument, [])
            }
            methods += route.method == "GET" ? ["GET", "HEAD"] : [route.method]
        }
        return (nil, "", methods.isEmpty ? [] : methods + ["OPTIONS"])
    }

    private static func missing(_ path: String) -> Route {
        Route("", "(none)", Route.interface(of: path)) { _, _ in }
    }

    /// The client's id where it is short and plain, else one of ours.
    private static func requestID(_ head: RequestHead) -> String {
        if let given = head.headers["x-request-id"], (1...128).contains(given.utf8.count),
            given.unicodeScalars.allSatisfy({
                $0.isASCII && ($0.properties.isAlphabetic || "0123456789-_.:".unicodeScalars.contains($0))
            })
        {
            return given
        }
        return "req-" + UInt64.random(in: 0...UInt64.max).hexadecimal
    }

    // MARK: - Ends

    private func refuse(
        _ reception: Reception, _ refusal: Refusal, _ send: @escaping @Sendable (ResponsePart) -> Void
    ) {
        counts.refused(refusal.reason)
        finish(reception, refusal.response(reception.route.interface, id: reception.id), send)
    }

    private func finish(
        _ reception: Reception, _ response: Response, _ send: @escaping @Sendable (ResponsePart) -> Void
    ) {
        exchange(reception, Data(), send).respond(response)
        log(reception, ContinuousClock.now - reception.start)
    }

    private func exchange(
        _ reception: Reception, _ body: Data, _ send: @escaping @Sendable (ResponsePart) -> Void
    ) -> Exchange {
        var logger = logger
        logger[metadataKey: "id"] = "\(reception.id)"
        return Exchange(reception, body: body, logger: logger, send: send)
    }

    private func fail(_ exchange: Exchange, _ error: any Error) {
        if error is CancellationError || (error as? MediaFetchError)?.code == .cancelled {
            // As nginx calls a client that left. Otherwise it is the server that has no more time.
            return exchange.cutOff(status: isDraining ? 503 : 499)
        }
        let refusal = refusal(for: error)
        counts.refused(refusal.reason)
        // What the address led to is for the log alone.
        let details = (error as? MediaFetchError).map { $0.details.isEmpty ? "" : " (\($0.details))" } ?? ""
        exchange.logger.log(
            level: refusal.status >= 500 ? .error : .notice, "request failed",
            metadata: ["error": "\(error)\(details)", "reason": "\(refusal.reason)"])
        guard exchange.hasBegun else {
            return exchange.respond(refusal.response(exchange.route.interface, id: exchange.id))
        }
        // The status is out already; the stream's own form of an error follows.
        if let data = try? streamFailure(refusal, exchange) { exchange.write(data) }
        exchange.cutOff(status: refusal.status)
    }

    private func streamFailure(_ refusal: Refusal, _ exchange: Exchange) throws -> Data {
        switch exchange.route.interface {
        case .ollama: return try WireText.line(Ollama.Failure("\(refusal.message) (request \(exchange.id))"))
        default:
            return try WireText.event(
                OpenAI.Failure(
                    refusal.message, type: refusal.type, parameter: refusal.parameter, code: refusal.code,
                    requestID: exchange.id))
        }
    }

    func refusal(for error: any Error) -> Refusal {
        switch error {
        case let refusal as Refusal: return refusal
        case let error as RequestError: return Refusal(error)
        case let error as MediaFetchError: return Refusal(error)
        case let error as FastVLMError:
            return Refusal(
                error, retryAfter: load.retryAfter(running: options.load.maximumRunning))
        default: return .internalError
        }
    }

    private func log(_ reception: Reception, _ duration: Duration) {
        let seconds = duration.inSeconds
        counts.finished(
            route: reception.route.path, method: reception.head.method,
            status: reception.journal.status, seconds: seconds)
        guard logger.logLevel <= .info else { return }
        var metadata = reception.journal.metadata()
        metadata["id"] = "\(reception.id)"
        metadata["method"] = "\(Exchange.printable(reception.head.method))"
        metadata["route"] = "\(reception.route.path)"
        metadata["ms"] = "\((seconds * 1e4).rounded() / 10)"
        if !reception.journal.ignored.isEmpty {
            metadata["ignored"] = "\(reception.journal.ignored.joined(separator: " "))"
        }
        // Probes come every few seconds.
        let level: Logger.Level =
            ["/health", "/healthz", "/readyz", "/metrics"].contains(reception.route.path)
            ? .debug : .info
        logger.log(level: level, "request", metadata: metadata)
    }
}

extension UInt64 {
    /// Sixteen digits.
    var hexadecimal: String {
        let text = String(self, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

/// How busy the server is, for saying when to come back.
final class ServerLoad: Sendable {
    private struct State {
        var current = 0
        /// Of the last answers, in seconds.
        var average = 1.0
    }

    private let state = Mutex(State())

    var current: Int { state.withLock { $0.current } }

    func begin() { state.withLock { $0.current += 1 } }

    func end(_ duration: Duration, isAnswer: Bool) {
        state.withLock { state in
            state.current -= 1
            if isAnswer { state.average += (duration.inSeconds - state.average) / 16 }
        }
    }

    /// Seconds until half of those that wait now will have been answered.
    func retryAfter(running: Int) -> Int {
        let (current, average) = state.withLock { ($0.current, $0.average) }
        return Int(min(max(Double(current) * average / Double(max(running, 1)) / 2, 1), 60).rounded(.up))
    }
}
