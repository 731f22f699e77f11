internal import StrictJSON

/// How a checkpoint asks to be sampled: generation_config.json, or the same keys of config.json where there is no such
/// file, as transformers reads them. A value that is absent or null is nil, and means transformers' default.
package struct GenerationDefaults: Sendable, Hashable {
    /// The file that the values come from; nil where no file gives any.
    package var file: String?
    /// `do_sample`: whether tokens are drawn; else the best one is taken.
    package var samples: Bool?
    /// More than 0.
    package var temperature: Double?
    /// 0...1.
    package var topP: Double?
    /// 0 for all.
    package var topK: Int?
    /// 0...1.
    package var minP: Double?
    /// More than 0; 1 changes nothing.
    package var repetitionPenalty: Double?
    /// Ascending.
    package var endOfSequenceIDs: [Int] = []

    package init() {}

    /// What transformers takes where `do_sample` is true and the rest is silent.
    package static let transformersTopK = 50

    init(_ readers: [ConfigurationReader]) throws(CheckpointError) {
        for reader in readers.reversed() {
            func note<Value>(_ value: Value?, _ current: Value?) -> Value? {
                if value != nil { file = reader.file }
                return value ?? current
            }
            samples = note(try reader.bool("do_sample"), samples)
            temperature = note(try reader.double("temperature", in: 0...1e6), temperature)
            topP = note(try reader.double("top_p", in: 0...1), topP)
            topK = note(try reader.integer("top_k", in: 0...Int(Int32.max)), topK)
            minP = note(try reader.double("min_p", in: 0...1), minP)
            repetitionPenalty = note(
                try reader.double("repetition_penalty", in: 1e-6...1e6), repetitionPenalty)
        }
    }
}
