/// The answers of OpenAI's interface.
extension OpenAI {
    package struct Message: Encodable, Sendable {
        package var role: String?
        package var content: String?

        package init(role: String? = nil, content: String? = nil) {
            self.role = role
            self.content = content
        }
    }

    /// A token with its log-probability.
    package struct TokenLogProbability: Encodable, Sendable {
        package var token: String
        package var logprob: Float
        package var bytes: [UInt8]?
        package var topLogprobs: [TokenLogProbability]?

        package init(
            token: String, logprob: Float, bytes: [UInt8]?, alternatives: [TokenLogProbability]? = nil
        ) {
            self.token = token
            self.logprob = logprob
            self.bytes = bytes
            topLogprobs = alternatives
        }
    }

    package struct LogProbabilities: Encodable, Sendable {
        package var content: [TokenLogProbability]

        package init(content: [TokenLogProbability]) { self.content = content }
    }

    /// Those of `/v1/completions`, which has a form of its own.
    package struct CompletionLogProbabilities: Encodable, Sendable {
        package var tokens: [String]
        package var tokenLogprobs: [Float]
        package var topLogprobs: [[String: Float]]
        package var textOffset: [Int]

        package init(_ tokens: [TokenLogProbability], offset: inout Int) {
            self.tokens = tokens.map(\.token)
            tokenLogprobs = tokens.map(\.logprob)
            topLogprobs = tokens.map { token in
                Dictionary(
                    (token.topLogprobs ?? []).map { ($0.token, $0.logprob) },
                    uniquingKeysWith: { first, _ in first })
            }
            textOffset = tokens.map { token in
                defer { offset += token.token.unicodeScalars.count }
                return offset
            }
        }
    }

    package struct Choice: Encodable, Sendable {
        package var index: Int
        package var message: Message?
        package var delta: Message?
        package var text: String?
        package var logprobs: LogProbabilities?
        package var completionLogprobs: CompletionLogProbabilities?
        package var finishReason: String?

        package init(index: Int) { self.index = index }

        private enum CodingKeys: String, CodingKey {
            case index, message, delta, text, logprobs, finishReason
        }

        package func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(index, forKey: .index)
            try container.encodeIfPresent(message, forKey: .message)
            try container.encodeIfPresent(delta, forKey: .delta)
            try container.encodeIfPresent(text, forKey: .text)
            // Clients expect these two to be there, null where there is nothing.
            if let completionLogprobs {
                try container.encode(completionLogprobs, forKey: .logprobs)
            } else {
                try container.encode(logprobs, forKey: .logprobs)
            }
            try container.encode(finishReason, forKey: .finishReason)
        }
    }

    package struct Usage: Encodable, Sendable {
        package struct PromptDetails: Encodable, Sendable {
            package var cachedTokens: Int
            package var imageTokens: Int
        }

        package var promptTokens: Int
        package var completionTokens: Int
        package var totalTokens: Int
        package var promptTokensDetails: PromptDetails?

        package init(prompt: Int, completion: Int, cached: Int = 0, image: Int = 0) {
            promptTokens = prompt
            completionTokens = completion
            totalTokens = prompt + completion
            promptTokensDetails = PromptDetails(cachedTokens: cached, imageTokens: image)
        }
    }

    /// A whole answer, or a chunk of a stream.
    package struct Completion: Encodable, Sendable {
        package var id: String
        package var object: String
        package var created: Int
        package var model: String
        package var choices: [Choice]
        package var usage: Usage?
        package var timings: StageTimings?

        package init(
            id: String, object: String, created: Int, model: String, choices: [Choice] = [],
            usage: Usage? = nil, timings: StageTimings? = nil
        ) {
            self.id = id
            self.object = object
            self.created = created
            self.model = model
            self.choices = choices
            self.usage = usage
            self.timings = timings
        }
    }

    package struct Failure: Encodable, Sendable {
        package struct Details: Encodable, Sendable {
            package var message: String
            package var type: String
            package var param: String?
            package var code: String?
            package var requestId: String

            private enum CodingKeys: String, CodingKey { case message, type, param, code, requestId }

            package func encode(to encoder: any Encoder) throws {
                var container = encoder.container(keyedBy: CodingKeys.self)
                try container.encode(message, forKey: .message)
                try container.encode(type, forKey: .type)
                try container.encode(param, forKey: .param)
                try container.encode(code, forKey: .code)
                try container.encode(requestId, forKey: .requestId)
            }
        }

        package var error: Details

        package init(
            _ message: String, type: String, parameter: String?, code: String?, requestID: String
        ) {
            error = Details(
                message: message, type: type, param: parameter, code: code, requestId: requestID)
        }
    }

    package struct Model: Encodable, Sendable {
        package struct Architecture: Encodable, Sendable {
            package var inputModalities = ["text", "image"]
            package var outputModalities = ["text"]
        }

        package struct Metadata: Encodable, Sendable {
            package var nCtx: Int?
            package var nImageTokens: Int?
            package var imageSize: Int?
            /// A request may ask for other multiples of so many pixels (`resolution`), up to the next one.
            package var imageSizeStep: Int?
            package var largestImageSize: Int?
            package var precision: String?
        }

        package var id: String
        package var object = "model"
        package var created: Int
        package var ownedBy = "fastvlm"
        package var aliases: [String] = []
        package var maxModelLen: Int?
        package var architecture = Architecture()
        package var meta = Metadata()
        /// `loaded`, `loading` or `unloaded`.
        package var status: String

        package init(id: String, created: Int, status: String) {
            self.id = id
            self.created = created
            self.status = status
        }
    }

    package struct ModelList: Encodable, Sendable {
        package var object = "list"
        package var data: [Model]

        package init(_ models: [Model]) { data = models }
    }

    package struct EmbeddingList: Encodable, Sendable {
        package struct Element: Encodable, Sendable {
            package enum Vector: Sendable {
                case numbers([Float])
                case base64(String)
            }

            package var index: Int
            package var embedding: Vector

            private enum CodingKeys: String, CodingKey { case object, index, embedding }

            package init(index: Int, embedding: Vector) {
                self.index = index
                self.embedding = embedding
            }

            package func encode(to encoder: any Encoder) throws {
                var container = encoder.container(keyedBy: CodingKeys.self)
                try container.encode("embedding", forKey: .object)
                try container.encode(index, forKey: .index)
                switch embedding {
                case .numbers(let numbers): try container.encode(numbers, forKey: .embedding)
                case .base64(let text): try container.encode(text, forKey: .embedding)
                }
            }
        }

        package var object = "list"
        package var data: [Element]
        package var model: String
        package var usage: Usage

        package init(_ data: [Element], model: String, usage: Usage) {
            self.data = data
            self.model = model
            self.usage = usage
        }
    }
}

