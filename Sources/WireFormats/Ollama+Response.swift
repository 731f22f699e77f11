/// The answers of Ollama's interface. Durations are in nanoseconds.
extension Ollama {
    /// Counts and times at the end of an answer.
    package struct Totals: Sendable {
        package var total: Double
        package var load: Double
        package var promptCount: Int
        package var prompt: Double
        package var count: Int
        package var generation: Double

        /// Seconds.
        package init(
            total: Double, load: Double, promptCount: Int, prompt: Double, count: Int, generation: Double
        ) {
            self.total = total
            self.load = load
            self.promptCount = promptCount
            self.prompt = prompt
            self.count = count
            self.generation = generation
        }
    }

    /// A line of `/api/chat` or `/api/generate`.
    package struct Line: Encodable, Sendable {
        package struct Message: Encodable, Sendable {
            var role = "assistant"
            var content: String
        }

        var model: String
        var createdAt: String
        var message: Message?
        var response: String?
        var done: Bool
        var doneReason: String?
        var totalDuration: Int?
        var loadDuration: Int?
        var promptEvalCount: Int?
        var promptEvalDuration: Int?
        var evalCount: Int?
        var evalDuration: Int?

        /// - Parameters:
        ///   - isChat: whether the text is a message
        ///   - reason: why the answer ended, in the last line
        package init(
            model: String, createdAt: String, text: String, isChat: Bool, reason: String? = nil,
            totals: Totals? = nil
        ) {
            self.model = model
            self.createdAt = createdAt
            message = isChat ? Message(content: text) : nil
            response = isChat ? nil : text
            done = reason != nil
            doneReason = reason
            guard let totals else { return }
            func nanoseconds(_ seconds: Double) -> Int { Int((max(seconds, 0) * 1e9).rounded()) }
            totalDuration = nanoseconds(totals.total)
            loadDuration = nanoseconds(totals.load)
            promptEvalCount = totals.promptCount
            promptEvalDuration = nanoseconds(totals.prompt)
            evalCount = totals.count
            evalDuration = nanoseconds(totals.generation)
        }
    }

    package struct Failure: Encodable, Sendable {
        package var error: String

        package init(_ error: String) { self.error = error }
    }

    package struct Details: Encodable, Sendable {
        package var parentModel = ""
        package var format = "safetensors"
        package var family = "fastvlm"
        package var families = ["fastvlm"]
        package var parameterSize: String
        package var quantizationLevel: String

        package init(parameterSize: String, quantizationLevel: String) {
            self.parameterSize = parameterSize
            self.quantizationLevel = quantizationLevel
        }
    }

    package struct Model: Encodable, Sendable {
        package var name: String
        package var model: String
        package var modifiedAt: String?
        package var size: Int
        package var digest: String
        package var details: Details
        package var expiresAt: String?
        package var sizeVram: Int?
        package var contextLength: Int?

        package init(name: String, size: Int, digest: String, details: Details) {
            self.name = name
            model = name
            self.size = size
            self.digest = digest
            self.details = details
        }
    }

    package struct ModelList: Encodable, Sendable {
        package var models: [Model]

        package init(_ models: [Model]) { self.models = models }
    }

    package struct Description: Encodable, Sendable {
        package struct Information: Encodable, Sendable {
            package var contextLength: Int?
            package var embeddingTokens: Int?

            private enum CodingKeys: String, CodingKey {
                case architecture = "general.architecture"
                case contextLength = "fastvlm.context_length"
                case embeddingTokens = "fastvlm.vision.tokens_per_image"
            }

            package func encode(to encoder: any Encoder) throws {
                var container = encoder.container(keyedBy: CodingKeys.self)
                try container.encode("fastvlm", forKey: .architecture)
                try container.encodeIfPresent(contextLength, forKey: .contextLength)
                try container.encodeIfPresent(embeddingTokens, forKey: .embeddingTokens)
            }
        }

        package var modelfile = ""
        package var parameters = ""
        package var template: String
        package var license = ""
        package var details: Details
        package var modelInfo = Information()
        package var capabilities = ["completion", "vision"]
        package var modifiedAt: String?

        package init(details: Details, template: String, contextLength: Int?, tokensPerImage: Int?) {
            self.details = details
            self.template = template
            modelInfo.contextLength = contextLength
            modelInfo.embeddingTokens = tokensPerImage
        }
    }

    package struct Version: Encodable, Sendable {
        package var version: String

        package init(_ version: String) { self.version = version }
    }
}
