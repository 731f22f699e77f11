internal import Checkpoints
package import ImageInput
package import Models
package import StructuredOutput
package import Tensors

/// What to generate, beside the prompt itself.
package struct GenerationRequest: Sendable {
    /// The whole sequence from its first position, earlier turns included.
    package var prompt: Prompt
    /// The images that the prompt refers to, by index.
    package var images: [Image]
    package var sampling = SamplingOptions()
    package var maximumTokens = 256
    package var stopStrings: [String] = []
    /// Whether the checkpoint's own ids do not end an answer: for benchmarks, which want a number of tokens.
    package var ignoresEndOfSequence = false
    /// Stop on these as well as on the checkpoint's own.
    package var stopIDs: Set<Int> = []
    /// Alternatives to report with each token; nil reports no probabilities at all.
    package var probabilities: Int?
    /// What the answer must look like.
    package var format: CompiledFormat?
    /// Higher goes first.
    package var priority = 0
    /// When it ends with ``GenerationError/deadlineExceeded``.
    package var deadline: ContinuousClock.Instant?

    /// An image of a sequence.
    package struct Image: Sendable {
        /// Equal for images that are the same, whichever request they belong to; nil for one that is not to be compared.
        package var identity: Int?
        package var content: Content

        package enum Content: Sendable {
            /// [tiles, S, S, 3], at the model's resolution.
            case pixels(PixelTensor)
            /// Visual tokens, [tokens, hidden size].
            case encoded(Tensor)
        }

        package init(_ content: Content, identity: Int? = nil) {
            self.content = content
            self.identity = identity
        }
    }

    package init(prompt: Prompt, images: [PixelTensor] = []) {
        self.prompt = prompt
        self.images = images.map { Image(.pixels($0)) }
    }

    /// Checks the options, which needs neither network nor images.
    /// - Parameter vocabulary: ids below it are tokens of the model
    /// - Throws: `GenerationError.invalidOption` that names the first option out of range.
    package func validate(vocabulary: Int) throws(GenerationError) {
        try sampling.validate()
        if let id = sampling.bias.keys.filter({ !(0..<vocabulary).contains($0) }).min() {
            throw .invalidOption(
                name: "logit bias", expected: "for tokens from 0 to \(vocabulary - 1)", got: "token \(id)")
        }
        if let id = stopIDs.filter({ !(0..<vocabulary).contains($0) }).min() {
            throw .invalidOption(
                name: "stop ids", expected: "tokens from 0 to \(vocabulary - 1)", got: "\(id)")
        }
        guard maximumTokens > 0 else {
            throw .invalidOption(name: "max tokens", expected: "at least 1", got: "\(maximumTokens)")
        }
        if let count = probabilities, !(0...20).contains(count) {
            throw .invalidOption(name: "top log-probabilities", expected: "0 to 20", got: "\(count)")
        }
        _ = try StopMatcher(stopStrings)
    }
}

extension GenerationRequest {
    /// - Parameter shortest: fewest tokens of an answer of the format
    /// - Throws: `GenerationError.invalidOption` where even they are too many.
    package func checkRoom(forAnswer shortest: Int) throws(GenerationError) {
        guard shortest <= maximumTokens else {
            throw .invalidOption(
                name: "max tokens", expected: "at least \(shortest), for the shortest answer of the format",
                got: "\(maximumTokens)")
        }
    }
}

/// A piece of an answer as it comes.
package struct GeneratedPiece: Sendable {
    /// Whole characters; may be empty while a character or a possible stop string is incomplete.
    package var text: String
    /// The token behind it; nil for text that was held back until the end.
    package var id: Int?
    package var probability: TokenProbability?
    package var alternatives: [TokenProbability] = []
}

/// How long the stages took.
package struct StageDurations: Sendable, Hashable {
    package var encode: Duration = .zero
    package var project: Duration = .zero
    package var prefill: Duration = .zero
    /// One entry per decoded token after the first.
    package var decode: [Duration] = []

    package init() {}
}

/// What a generation came to.
package struct GenerationOutcome: Sendable {
    package var ids: [Int] = []
    package var finish: FinishReason = .length
    /// Positions of the prompt that were computed, and how many of them are visual tokens.
    package var promptPositions = 0
    package var imagePositions = 0
    /// Positions whose keys and values were there already.
    package var cachedPositions = 0
    /// How many of them are visual tokens.
    package var cachedImagePositions = 0
    package var durations = StageDurations()
    /// The token that ended the answer; it is the last of `ids` and never emitted. Nil for other endings.
    package var ending: GeneratedPiece?
    /// When the first work for it began, and when its first token was chosen.
    package var began: ContinuousClock.Instant?
    package var firstToken: ContinuousClock.Instant?

    package init() {}
}

/// What becomes of a request while it is worked on.
package enum GenerationEvent: Sendable {
    /// Fraction of an image's encoding that is done.
    case encoding(Double)
    /// The visual tokens of the image with this index, [tokens, hidden size], as soon as there are any.
    case encoded(Int, Tensor)
    /// Fraction of the prompt that is done.
    case prefilling(Double)
    case piece(GeneratedPiece)
    /// The last event: what the generation came to, and what ended it before its time.
    case finished(GenerationOutcome, (any Error)?)
}

extension VisionLanguageNetwork {
    /// Positions of an image in a prompt; 0 for tokens of another model.
    package func positions(of content: GenerationRequest.Image.Content) -> Int {
        switch content {
        case .pixels(let pixels):
            return tileAssembly == nil
                ? configuration.reduced(encoder.tokens(side: pixels.size))
                : configuration.visualTokens(pixels.arrangement)
        case .encoded(let tokens):
            return tokens.dataType == .float32 && tokens.shape.count == 2
                && tokens.shape[1] == configuration.text.hiddenSize ? tokens.shape[0] : 0
        }
    }
}
