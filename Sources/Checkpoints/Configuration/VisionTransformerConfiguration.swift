/// A vision transformer (Dosovitskiy et al. 2021) as CLIP and SigLIP have it: square patches of the image, learned
/// positions, then blocks of self-attention and a two-layer network, each after a norm.
///
/// What the two families differ in are values of this: CLIP has a class token, a norm before the first block and
/// `quick_gelu`; SigLIP has a bias on the patches and GELU by tanh.
package struct VisionTransformerConfiguration: Sendable, Equatable {
    /// Between the two layers of a block's network; the raw values are config.json's `hidden_act`.
    package enum Activation: String, Sendable, Equatable {
        case quickGelu = "quick_gelu"
        case tanhGelu = "gelu_pytorch_tanh"
        case gelu
    }

    /// Pixels per side of the image that the positions were learned for.
    package var imageSide: Int
    /// Pixels per side of a patch, and from one patch to the next.
    package var patchSide: Int
    /// Channels of a token.
    package var width: Int
    /// Channels between the two layers of a block's network.
    package var hidden: Int
    package var heads: Int
    /// Blocks that are computed: up to the one whose output is taken.
    package var layers: Int
    /// Blocks that the checkpoint stores; those behind `layers` are not loaded.
    package var storedLayers: Int
    package var activation: Activation
    package var layerNormEpsilon: Float
    /// A learned token before those of the patches.
    package var hasClassToken: Bool
    package var hasPatchBias: Bool
    /// A norm before the first block.
    package var hasPreNorm: Bool
    /// A norm behind the last block is stored.
    package var storesPostNorm: Bool
    /// The features are what that norm makes of the last block's output.
    package var appliesPostNorm: Bool
    /// The class token is a visual token as well, the first one.
    package var keepsClassToken: Bool

    package init(
        imageSide: Int, patchSide: Int, width: Int, hidden: Int, heads: Int, layers: Int, storedLayers: Int,
        activation: Activation, layerNormEpsilon: Float, hasClassToken: Bool = false,
        hasPatchBias: Bool = false, hasPreNorm: Bool = false, storesPostNorm: Bool = false,
        appliesPostNorm: Bool = false, keepsClassToken: Bool = false
    ) {
        self.imageSide = imageSide
        self.patchSide = patchSide
        self.width = width
        self.hidden = hidden
        self.heads = heads
        self.layers = layers
        self.storedLayers = storedLayers
        self.activation = activation
        self.layerNormEpsilon = layerNormEpsilon
        self.hasClassToken = hasClassToken
        self.hasPatchBias = hasPatchBias
        self.hasPreNorm = hasPreNorm
        self.storesPostNorm = storesPostNorm
        self.appliesPostNorm = appliesPostNorm
        self.keepsClassToken = keepsClassToken
    }

    /// CLIP ViT-L/14 at 336 pixels as LLaVA-1.5 uses it: the output of block 23 of 24, without the class token.
    package static let clipLarge336 = VisionTransformerConfiguration(
        imageSide: 336, patchSide: 14, width: 1024, hidden: 4096, heads: 16, layers: 23, storedLayers: 24,
        activation: .quickGelu, layerNormEpsilon: 1e-5, hasClassToken: true, hasPreNorm: true,
        storesPostNorm: true)

    /// SigLIP-SO400M/14 at 384 pixels as LLaVA-OneVision stores it: 26 of the 27 blocks, the last one's output.
    package static let siglipSO400M384 = VisionTransformerConfiguration(
        imageSide: 384, patchSide: 14, width: 1152, hidden: 4304, heads: 16, layers: 26, storedLayers: 26,
        activation: .tanhGelu, layerNormEpsilon: 1e-6, hasPatchBias: true, storesPostNorm: true)

    /// Patches per side; pixels beyond the last whole patch are not looked at.
    package var grid: Int { imageSide / patchSide }
    /// Tokens that go through the blocks.
    package var positions: Int { grid * grid + (hasClassToken ? 1 : 0) }
    /// Visual tokens of an image.
    package var tokens: Int { grid * grid + (keepsClassToken ? 1 : 0) }
    /// What is subtracted from pixels in 0…1 and what they are divided by, in the processors that belong to the published
    /// towers: of CLIP its training data's, of SigLIP a half.
    var usualNormalisation: (mean: [Float], deviation: [Float]) {
        hasClassToken
            ? ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_58, 0.275_777_11])
            : ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    }

    /// Channels of one attention head.
    package var headDimension: Int { width / heads }
}
