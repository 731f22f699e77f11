internal import Generation
internal import ImageInput
internal import StructuredOutput

/// One turn to answer, as it was asked.
struct Turn: Sendable {
    enum Content: Sendable {
        case question(String, images: [ImageSource])
        /// The last one is to be answered.
        case messages([Message])
    }

    var content: Content
    var options: GenerationOptions

    func messages() throws(GenerationError) -> [Message] {
        switch content {
        case .messages(let messages): return messages
        case .question(let text, let images):
            guard options.placesImages else { return [.user(text, images: images)] }
            return [try Message(parts: images, placedIn: text)]
        }
    }
}

/// One turn that the engine can answer: its text as tokens, its images as pixels or as visual tokens that are known.
struct PreparedTurn: Sendable {
    /// Refers to images by their place in `images`, in which none is twice.
    var prompt: Prompt
    var options: GenerationOptions
    /// What the answer is held to.
    var format: CompiledFormat?
    let admission: PreparationLimits.Admission
    var images: [TurnImage] = []
    /// What the only image of the conversation so far is from now on, where the turn's images change it.
    var first: GenerationRequest.Image?
    /// Whether an image of the turn is the only one of the conversation.
    var isSingleImage = true
    var durations = ImagePreparation.Durations()
    /// Time that the preparation took, without waiting for other requests.
    var elapsed: Duration = .zero
    var claims: [WeightedSemaphore.Claim] = []
    /// Identities that were claimed for images that are not known.
    var identities: [Int] = []

    /// Where each image that was given is among those that differ.
    var places: [Int] = []
    /// How many images were given, the same one several times included.
    var given: Int { places.count }

    /// What is worth knowing about the images' files, with their numbers when there are several.
    var remarks: [String] {
        images.flatMap { image in
            image.remarks.map { given > 1 ? "image \(image.number): \($0)" : $0 }
        }
    }
}

/// An image of a turn.
struct TurnImage: Sendable {
    let name: ImageName
    /// Its first place among the images that were given, from 1.
    let number: Int
    let content: GenerationRequest.Image
    /// What is worth knowing about its file.
    let remarks: [String]
    /// What it is as one of several images, where `content` is something else.
    var multiImagePixels: PixelTensor?
}
