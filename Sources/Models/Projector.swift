package import Tensors

/// `mlp2x_gelu`: two linear layers with an exact GELU between them take visual features to the decoder's width.
package struct Projector: Sendable {
    private let first: Linear
    private let second: Linear
    private let hidden: Int

    /// - Parameter loader: at the root of the canonical names; reads `projector.*`.
    package init(_ loader: WeightLoader, inputs: Int, outputs: Int) throws {
        let part = loader.part("projector")
        first = try part.linear("0", outputs: outputs, inputs: inputs)
        second = try part.linear("1", outputs: outputs, inputs: outputs)
        hidden = outputs
    }

    /// - Parameters:
    ///   - features: [tokens, inputs]
    ///   - y: [tokens, outputs], overwritten
    package func callAsFunction(
        _ features: Matrix, into y: Matrix, workspace: Workspace, on compute: Compute
    ) throws(TensorError) {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        let between = try workspace.matrix(features.rows, hidden)
        first(features, activation: .gelu, into: between, on: compute)
        second(between, into: y, on: compute)
    }
}
