package import Tensors

/// A network that turns the pixels of an image into visual features.
///
/// A new tower is a type of this protocol; ``VisionLanguageNetwork`` chooses it by the checkpoint's configuration.
package protocol VisionTower: Sendable {
    /// Channels of one visual token.
    var featureChannels: Int { get }

    /// Visual tokens of an image, in pixels.
    func tokens(height: Int, width: Int) -> Int

    /// Encodes a whole image at once.
    ///
    /// The same as ``begin(_:into:workspace:)`` and all of its slices, with the same bits. Allocates nothing where
    /// `workspace` has held an image of this size before.
    /// - Parameters:
    ///   - pixels: [height, width, 3], rescaled and normalised
    ///   - features: [tokens, featureChannels], overwritten; tokens in row-major order of the final map
    /// - Throws: `TensorError.cancelled`, `.allocationFailed`; the features are undefined then.
    func encode(
        _ pixels: FeatureMap, into features: Matrix, workspace: Workspace, on compute: Compute
    ) throws(TensorError)

    /// Begins an encoding that goes on slice by slice. Computes nothing yet.
    ///
    /// ```swift
    /// let encoding = tower.begin(pixels, into: features, workspace: workspace)
    /// while try !encoding.step(on: compute) {
    ///     // a decoding step of somebody else, in another workspace
    /// }
    /// ```
    /// - Parameters:
    ///   - pixels: [height, width, 3], rescaled and normalised; kept by the caller until the encoding is complete
    ///   - features: [tokens, featureChannels], undefined until the encoding is complete
    ///   - workspace: holds the activations from slice to slice. Between two slices its level must be what the last one
    ///     left: whoever else takes memory of it gives it back before the next.
    func begin(_ pixels: FeatureMap, into features: Matrix, workspace: Workspace) -> any VisionEncoding
}

extension VisionTower {
    /// Visual tokens of a square image of `side` pixels.
    package func tokens(side: Int) -> Int { tokens(height: side, width: side) }
}

/// An encoding in progress. A slice is about one block of the network: one or two large operations, a few per cent of
/// the whole.
///
/// Not `Sendable`: its activations are in the workspace that it was begun with.
package protocol VisionEncoding: AnyObject {
    /// Fraction of the slices done, 0...1.
    var progress: Double { get }

    /// Computes the next slice. After the last one, and after an error, the workspace is at the level where it was when
    /// the encoding began; whoever drops an encoding before that releases the workspace.
    /// - Returns: whether the features are complete. True again, without any work, for every later call.
    /// - Throws: `TensorError.cancelled` when the flag of `compute` is raised before or within the slice,
    ///   `.allocationFailed`. The encoding is over then: every later call throws the same.
    func step(on compute: Compute) throws(TensorError) -> Bool
}
