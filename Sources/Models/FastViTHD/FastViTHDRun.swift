internal import Tensors

/// An image on its way through FastViTHD: layer after layer, then the final convolution.
struct FastViTHDRun: EncodingRun {
    private let tower: FastViTHD
    private let features: Matrix
    var state: EncodingState
    private var maps: EncoderMaps
    private var layer = 0
    /// Of the present layer.
    private var slice = 0

    init(_ tower: FastViTHD, pixels: FeatureMap, features: Matrix, workspace: Workspace) {
        precondition(
            pixels.channels == 3 && features.columns == tower.featureChannels
                && features.rowStride == features.columns
                && features.rows == tower.tokens(height: pixels.height, width: pixels.width),
            "shapes do not agree")
        self.tower = tower
        self.features = features
        state = EncodingState(workspace)
        maps = EncoderMaps(pixels: pixels)
    }

    var slices: Int { tower.slices }

    mutating func runSlice(on compute: Compute) throws(TensorError) {
        guard layer < tower.layers.count else {
            return try tower.final(maps.x, into: features, workspace: state.workspace, on: compute)
        }
        let current = tower.layers[layer]
        try current.run(slice: slice, &maps, workspace: state.workspace, on: compute)
        slice += 1
        if slice == current.slices { (layer, slice) = (layer + 1, 0) }
    }
}
