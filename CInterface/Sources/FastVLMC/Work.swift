internal import FastVLM

extension Request {
    /// What is done for the request.
    /// - Parameter given: the images that came with it
    /// - Throws: `Failure` or `FastVLMError` for what is wrong with it before anything is done.
    func work(
        _ model: VisionLanguageModel, _ given: [ImageSource]
    ) throws -> @Sendable (Job) async throws -> Job.Product {
        let options = options
        switch task {
        case .answer:
            let messages = try conversation(given)
            return { job in
                for try await event in model.events(messages: messages, options: options) {
                    try job.tell(Event(event))
                }
                // A stream ends early only when its task was cancelled.
                try Task.checkCancellation()
                return .none
            }
        case .score:
            if let text = try plainText() {
                return { job in
                    try job.tell(Event(try await model.score(text)))
                    return .none
                }
            }
            let messages = try conversation(given)
            return { job in
                try job.tell(Event(try await model.score(messages: messages, options: options)))
                return .none
            }
        case .encode:
            let images = try pictures(given)
            guard let image = images.first, images.count == 1 else {
                throw Failure.invalidArgument("encode takes one image, got \(images.count)")
            }
            return { job in
                let features = try await model.encode(image)
                try job.tell(Event(features))
                return .features(features)
            }
        case .count:
            let messages = try conversation(given)
            return { job in
                var event = Event("counted")
                event.tokens = try model.countTokens(messages: messages, options: options)
                try job.tell(event)
                return .none
            }
        case .forget:
            return { job in
                await model.forget()
                try job.tell(Event("forgotten"))
                return .none
            }
        }
    }
}
