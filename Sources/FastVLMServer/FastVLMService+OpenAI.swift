internal import FastVLM
internal import Foundation
internal import Logging
internal import RequestTranslation
internal import WireFormats

/// OpenAI's interface.
extension FastVLMService {
    func chatCompletions(_ exchange: Exchange) async throws {
        try await answer(exchange, OpenAI.chatRequest(exchange.body), form: .chat)
    }

    func completions(_ exchange: Exchange) async throws {
        try await answer(exchange, OpenAI.completionRequest(exchange.body), form: .completion)
    }

    /// What a completion's objects are called, and where their text is.
    struct CompletionForm: Sendable {
        let prefix: String
        let whole: String
        let chunk: String
        let isChat: Bool

        static let chat = CompletionForm(
            prefix: "chatcmpl-", whole: "chat.completion", chunk: "chat.completion.chunk", isChat: true)
        static let completion = CompletionForm(
            prefix: "cmpl-", whole: "text_completion", chunk: "text_completion", isChat: false)
    }

    private func answer(_ exchange: Exchange, _ request: ChatRequest, form: CompletionForm) async throws {
        try await store.withModel(request.model) { lease in
            let events = try await events(request, lease, exchange)
            let writer = CompletionWriter(
                id: form.prefix + UInt64.random(in: 0...UInt64.max).hexadecimal,
                created: Int(Date().timeIntervalSince1970), form: form, request: request, lease: lease,
                exchange: exchange, service: self)
            if request.streams {
                try await writer.stream(events)
            } else {
                try await writer.whole(events)
            }
        }
    }
}

/// Brings the events of a request's answers into OpenAI's form.
struct CompletionWriter: Sendable {
    let id: String
    let created: Int
    let form: FastVLMService.CompletionForm
    let request: ChatRequest
    let lease: ModelStore.Lease
    let exchange: Exchange
    let service: FastVLMService

    private var reportsTokens: Bool { request.parameters.logProbabilities != nil }

    // MARK: - All at once

    func whole(_ events: AsyncThrowingStream<IndexedEvent, any Error>) async throws {
        var answers = [Answer?](repeating: nil, count: request.count)
        for try await event in events {
            if case .finished(let answer) = event.event { answers[event.index] = answer }
        }
        let all = answers.compactMap { $0 }
        // A stream ends without its answer only when this task was cancelled.
        guard all.count == request.count else { throw CancellationError() }
        let numbers = service.note(all, lease, exchange)
        let choices = all.enumerated().map { index, answer in
            var choice = OpenAI.Choice(index: index)
            choice.finishReason = answer.finishReason.rawValue
            var offset = 0
            set(answer.text, answer.tokens, in: &choice, role: "assistant", offset: &offset)
            return choice
        }
        let completion = OpenAI.Completion(
            id: id, object: form.whole, created: created, model: lease.id, choices: choices,
            usage: numbers.usage, timings: numbers.timings)
        var response = Response(type: "application/json", try WireText.json(completion))
        response.head.headers.set("server-timing", numbers.timings.header)
        exchange.respond(response)
    }

    private func set(
        _ text: String, _ tokens: [AnswerToken], in choice: inout OpenAI.Choice, role: String?,
        offset: inout Int, isDelta: Bool = false
    ) {
        if form.isChat {
            let message = OpenAI.Message(role: role, content: text)
            if isDelta { choice.delta = message } else { choice.message = message }
        } else {
            choice.text = text
        }
        guard reportsTokens, !(isDelta && tokens.isEmpty) else { return }
        let probabilities = lease.model.logProbabilities(tokens)
        if form.isChat {
            choice.logprobs = OpenAI.LogProbabilities(content: probabilities)
        } else {
            choice.completionLogprobs = OpenAI.CompletionLogProbabilities(probabilities, offset: &offset)
        }
    }

    // MARK: - In pieces

    /// An answer that is being streamed.
    private struct Progress {
        var answer: Answer?
        /// Tokens whose text has not come yet.
        var tokens: [AnswerToken] = []
        var reported = 0
        var offset = 0
    }

    func stream(_ events: AsyncThrowingStream<IndexedEvent, any Error>) async throws {
        var progress = [Progress](repeating: Progress(), count: request.count)
        var numbers: AnswerNumbers?
        var lastWrite = ContinuousClock.now
        var stage: AnswerEvent.Stage?
        for try await event in events {
            if !exchange.hasBegun {
                begin()
                lastWrite = .now
            }
            switch event.event {
            case .token(let token):
                if reportsTokens { progress[event.index].tokens.append(token) }
            case .text(let text):
                try write(text, event.index, &progress[event.index])
                lastWrite = .now
            case .finished(let answer):
                progress[event.index].answer = answer
                let all = progress.compactMap(\.answer)
                if all.count == request.count { numbers = service.note(all, lease, exchange) }
                try finish(answer, event.index, &progress[event.index], numbers?.timings)
            case .progress(let now, let fraction):
                // Whoever waits for a long prompt sees that the connection lives; the page draws it.
                guard now != stage || ContinuousClock.now - lastWrite > .milliseconds(200) else { break }
                stage = now
                exchange.write(WireText.comment("\(now.rawValue) \(fraction)"))
                lastWrite = .now
            case .queued: break
            }
        }
        guard let numbers else { throw CancellationError() }
        if request.includesUsage {
            var last = chunk([])
            last.timings = numbers.timings
            last.usage = numbers.usage
            exchange.write(try WireText.event(last))
        }
        exchange.write(WireText.done)
    }