/// Where the time of an answer went: llama.cpp's names, and the stages of ours.
package struct StageTimings: Encodable, Sendable {
    package var promptN: Int
    package var promptMs: Double
    package var promptPerTokenMs: Double
    package var promptPerSecond: Double
    package var predictedN: Int
    package var predictedMs: Double
    package var predictedPerTokenMs: Double
    package var predictedPerSecond: Double
    /// Positions whose keys and values were there already.
    package var cacheN: Int
    /// Waiting for other requests, for loading included.
    package var queueMs: Double
    package var decodeImageMs: Double
    package var preprocessMs: Double
    package var encodeMs: Double
    package var projectMs: Double
    package var prefillMs: Double
    package var timeToFirstTokenMs: Double

    /// Seconds and counts of one answer.
    package init(
        promptTokens: Int, cachedTokens: Int, completionTokens: Int, queue: Double, decodeImage: Double,
        preprocess: Double, encode: Double, project: Double, prefill: Double, timeToFirstToken: Double,
        generation: Double
    ) {
        func milliseconds(_ seconds: Double) -> Double { (seconds * 1e6).rounded() / 1000 }
        promptN = promptTokens
        let prompt = decodeImage + preprocess + encode + project + prefill
        promptMs = milliseconds(prompt)
        promptPerTokenMs = promptTokens > 0 ? milliseconds(prompt / Double(promptTokens)) : 0
        promptPerSecond = prompt > 0 ? (Double(promptTokens) / prompt * 100).rounded() / 100 : 0
        predictedN = completionTokens
        predictedMs = milliseconds(generation)
        // The first token is the prompt's.
        let further = max(completionTokens - 1, 0)
        predictedPerTokenMs = further > 0 ? milliseconds(generation / Double(further)) : 0
        predictedPerSecond = generation > 0 ? (Double(further) / generation * 100).rounded() / 100 : 0
        cacheN = cachedTokens
        queueMs = milliseconds(queue)
        decodeImageMs = milliseconds(decodeImage)
        preprocessMs = milliseconds(preprocess)
        encodeMs = milliseconds(encode)
        projectMs = milliseconds(project)
        prefillMs = milliseconds(prefill)
        timeToFirstTokenMs = milliseconds(timeToFirstToken)
    }

    /// The value of a `Server-Timing` header.
    package var header: String {
        [
            ("queue", queueMs), ("decode", decodeImageMs), ("resize", preprocessMs), ("encode", encodeMs),
            ("project", projectMs), ("prefill", prefillMs), ("ttft", timeToFirstTokenMs),
            ("generate", predictedMs),
        ].map { "\($0.0);dur=\($0.1)" }.joined(separator: ", ")
    }
}
