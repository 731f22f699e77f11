internal import ImageInput
internal import Models
internal import StructuredOutput
internal import Tensors

/// One request on its way: what its positions hold, how far they are computed, and what has been said so far.
final class GenerationSequence {
    let id: Int
    let request: GenerationRequest
    let cancellation: Cancellation
    let events: (GenerationEvent) -> Void
    /// Of the whole prompt, then of each token of the answer.
    var keys: [PositionKey]
    let promptCount: Int
    /// Most tokens of the answer.
    let limit: Int
    let lease: BlockPool.Lease
    /// Whether the lease has been looked up in the pool.
    var hasBegun = false
    /// Gave up its blocks for another sequence, and when: it waits for room.
    var preemptedInStep: Int?
    /// Positions that need not be computed, as far as is known before the lease is looked up.
    var ready = 0
    /// Whether the outcome says how much of the prompt was there already.
    var hasReported = false
    /// Steps since it got anything.
    var waited = 0
    var images: [Image]
    var sampler: Sampler
    /// Holds the answer to its format.
    var constraint: AnswerConstraint?
    var text: AnswerText
    var outcome = GenerationOutcome()
    /// When its last token was chosen.
    var lastToken: ContinuousClock.Instant?
    /// The operations of a step that is this sequence's alone end when it is cancelled.
    let compute: Compute

    /// An image of the request.
    struct Image {
        let identity: Int
        var content: GenerationRequest.Image.Content
        /// From its first position in the prompt to its last; nil where the prompt does not refer to it.
        var positions: ClosedRange<Int>?

        var isEncoded: Bool { if case .encoded = content { true } else { false } }
    }

    init(
        id: Int, request: GenerationRequest, keys: [PositionKey], images: [Image], limit: Int,
        sampler: Sampler, constraint: AnswerConstraint?, text: AnswerText, lease: BlockPool.Lease,
        compute: Compute,
        cancellation: Cancellation, events: @escaping (GenerationEvent) -> Void
    ) {
        self.id = id
        var request = request
        // Pixels go as soon as they are encoded.
        request.images = []
        self.request = request
        self.keys = keys
        promptCount = keys.count
        self.images = images
        self.limit = limit
        self.sampler = sampler
        self.constraint = constraint
        self.text = text
        self.lease = lease
        self.compute = compute
        self.cancellation = cancellation
        self.events = events
        self.keys.reserveCapacity(keys.count + min(limit, 256))
        outcome.ids.reserveCapacity(min(limit, 256))
        outcome.durations.decode.reserveCapacity(min(limit, 256))
    }

    /// Positions whose keys and values are there.
    var computed: Int { lease.cache.count }

    /// The place in ``images`` of the first one that has to be encoded before positions from `first` on can be computed.
    func imageToEncode(from first: Int) -> Int? {
        var next: (place: Int, position: Int)?
        for (place, image) in images.enumerated() {
            guard !image.isEncoded, let positions = image.positions, positions.upperBound >= first,
                positions.lowerBound < next?.position ?? .max
            else { continue }
            next = (place, positions.lowerBound)
        }
        return next?.place
    }

    /// Whether an image that the prompt refers to is to become its visual tokens.
    func waits(for identity: Int?) -> Bool {
        identity != nil && images.contains { $0.identity == identity && !$0.isEncoded && $0.positions != nil }
    }

    /// The visual tokens that stand at an image's positions.
    func visualTokens(of identity: Int) -> Tensor? {
        for image in images where image.identity == identity {
            if case .encoded(let tokens) = image.content { return tokens }
        }
        return nil
    }
}
