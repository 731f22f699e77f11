#if Server
    internal import FastVLMServer
    internal import Foundation
    internal import HTTPTypes
    internal import HummingbirdCore
    internal import NIOCore
    internal import NIOHTTPTypes

    /// Brings a connection's requests to the service, and what comes of them back.
    struct RequestResponder: Sendable {
        /// Ends the connection that is served.
        private struct ConnectionEnds: Error {}

        private let service: FastVLMService

        init(_ service: FastVLMService) { self.service = service }

        func respond(
            _ request: Request, _ writer: consuming ResponseWriter, _ channel: any Channel
        ) async throws {
            let (parts, continuation) = AsyncStream.makeStream(of: ResponsePart.self)
            let send: @Sendable (ResponsePart) -> Void = { continuation.yield($0) }
            let presence = try await channel.eventLoop.submit {
                try channel.pipeline.syncOperations.handler(type: DisconnectHandler.self).presence
            }.get()
            guard let reception = service.receive(Self.head(request), send: send) else {
                continuation.finish()
                return try await write(
                    parts, writer, channel, closes: Self.hasUnreadBody(request) || Self.asksToClose(request))
            }
            let expects = request.headers[.expect]?.lowercased() == "100-continue"
            if expects { try await writer.writeInformationalHead(HTTPResponse(status: .continue)) }
            let claim = BodyClaim(service)
            defer { withExtendedLifetime(claim) {} }
            let body: Data
            do {
                body = try await self.body(of: request, reception, channel, claim)
            } catch let fault as BodyFailure {
                service.refuseBody(of: reception, fault.fault, send: send)
                continuation.finish()
                return try await write(parts, writer, channel, closes: true)
            }
            // A client may stop reading what it asked for; its connection must not stay for ever.
            let deadline = channel.eventLoop.scheduleTask(
                in: TimeAmount(service.options.requestTimeout) + .seconds(30)
            ) { channel.close(promise: nil) }
            defer { deadline.cancel() }
            let work = Task { [service] in
                await service.respond(to: reception, body: body, send: send)
                continuation.finish()
            }
            presence.begin { work.cancel() }
            defer { presence.end() }
            do {
                try await write(parts, writer, channel, closes: Self.asksToClose(request))
            } catch {
                work.cancel()
                throw error
            }
        }

        // MARK: - Requests

        private static func head(_ request: Request) -> RequestHead {
            var headers = HeaderFields()
            for field in request.headers { headers.append(field.name.canonicalName, field.value) }
            return RequestHead(
                method: request.method.rawValue, target: request.head.path ?? "",
                host: request.head.authority,
                headers: headers)
        }

        /// Whether the client sends, or may send, a body. Reading it to keep the connection could last for ever.
        private static func hasUnreadBody(_ request: Request) -> Bool {
            if request.headers[.transferEncoding] != nil || request.headers[.expect] != nil { return true }
            guard let length = request.headers[.contentLength] else { return false }
            return Int(length) ?? Int.max > 0
        }

        /// Whether the client wants the connection to end with the response: `close` among others, in any case.
        private static func asksToClose(_ request: Request) -> Bool {
            request.headers[values: .connection].contains { field in
                field.split(separator: ",").contains {
                    $0.trimmingCharacters(in: .whitespaces).lowercased() == "close"
                }
            }
        }

        private struct BodyFailure: Error { let fault: FastVLMService.BodyFault }

        private func body(
            of request: Request, _ reception: Reception, _ channel: any Channel, _ claim: BodyClaim
        ) async throws -> Data {
            let length = request.headers[.contentLength].flatMap { Int($0) }
            guard length ?? 0 > 0 || request.headers[.transferEncoding] != nil else { return Data() }
            return try await withThrowingTaskGroup(of: Data?.self) { group in
                group.addTask {
                    var data = Data()
                    // What is announced may never come.
                    data.reserveCapacity(min(length ?? 0, 1 << 20))
                    for try await buffer in request.body {
                        let count = buffer.readableBytes
                        guard data.count + count <= reception.maximumBody else {
                            throw BodyFailure(fault: .tooLarge)
                        }
                        guard claim.add(count) else { throw BodyFailure(fault: .noMemory) }
                        buffer.withUnsafeReadableBytes { data.append(contentsOf: $0) }
                    }
                    // A connection that ends early looks like a body that ends.
                    guard data.count >= length ?? 0 else { throw ConnectionEnds() }
                    return data
                }
                group.addTask {
                    // Nothing of a timer of the loop stays behind when it is cancelled; a job of Task.sleep waits for its time.
                    let timer = channel.eventLoop.scheduleTask(
                        in: TimeAmount(reception.bodyDeadline - ContinuousClock.now)
                    ) {}
                    try await withTaskCancellationHandler {
                        try await timer.futureResult.get()
                    } onCancel: {
                        timer.cancel()
                    }
                    return nil
                }
                let first = try await group.next()
                group.cancelAll()
                guard let data = first ?? nil else { throw BodyFailure(fault: .late) }
                return data
            }
        }

        // MARK: - Responses

        private static func head(_ head: ResponseHead, closes: Bool) -> HTTPResponse {
            var response = HTTPResponse(status: HTTPResponse.Status(code: head.status))
            for field in head.headers.fields {
                guard let name = HTTPField.Name(field.name) else { continue }
                response.headerFields.append(HTTPField(name: name, value: field.value))
            }
            if closes { response.headerFields[.connection] = "close" }
            return response
        }

        /// - Parameter closes: whether the connection ends with the response
        private func write(
            _ parts: AsyncStream<ResponsePart>, _ writer: consuming ResponseWriter, _ channel: any Channel,
            closes: Bool
        ) async throws {
            var iterator = parts.makeAsyncIterator()
            switch await iterator.next() {
            case .whole(let head, let data)?:
                let closes = closes || head.closesConnection
                try await writer.write(
                    response: Self.head(head, closes: closes),
                    body: data.isEmpty ? ResponseBody() : ResponseBody(byteBuffer: ByteBuffer(bytes: data)))
                if closes { try await close(channel) }
            case .head(let head)?:
                var body = try await writer.writeHead(Self.head(head, closes: closes))
                while let part = await iterator.next() {
                    guard case .bytes(let data) = part else { continue }
                    try await body.write(ByteBuffer(bytes: data))
                }
                // Without its end the client would take a part for the whole.
                guard !Task.isCancelled else { throw ConnectionEnds() }
                try await body.finish(nil)
                if closes { try await close(channel) }
            case .bytes?, nil:
                // The client left before there was an answer.
                throw ConnectionEnds()
            }
        }

        /// Ends a connection whose request is not read to its end. The client gets a moment to read the answer: what it
        /// sends to a closed connection makes its system forget what it has received.
        private func close(_ channel: any Channel) async throws {
            try? await channel.close(mode: .output).get()
            let waiting = channel.eventLoop.scheduleTask(in: .seconds(1)) { channel.close(promise: nil) }
            try? await channel.closeFuture.get()
            waiting.cancel()
            throw ConnectionEnds()
        }
    }
#endif
