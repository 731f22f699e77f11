internal import FastVLM
internal import Foundation
internal import Logging
internal import MediaFetch
internal import WireFormats

/// What happens on the way to one of a request's answers.
struct IndexedEvent: Sendable {
    let index: Int
    let event: AnswerEvent
}

/// An answer's numbers in the form of the interfaces.
struct AnswerNumbers: Sendable {
    let usage: OpenAI.Usage
    let timings: StageTimings

    /// - Parameters:
    ///   - answers: all of a request's; the prompt was computed for the first one, and found by the others
    ///   - queue: seconds before it was worked on
    init(_ answers: [Answer], queue: Double) {
        let first = answers.first
        // What the first one computed the others find; counted once, as OpenAI does.
        let computed = answers.map(\.usage.promptTokens).max() ?? 0
        let prompt = answers.map { $0.usage.promptTokens + $0.usage.cachedTokens }.max() ?? 0
        let cached = prompt - computed
        let completion = answers.reduce(0) { $0 + $1.usage.completionTokens }
        usage = OpenAI.Usage(
            prompt: prompt, completion: completion, cached: cached,
            image: answers.map(\.usage.imageTokens).max() ?? 0)
        let timings = first?.timings
        self.timings = StageTimings(
            promptTokens: computed, cachedTokens: cached, completionTokens: completion, queue: queue,
            decodeImage: timings?.decodeImage ?? 0, preprocess: timings?.preprocess ?? 0,
            encode: timings?.encode ?? 0, project: timings?.project ?? 0, prefill: timings?.prefill ?? 0,
            timeToFirstToken: timings?.timeToFirstToken ?? 0,
            generation: answers.map { $0.timings.perToken.reduce(0, +) }.max() ?? 0)
    }
}

extension FastVLMService {
    /// What happens on the way to a request's answers, beginning with the first thing that shows it is worked on.
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
        let task = Task {
            do {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (index, options) in each.enumerated() {
                        group.addTask {
                            for try await event in model.events(messages: messages, options: options) {
                                continuation.yield(IndexedEvent(index: index, event: event))
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

    private func messages(_ request: ChatRequest) async throws -> [Message] {
        guard request.images.count <= options.maximumImages else {
            throw Refusal(
                400,
                "The request has \(request.images.count) images; the server takes \(options.maximumImages).",
                code: "too_many_images", parameter: "messages", reason: "images")
        }
        var messages: [Message] = []
        for message in request.messages {
            var parts: [Message.Part] = []
            for part in message.parts {
                switch part {
                case .text(let text): parts.append(.text(text))
                case .image(let image): parts.append(.image(try await source(image)))
                }
            }
            let role: Message.Role =
                switch message.role {
                case .system: .system
                case .user: .user
                case .assistant: .assistant
                }
            messages.append(Message(role, parts))
        }
        return messages
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
        }
    }

    private func generationOptions(
        _ parameters: GenerationParameters
    ) -> GenerationOptions {
        var options = GenerationOptions()
        options.maximumTokens = min(parameters.maximumTokens ?? Int.max, self.options.maximumTokens)
        if let temperature = parameters.temperature { options.temperature = Float(temperature) }
        if let topK = parameters.topK { options.topK = topK }
        // 0 would leave no token; others take the best one then.
        if let topP = parameters.topP { options.topP = max(Float(topP), .leastNormalMagnitude) }
        if let minP = parameters.minP { options.minP = Float(minP) }
        if let penalty = parameters.repetitionPenalty { options.repetitionPenalty = Float(penalty) }
        if let penalty = parameters.frequencyPenalty { options.frequencyPenalty = Float(penalty) }
        if let penalty = parameters.presencePenalty { options.presencePenalty = Float(penalty) }
        options.logitBias = parameters.logitBias
        options.seed = parameters.seed
        options.stop = parameters.stop
        options.stopIDs = Set(parameters.stopIDs)
        options.logProbabilities = parameters.logProbabilities
        options.format = parameters.format.map(AnswerFormat.init)
        return options
    }
}

extension AnswerFormat {
    fileprivate init(_ format: GenerationParameters.Format) {
        switch format {
        case .jsonObject: self = .jsonObject
        case .jsonSchema(let schema): self = .jsonSchema(schema)
        case .choice(let choices): self = .choice(choices)
        case .regularExpression(let pattern): self = .regularExpression(pattern)
        }
    }
}

extension VisionLanguageModel {
    /// Tokens in the form of OpenAI's log-probabilities.
    func logProbabilities(_ tokens: [AnswerToken]) -> [OpenAI.TokenLogProbability] {
        tokens.map { token in
            logProbability(
                token.id, token.logProbability ?? 0,
                alternatives: token.alternatives.map { logProbability($0.id, $0.logProbability) })
        }
    }

    private func logProbability(
        _ id: Int, _ value: Float, alternatives: [OpenAI.TokenLogProbability]? = nil
    ) -> OpenAI.TokenLogProbability {
        let text = tokenizer.decode([id], skipsSpecialTokens: false)
        // What OpenAI writes for what cannot be.
        return OpenAI.TokenLogProbability(
            token: text, logprob: max(value, -9999), bytes: tokenizer.bytes(of: id),
            alternatives: alternatives)
    }
}
