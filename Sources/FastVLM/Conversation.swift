internal import Generation
internal import Models
internal import Tensors

/// What was said so far: the whole prompt of the next turn but the turn itself.
///
/// Its turns are taken one after the other: only who holds `line` may read and change the rest, which is what makes
/// `@unchecked Sendable` true. Keys and values are the engine's, which finds them by what the positions hold; those that
/// it had to give up are computed again.
final class Conversation: @unchecked Sendable {
    /// Turns in the order in which they were asked.
    let line = WeightedSemaphore(1)
    /// Images by their place in ``images``.
    private(set) var elements: [Prompt.Element] = []
    private(set) var images: [GenerationRequest.Image] = []
    private(set) var hasAnswered = false
    /// What was said before the first turn that is asked here.
    let history: [Message]

    init(history: [Message] = []) { self.history = history }

    /// - Parameter tokensPerImage: positions of an image that is not encoded yet
    func positions(tokensPerImage: Int) -> Int {
        Prompt(elements: elements).length(tokensPerImage: tokensPerImage)
    }

    /// The request for an answer to the next turn.
    /// - Parameter prompt: of the turn alone; refers to images by their place in `images`
    func request(for prompt: Prompt, images: [GenerationRequest.Image]) -> GenerationRequest {
        let known = self.images.count
        var request = GenerationRequest(
            prompt: Prompt(elements: elements + prompt.replacingImages { $0 + known }.elements))
        request.images = self.images + images
        return request
    }

    /// Adds a turn that was answered, or begun to be.
    /// - Parameters:
    ///   - request: as ``request(for:images:)`` made it, its images encoded by now
    ///   - ids: of the answer, without a token that only ends it
    func append(_ request: GenerationRequest, ids: [Int]) {
        elements = request.prompt.elements + (ids.isEmpty ? [] : [.tokens(ids)])
        images = request.images
        hasAnswered = true
    }
}
