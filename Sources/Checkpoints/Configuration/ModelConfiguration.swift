/// How an image becomes a square.
package enum ImageGeometry: String, Sendable, Equatable {
    /// Padded with the mean colour to a square, then resized (Apple's original).
    case pad
    /// Shortest side resized, then the centre cut out (the Hugging Face processor).
    case crop
}

/// Everything that a checkpoint says about its model, from config.json, its neighbours and the tensors.
package struct ModelConfiguration: Sendable, Equatable {
    /// The largest image side, in pixels.
    package static let largestImageSide = 4096

    package var vision: FastViTHDConfiguration
    package var text: DecoderConfiguration
    /// Pixels per side of the square that the encoder sees.
    package var imageSize: Int
    package var geometry: ImageGeometry
    /// Per channel (RGB), subtracted from pixels in 0…1.
    package var imageMean: [Float]
    /// Per channel (RGB), divided by.
    package var imageStandardDeviation: [Float]
    /// The token that stands for an image, where the vocabulary has one.
    package var imageTokenID: Int?
    /// Tokens that end an answer, ascending; from config.json and generation_config.json.
    package var endOfSequenceIDs: [Int]
    package var padTokenID: Int?
    package var beginOfSequenceID: Int?
    /// Tokens of prompt and answer together, visual tokens included.
    package var maximumSequenceLength: Int
    /// Name of the conversation template, when the checkpoint tells.
    package var conversationTemplate: String?
    /// config.json's `model_type`.
    package var modelType: String

    package init(
        vision: FastViTHDConfiguration, text: DecoderConfiguration, imageSize: Int, geometry: ImageGeometry,
        imageMean: [Float] = [0, 0, 0], imageStandardDeviation: [Float] = [1, 1, 1], imageTokenID: Int? = nil,
        endOfSequenceIDs: [Int] = [], padTokenID: Int? = nil, beginOfSequenceID: Int? = nil,
        maximumSequenceLength: Int, conversationTemplate: String? = nil, modelType: String
    ) {
        self.vision = vision
        self.text = text
        self.imageSize = imageSize
        self.geometry = geometry
        self.imageMean = imageMean
        self.imageStandardDeviation = imageStandardDeviation
        self.imageTokenID = imageTokenID
        self.endOfSequenceIDs = endOfSequenceIDs
        self.padTokenID = padTokenID
        self.beginOfSequenceID = beginOfSequenceID
        self.maximumSequenceLength = maximumSequenceLength
        self.conversationTemplate = conversationTemplate
        self.modelType = modelType
    }

    /// Visual tokens of one image: (side / stride)².
    package var visualTokens: Int {
        let side = imageSize / vision.stride
        return side * side
    }

    /// The same model at another image side.
    /// - Throws: `CheckpointError.invalidResolution` unless `side` is a positive multiple of the encoder's
    ///   stride (64 for FastViTHD), at most 4096.
    package func resized(to side: Int) throws(CheckpointError) -> ModelConfiguration {
        guard side > 0, side <= Self.largestImageSide, side.isMultiple(of: vision.stride) else {
            throw .invalidResolution(side: side, stride: vision.stride, limit: Self.largestImageSide)
        }
        var resized = self
        resized.imageSize = side
        return resized
    }
}