    private func begin() {
        exchange.begin(
            ResponseHead(
                200,
                [
                    "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache",
                    // Proxies of nginx's kind would keep pieces back.
                    "x-accel-buffering": "no",
                ]))
        guard form.isChat else { return }
        for index in 0..<request.count {
            var choice = OpenAI.Choice(index: index)
            choice.delta = OpenAI.Message(role: "assistant", content: "")
            if let data = try? WireText.event(chunk([choice])) { exchange.write(data) }
        }
    }

    private func write(_ text: String, _ index: Int, _ progress: inout Progress) throws {
        var choice = OpenAI.Choice(index: index)
        set(text, progress.tokens, in: &choice, role: nil, offset: &progress.offset, isDelta: true)
        progress.reported += progress.tokens.count
        progress.tokens = []
        exchange.write(try WireText.event(chunk([choice])))
    }

    /// - Parameter timings: of all answers, with the last one's end
    private func finish(
        _ answer: Answer, _ index: Int, _ progress: inout Progress, _ timings: StageTimings?
    ) throws {
        var choice = OpenAI.Choice(index: index)
        choice.finishReason = answer.finishReason.rawValue
        // Tokens without text of their own, as the one that ends the answer.
        let rest = reportsTokens ? Array(answer.tokens.dropFirst(progress.reported)) : []
        set("", rest, in: &choice, role: nil, offset: &progress.offset, isDelta: true)
        if form.isChat { choice.delta = OpenAI.Message() }
        var last = chunk([choice])
        last.timings = timings
        exchange.write(try WireText.event(last))
    }

    private func chunk(_ choices: [OpenAI.Choice]) -> OpenAI.Completion {
        OpenAI.Completion(id: id, object: form.chunk, created: created, model: lease.id, choices: choices)
    }
}

extension FastVLMService {
    /// Counts answers, and gives their numbers.
    func note(
        _ answers: [Answer], _ lease: ModelStore.Lease, _ exchange: Exchange
    ) -> AnswerNumbers {
        // What was not work on the answer was waiting, and a little reading.
        let elapsed = (ContinuousClock.now - exchange.start).inSeconds
        let waited = max(elapsed - (answers.map(\.timings.total).max() ?? 0), 0)
        let numbers = AnswerNumbers(answers, queue: waited)
        counts.queued(seconds: numbers.timings.queueMs / 1000)
        exchange.add("model", lease.id)
        exchange.add("prompt_tokens", "\(numbers.usage.promptTokens)")
        exchange.add("completion_tokens", "\(numbers.usage.completionTokens)")
        exchange.add("ttft_ms", "\(numbers.timings.timeToFirstTokenMs)")
        let remarks = Set(answers.flatMap(\.remarks))
        if !remarks.isEmpty { exchange.add("remarks", remarks.sorted().joined(separator: "; ")) }
        if options.logsPrompts {
            exchange.logger.info("answer", metadata: ["text": "\(answers.map(\.text))"])
        }
        return numbers
    }
}

// MARK: - Models and embeddings

extension FastVLMService {
    func models(_ exchange: Exchange) async throws {
        let models = await store.status.map(model)
        exchange.respond(Response(type: "application/json", try WireText.json(OpenAI.ModelList(models))))
    }

    func model(_ exchange: Exchange) async throws {
        let status = try await store.status(named: exchange.argument)
        exchange.respond(Response(type: "application/json", try WireText.json(model(status))))
    }

    private func model(_ status: ModelStore.Status) -> OpenAI.Model {
        var model = OpenAI.Model(
            id: status.id, created: Int(status.files.modified?.timeIntervalSince1970 ?? 0),
            status: status.state)
        model.aliases = status.aliases
        guard let information = status.information else { return model }
        model.maxModelLen = information.contextLength
        model.meta.nCtx = information.contextLength
        model.meta.nImageTokens = information.tokensPerImage
        model.meta.imageSize = information.imageSize
        if let step = information.imageSizeStep {
            model.meta.imageSizeStep = step
            model.meta.largestImageSize = largestImageSize(information)
        }
        model.meta.precision = information.precision.rawValue
        return model
    }

    /// Features of images: the encoder's, averaged over the image, of length 1.
    func embeddings(_ exchange: Exchange) async throws {
        let request = try OpenAI.embeddingRequest(exchange.body)
        try checkImages(request.images.count, parameter: "input")
        try await store.withModel(request.model) { lease in
            exchange.note(ignored: request.ignored, remarks: [])
            var elements: [OpenAI.EmbeddingList.Element] = []
            var tokens = 0
            for (index, image) in request.images.enumerated() {
                let features = try await lease.model.encode(try await source(image))
                tokens += features.tokens
                let vector = Self.pooled(features.features, channels: features.featureChannels)
                elements.append(
                    .init(
                        index: index,
                        embedding: request.isBase64 ? .base64(Self.base64(vector)) : .numbers(vector)))
            }
            let usage = OpenAI.Usage(prompt: tokens, completion: 0, image: tokens)
            exchange.respond(
                Response(
                    type: "application/json",
                    try WireText.json(OpenAI.EmbeddingList(elements, model: lease.id, usage: usage))))
        }
    }

    /// - Parameter features: [tokens, channels] row-major
    /// - Returns: the mean over all tokens, of Euclidean length 1.
    static func pooled(_ features: [Float], channels: Int) -> [Float] {
        guard channels > 0, features.count >= channels else { return [] }
        var sums = [Double](repeating: 0, count: channels)
        for (place, value) in features.enumerated() { sums[place % channels] += Double(value) }
        let length = sums.reduce(0) { $0 + $1 * $1 }.squareRoot()
        return sums.map { length > 0 ? Float($0 / length) : 0 }
    }

    /// Little-endian float32, as the official clients read it.
    static func base64(_ vector: [Float]) -> String {
        vector.map(\.bitPattern.littleEndian).withUnsafeBytes { Data($0).base64EncodedString() }
    }
}
