/// Everything that a checkpoint says about its model, from config.json, its neighbours and the tensors.
package struct ModelConfiguration: Sendable, Equatable {
    /// The largest image side, in pixels.
    package static let largestImageSide = 4096

    package var vision: VisionConfiguration
    package var text: DecoderConfiguration
    package var preprocessing: ImagePreprocessing
    /// Fewer visual tokens than the tower gives; nil for all of them.
    package var tokenReduction: TokenReduction?
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

    /// Visual tokens of one image that the encoder takes as a whole.
    package var visualTokens: Int { vision.tokens(side: preprocessing.size) }

    /// Visual tokens of an image in a prompt.
    /// - Parameter arrangement: how it is cut into tiles; nil for an image that is encoded as a whole
    package func visualTokens(_ arrangement: TileArrangement?) -> Int {
        reduced(unreducedTokens(arrangement))
    }

    /// Visual tokens of an image that is encoded as a whole, at another side than the model's own.
    package func visualTokens(side: Int) -> Int { reduced(vision.tokens(side: side)) }

    /// As many of so many visual tokens as go to the decoder.
    package func reduced(_ count: Int) -> Int { min(count, tokenReduction?.tokens ?? count) }

    private func unreducedTokens(_ arrangement: TileArrangement?) -> Int {
        guard case .anyResolution(let tiling) = preprocessing.tiling else { return visualTokens }
        // One image, one row: its end is marked too.
        guard let arrangement else { return visualTokens + (tiling.merge == .rows ? 1 : 0) }
        return visualTokens + tiling.map(of: arrangement, side: tokensPerSide).tokens
    }

    /// Fewest and most visual tokens of one image in a prompt.
    package var visualTokenRange: ClosedRange<Int> {
        guard case .anyResolution(let tiling) = preprocessing.tiling else {
            return reduced(visualTokens)...reduced(visualTokens)
        }
        let (side, tile) = (tokensPerSide, preprocessing.size)
        return reduced(
            tiling.fewestTokens(side: side, tile: tile))...reduced(
                tiling.mostTokens(side: side, tile: tile))
    }

    /// Of a square map of visual tokens.
    package var tokensPerSide: Int { Int(Double(visualTokens).squareRoot()) }

    /// Positions that a conversation may take unless its caller says otherwise: as many as are usual, or as the largest
    /// image and a talk about it need.
    package var usualSequenceLength: Int {
        let needed = (visualTokenRange.upperBound + 4096 + 1023) / 1024 * 1024
        return min(maximumSequenceLength, max(8192, needed))
    }

    /// An image may be brought to other multiples of so many pixels than the model's own side, without loading the model
    /// anew; nil where it takes one size, or where images are cut into tiles, which are put together at one size.
    package var imageSideStep: Int? {
        guard preprocessing.tiling == .none, case .multiples(let step) = vision.sides else { return nil }
        return step
    }

    /// The same model at another image side; canvases keep their number of tiles.
    /// - Throws: `CheckpointError.invalidResolution` unless the tower takes images of `side` (of FastViTHD: a
    ///   positive multiple of 64), or where it is above 4096.
    package func resized(to side: Int) throws(CheckpointError) -> ModelConfiguration {
        guard vision.sides.contain(side), side <= Self.largestImageSide else {
            throw .invalidResolution(side: side, sides: vision.sides, limit: Self.largestImageSide)
        }
        var resized = self
        resized.preprocessing.size = side
        if case .anyResolution(var tiling) = preprocessing.tiling {
            let usual = preprocessing.size
            tiling.canvases = tiling.canvases.map {
                .init(height: $0.height / usual * side, width: $0.width / usual * side)
            }
            guard tiling.canvases.allSatisfy({ $0.height * $0.width <= AnyResolution.pixelLimit }) else {
                throw .invalidResolution(side: side, sides: vision.sides, limit: usual)
            }
            resized.preprocessing.tiling = .anyResolution(tiling)
        }
        return resized
    }
}
