package import FastVLM
package import WireFormats

extension GenerationOptions {
    /// Takes over what a request asks for; what it leaves open stays as it is.
    package mutating func apply(_ parameters: GenerationParameters) {
        if let most = parameters.maximumTokens { maximumTokens = most }
        if let value = parameters.temperature { temperature = Float(value) }
        if let value = parameters.topK { topK = value }
        // 0 would leave no token; others take the best one then.
        if let value = parameters.topP { topP = max(Float(value), .leastNormalMagnitude) }
        if let value = parameters.minP { minP = Float(value) }
        if let value = parameters.repetitionPenalty { repetitionPenalty = Float(value) }
        if let value = parameters.frequencyPenalty { frequencyPenalty = Float(value) }
        if let value = parameters.presencePenalty { presencePenalty = Float(value) }
        if !parameters.logitBias.isEmpty { logitBias = parameters.logitBias }
        if let value = parameters.seed { seed = value }
        if !parameters.stop.isEmpty { stop = parameters.stop }
        if !parameters.stopIDs.isEmpty { stopIDs = Set(parameters.stopIDs) }
        if let value = parameters.logProbabilities { logProbabilities = value }
        if let value = parameters.format { format = AnswerFormat(value) }
        if let value = parameters.resolution { imageSize = value }
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

extension ChatRequest {
    /// The conversation as the library takes it.
    /// - Parameter source: gives an image its bytes or its file
    package func messages(
        _ source: (ImageReference) async throws -> ImageSource
    ) async throws -> [Message] {
        var messages: [Message] = []
        for message in self.messages {
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
}
