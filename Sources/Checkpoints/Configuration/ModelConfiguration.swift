/// Everything that a checkpoint says about its model, from config.json, its neighbours and the tensors.
package struct ModelConfiguration: Sendable, Equatable {
    /// The largest image side, in pixels.
    package static let largestImageSide = 4096

    package var vision: VisionConfiguration
    package var text: DecoderConfiguration
    package var preprocessing: ImagePreprocessing
    /// The token that stands for an image, where the vocabulary has one.
    package var imageTokenID: Int?
    /// Tokens that end an answer, ascending; from config.json and generation_config.json.
    package var endOfSequenceIDs: [Int]
    package var beginOfSequenceID: Int?
    /// Tokens of prompt and answer together, visual tokens included.
    package var maximumSequenceLength: Int
    /// Name of the conversation template, when the checkpoint tells.
    package var conversationTemplate: String?
    /// config.json's `model_type`.
    package var modelType: String

    package init(
        vision: VisionConfiguration, text: DecoderConfiguration, preprocessing: ImagePreprocessing,
        imageTokenID: Int? = nil,
        endOfSequenceIDs: [Int] = [], beginOfSequenceID: Int? = nil,
        maximumSequenceLength: Int, conversationTemplate: String? = nil, modelType: String
    ) {
        self.vision = vision
        self.text = text
        self.preprocessing = preprocessing
        self.imageTokenID = imageTokenID
        self.endOfSequenceIDs = endOfSequenceIDs
        self.beginOfSequenceID = beginOfSequenceID
        self.maximumSequenceLength = maximumSequenceLength
        self.conversationTemplate = conversationTemplate
        self.modelType = modelType
    }

    /// Visual tokens of one image.
    package var visualTokens: Int { vision.tokens(side: preprocessing.size) }

    /// The same model at another image side.
    /// - Throws: `CheckpointError.invalidResolution` unless the tower takes images of `side` (of FastViTHD: a
    ///   positive multiple of 64), or where it is above 4096.
    package func resized(to side: Int) throws(CheckpointError) -> ModelConfiguration {
        let multiple = vision.sideMultiple
        guard side > 0, side <= Self.largestImageSide, side.isMultiple(of: multiple) else {
            throw .invalidResolution(side: side, stride: multiple, limit: Self.largestImageSide)
        }
        var resized = self
        resized.preprocessing.size = side
        return resized
    }
}
