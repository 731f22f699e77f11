package import Tensors

/// The activations that one slice of an encoding leaves to the next.
package struct EncoderMaps {
    /// What the next slice reads; at first the pixels.
    package var x: FeatureMap
    /// As large as `x`, for what the next slice writes. Layers swap the two, so that a stage needs only these.
    package var scratch: FeatureMap
    /// Where in the workspace a map begins that only the next slice needs.
    var mark: Workspace.Mark?

    /// - Parameter pixels: [height, width, 3]
    package init(pixels: FeatureMap) {
        x = pixels
        // The stem takes its own.
        scratch = pixels
    }

    mutating func swap() { Swift.swap(&x, &scratch) }
}

/// A layer of the encoder, which pauses between its slices.
package protocol EncoderLayer: Sendable {
    /// How many parts it is computed in.
    var slices: Int { get }

    /// Computes a part; all of them, in order, take `maps.x` from the layer's input to its output.
    /// - Parameters:
    ///   - slice: in 0 ..< slices
    ///   - workspace: gives the maps of another extent, which stay taken
    func run(
        slice: Int, _ maps: inout EncoderMaps, workspace: Workspace, on compute: Compute
    ) throws(TensorError)
}
