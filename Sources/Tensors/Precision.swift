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
    /// Weights in 8 bits (7.6 on processors without VNNI), quantised while loading; activations are quantised just before a
    /// product. About half the memory of `bfloat16`, a faster first token, twice the tokens per second.
    case int8
    /// The decoder's layers in 4 bits, but for the first and the last tenth of them, and keys and values where heads share
    /// them; all else as with `int8`. Less memory again and faster decoding, at a small loss of quality.
    case int4
    /// The decoder's weights as with `int8`, but nothing else in integers: products take their other factor in float32, and
    /// the vision tower is that of `bfloat16`. For who wants the memory and as much of the accuracy as there is; slower.
    case int8Weights = "int8-weights"
    /// The same with the weights of `int4`.
    case int4Weights = "int4-weights"

    /// Whether integers are for memory alone.
    package var isWeightOnly: Bool { self == .int8Weights || self == .int4Weights }

    /// Whether a decoder's layer has 8 bits in `int4`: the first and the last tenth of them, rounded. What the first ones
    /// change goes through all others, and nothing makes up for what the last ones do (docs/decisions.md, 68).
    package static func keepsEightBits(layer: Int, of layers: Int) -> Bool {
        let tenth = (layers + 5) / 10
        return layer < tenth || layer >= layers - tenth
    }
}
