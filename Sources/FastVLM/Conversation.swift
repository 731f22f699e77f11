internal import Generation
internal import ImageInput
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
    /// What the conversation's only image is once it is one of several, where that is something else.
    private(set) var multiImagePixels: PixelTensor?
    private(set) var hasAnswered = false
    /// What was said before the first turn that is asked here.
    let history: [Message]

    init(history: [Message] = []) { self.history = history }

    /// Positions so far.
    /// - Parameter count: positions of an image
    func positions(_ count: (GenerationRequest.Image.Content) -> Int) -> Int {
        Prompt(elements: elements).length { count(images[$0].content) }
    }

    /// How often images stand in it.
    var imageCount: Int { Prompt(elements: elements).imageIndices.count }

    /// The request for an answer to the next turn.
    /// - Parameters:
    ///   - prompt: of the turn alone; refers to images by their place in `images`
    ///   - first: what the conversation's only image is from now on; nil where it stays what it is
    func request(
        for prompt: Prompt, images: [GenerationRequest.Image], first: GenerationRequest.Image? = nil
    ) -> GenerationRequest {
        let known = self.images.count
        var request = GenerationRequest(
            prompt: Prompt(elements: elements + prompt.replacingImages { $0 + known }.elements))
        request.images = self.images + images
        if let first, known > 0 { request.images[0] = first }
        return request
    }

    /// Adds a turn that was answered, or begun to be.
    /// - Parameters:
    ///   - request: as ``request(for:images:)`` made it, its images encoded by now
    ///   - ids: of the answer, without a token that only ends it
    ///   - multiImagePixels: of the turn's image, where it is the only one
    func append(_ request: GenerationRequest, ids: [Int], multiImagePixels: PixelTensor? = nil) {
        elements = request.prompt.elements + (ids.isEmpty ? [] : [.tokens(ids)])
        images = request.images
        self.multiImagePixels = imageCount == 1 ? multiImagePixels ?? self.multiImagePixels : nil
        hasAnswered = true
    }
}
