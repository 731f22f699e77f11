// Types of the modules below that are part of the face as they are: one declaration each, no twins.
@_exported public import enum Checkpoints.ImageGeometry
@_exported public import struct Checkpoints.TileGrid
@_exported public import struct Checkpoints.TokenReduction
@_exported public import enum Generation.FinishReason
@_exported public import enum Generation.MessageRole
@_exported public import enum StructuredOutput.AnswerFormat
@_exported public import enum Tensors.Precision

extension LoadOptions {
    /// The arithmetic of weights: `float32`, `bfloat16`, `int8` or `int4`.
    ///
    /// ```swift
    /// options.precision = .int8
    /// ```
    public typealias Precision = Tensors.Precision

    /// How an image becomes a square: `pad` or `crop`.
    ///
    /// ```swift
    /// options.geometry = .crop
    /// ```
    public typealias Geometry = Checkpoints.ImageGeometry
}
