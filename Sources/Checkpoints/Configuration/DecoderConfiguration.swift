/// The language model: Qwen2, Llama and Mistral are settings of it.
package struct DecoderConfiguration: Sendable, Equatable {
    /// Which classes of transformers it is, by their `model_type`.
    package enum Kind: String, Sendable, Equatable {
        case qwen2, llama, mistral
    }

    package var kind: Kind
    package var hiddenSize: Int
    package var layers: Int
    /// Query heads.
    package var heads: Int
    /// Key and value heads; divides `heads`.
    package var keyValueHeads: Int
    package var headDimension: Int
    package var intermediateSize: Int
    /// Rows of the embedding table; may exceed the tokenizer's entries.
    package var vocabularySize: Int
    package var rmsNormEpsilon: Float
    package var ropeTheta: Float
    package var maximumPositions: Int
    /// Whether the output projection is the embedding table. Decided by the data: true when the checkpoint
    /// has no output projection, or one with the same bytes.
    package var tiedEmbeddings: Bool
    /// Biases on query, key and value (Qwen2). Decided by the data.
    package var hasAttentionBias: Bool
    /// A bias on the attention's output projection. Decided by the data.
    package var hasAttentionOutputBias: Bool

    package init(
        kind: Kind = .qwen2, hiddenSize: Int, layers: Int, heads: Int, keyValueHeads: Int, headDimension: Int,
        intermediateSize: Int,
        vocabularySize: Int, rmsNormEpsilon: Float, ropeTheta: Float, maximumPositions: Int,
        tiedEmbeddings: Bool,
        hasAttentionBias: Bool, hasAttentionOutputBias: Bool = false
    ) {
        self.kind = kind
        self.hiddenSize = hiddenSize
        self.layers = layers
        self.heads = heads
        self.keyValueHeads = keyValueHeads
        self.headDimension = headDimension
        self.intermediateSize = intermediateSize
        self.vocabularySize = vocabularySize
        self.rmsNormEpsilon = rmsNormEpsilon
        self.ropeTheta = ropeTheta
        self.maximumPositions = maximumPositions
        self.tiedEmbeddings = tiedEmbeddings
        self.hasAttentionBias = hasAttentionBias
        self.hasAttentionOutputBias = hasAttentionOutputBias
    }

    package var queryWidth: Int { heads * headDimension }
    package var keyValueWidth: Int { keyValueHeads * headDimension }
}
