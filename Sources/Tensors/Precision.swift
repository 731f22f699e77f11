/// The arithmetic that a model is loaded for. Accumulation is in float32 in every case.
///
/// ```swift
/// var options = LoadOptions()
/// options.precision = .int8
/// ```
public enum Precision: String, Sendable, Hashable, CaseIterable, Codable, CodingKeyRepresentable {
    /// Weights and activations in float32: the reference.
    case float32
    /// Weights in bfloat16, as checkpoints are published.
    case bfloat16
    /// Weights in 8 bits (7 on processors without VNNI), quantised while loading; activations are quantised just before a
    /// product. About half the memory of `bfloat16`, a faster first token, twice the tokens per second.
    case int8
    /// The decoder's layers in 4 bits, keys and values where heads share them and all else as with `int8`: less memory again and faster decoding, at a small loss of
    /// quality.
    case int4
}
