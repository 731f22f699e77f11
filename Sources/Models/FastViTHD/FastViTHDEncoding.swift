internal import Tensors

/// The one way through the encoder: layer after layer, slice after slice. ``FastViTHD/encode(_:into:workspace:on:)``
/// runs it to its end, ``FastViTHDEncoding`` a slice at a time.
struct FastViTHDRun {
    private let tower: FastViTHD
    private let features: Matrix
    private let workspace: Workspace
    /// The workspace's level to return to.
    private let start: Workspace.Mark
    private var maps: EncoderMaps
    private var layer = 0
    /// Of the present layer.
    private var slice = 0
    private(set) var slicesDone = 0
    private var failure: TensorError?

    init(_ tower: FastViTHD, pixels: FeatureMap, features: Matrix, workspace: Workspace) {
        precondition(
            pixels.channels == 3 && features.columns == tower.featureChannels
                && features.rowStride == features.columns
                && features.rows == tower.tokens(height: pixels.height, width: pixels.width),
            "shapes do not agree")
        self.tower = tower
        self.features = features
        self.workspace = workspace
        start = workspace.mark()
        maps = EncoderMaps(pixels: pixels)
    }

    /// See ``VisionEncoding/step(on:)``.
    mutating func step(on compute: Compute) throws(TensorError) -> Bool {
        if let failure { throw failure }
        guard slicesDone < tower.slices else { return true }
        do throws(TensorError) {
            try compute.checkCancellation()
            try runSlice(on: compute)
            // A flag raised within the slice leaves its output undefined.
            try compute.checkCancellation()
        } catch {
            failure = error
            workspace.release(to: start)
            throw error
        }
        slicesDone += 1
        guard slicesDone == tower.slices else { return false }
        workspace.release(to: start)
        return true
    }

    private mutating func runSlice(on compute: Compute) throws(TensorError) {
        guard layer < tower.layers.count else {
            return try tower.final(maps.x, into: features, workspace: workspace, on: compute)
        }
        let current = tower.layers[layer]
        try current.run(slice: slice, &maps, workspace: workspace, on: compute)
        slice += 1
        if slice == current.slices { (layer, slice) = (layer + 1, 0) }
    }
}

/// An encoding that pauses after every slice.
final class FastViTHDEncoding: VisionEncoding {
    private var run: FastViTHDRun
    private let slices: Int

    init(_ run: FastViTHDRun, slices: Int) {
        self.run = run
        self.slices = slices
    }

    var progress: Double { Double(run.slicesDone) / Double(slices) }

    func step(on compute: Compute) throws(TensorError) -> Bool { try run.step(on: compute) }
}
