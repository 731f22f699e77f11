internal import FastVLM
internal import Foundation
internal import Logging
internal import MediaFetch
internal import RequestTranslation
internal import WireFormats

/// What happens on the way to one of a request's answers.
struct IndexedEvent: Sendable {
    let index: Int
    let event: AnswerEvent
}

extension FastVLMService {
    /// What happens on the way to a request's answers, from when all of them are admitted and one is worked on.
    ///
    /// What is wrong with the request, or with its images, is thrown before that.
    func events(
        _ request: ChatRequest, _ lease: ModelStore.Lease, _ exchange: Exchange
    ) async throws -> AsyncThrowingStream<IndexedEvent, any Error> {
        var (ignored, remarks) = (request.ignored, request.remarks)
        if let wanted = request.parameters.maximumTokens, wanted > self.options.maximumTokens {
            ignored.append("max_tokens")
            remarks.append("max_tokens: \(wanted) became \(self.options.maximumTokens)")
        }
        exchange.note(ignored: ignored, remarks: remarks)
        let most = largestImageSize(lease.model.information)
        if let side = request.parameters.resolution, side > most {
            throw Refusal(
                400, "The server brings images to at most \(most) pixels a side.", code: "invalid_value",
                parameter: "resolution", reason: "invalid_request")
        }
        let messages = try await messages(request)
        var options = generationOptions(request.parameters)
        let left = self.options.requestTimeout - (ContinuousClock.now - exchange.start)
        options.timeLimit = max(left, .zero)
        options.requestID = exchange.id
        if self.options.logsPrompts {
            exchange.logger.info(
                "prompt",
                metadata: ["messages": "\(request.messages.map { "\($0.role.rawValue): \($0.text)" })"])
        }
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: IndexedEvent.self)
        let (model, count) = (lease.model, request.count)
        let seed = options.seed
        let each = (0..<count).map { index in
            var options = options
            // Different answers, and the same ones every time.
            options.seed = seed.map { $0 &+ UInt64(index) }
            return options
        }
        let gate = EventGate(count, continuation)
        let task = Task {
            do {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (index, options) in each.enumerated() {
                        group.addTask {
                            for try await event in model.events(messages: messages, options: options) {
                                gate.pass(IndexedEvent(index: index, event: event))
                            }
                        }
                    }
                    // The first one that fails ends the others.
                    for try await _ in group {}
                }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }

    // MARK: - Translation

    func checkImages(_ count: Int, parameter: String) throws(Refusal) {
        guard count <= options.maximumImages else {
            throw Refusal(
                400, "The request has \(count) images; the server takes \(options.maximumImages).",
                code: "too_many_images", parameter: parameter, reason: "images")
        }
    }

    private func messages(_ request: ChatRequest) async throws -> [Message] {
        try checkImages(request.images.count, parameter: "messages")
        return try await request.messages(source)
    }

    /// The bytes of an image; fetched where the server may do so.
    func source(_ image: ImageReference) async throws -> ImageSource {
        switch image {
        case .data(let data): return .data(data)
        case .address(let address):
            guard let fetcher = options.fetcher else {
                throw Refusal(
                    400,
                    "The server fetches no addresses; send the image itself as a data address "
                        + "(data:image/jpeg;base64,…), or start the server with --allow-remote-images.",
                    code: "remote_images_disabled", reason: "address")
            }
            return .data(Data(try await fetcher.image(at: address)))
        // Requests are read without files.
        case .file: throw Refusal(400, "An image is not in the request.", reason: "image")
        }
    }

    private func generationOptions(
        _ parameters: GenerationParameters
    ) -> GenerationOptions {
        var options = GenerationOptions()
        options.maximumTokens = Int.max
        options.apply(parameters)
        options.maximumTokens = min(options.maximumTokens, self.options.maximumTokens)
        return options
    }

    /// The largest side that a request may ask for, in pixels.
    func largestImageSize(_ information: ModelInformation) -> Int {
        max(options.maximumResolution, information.imageSize)
    }
}
