package import Checkpoints
package import Tensors

/// Runs a decoder on tokens to find how the inputs of its products vary together, so that weights can be quantised with
/// feedback of their rounding errors.
///
/// Random tokens serve nearly as well as text: on SmolLM2-135M in 4 bits they leave a mean divergence of 0.079 where 4,096
/// tokens of English leave 0.076, and rounding each weight by itself 0.24 (docs/performance.md).
package struct Calibration {
    package let source: any WeightSource
    package let configuration: ModelConfiguration
    package let compute: Compute

    /// Tokens of a text that go through the decoder together.
    package static let length = 512
    /// Texts of random tokens, and the most that are used of others.
    private static let texts = 4
    private static let mostTexts = 32

    package init(_ source: any WeightSource, configuration: ModelConfiguration, compute: Compute) {
        self.source = source
        self.configuration = configuration
        self.compute = compute
    }

    /// Whether there is something to find out: a checkpoint of integers keeps them.
    package var isUseful: Bool {
        let text = configuration.text
        let shape = [text.heads * text.headDimension, text.hiddenSize]
        guard let first = try? source.matrix("decoder.layers.0.attention.query.weight", shape: shape) else {
            return false
        }
        if case .numbers = first { return true }
        return false
    }

    /// What goes through the decoder from its beginning.
    package struct Prompt: Sendable {
        /// [tokens, hidden], or none
        package var visualTokens: [[Float]] = []
        package var ids: [Int]

        package init(visualTokens: [[Float]] = [], ids: [Int]) {
            self.visualTokens = visualTokens
            self.ids = ids
        }
    }

    /// The same random tokens in every run.
    package var randomPrompts: [Prompt] {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        return (0..<Self.texts).map { _ in
            Prompt(
                ids: (0..<Self.length).map { _ in
                    // Knuth's linear congruential generator; the high bits are the good ones.
                    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                    return Int(state >> 33) % configuration.text.vocabularySize
                })
        }
    }

    /// Pieces of texts, evenly spread over all of them where there are many.
    package static func prompts(_ texts: [[Int]]) -> [Prompt] {
        let pieces = texts.flatMap { ids in
            stride(from: 0, to: ids.count, by: length).map { Array(ids[$0..<min($0 + length, ids.count)]) }
        }
        guard pieces.count > mostTexts else { return pieces.map { Prompt(ids: $0) } }
        return (0..<mostTexts).map { Prompt(ids: pieces[$0 * pieces.count / mostTexts]) }
    }

    /// - Returns: by canonical name of a matrix, or of the first of a gated pair
    /// - Throws: what loading throws, `TensorError`.
    package func moments(
        _ prompts: [Prompt], progress: (Double) throws -> Void = { _ in }
    ) throws -> [String: InputMoments] {
        let recorder = PanelRecorder()
        let longest = prompts.map { $0.visualTokens.count + $0.ids.count }.max() ?? 1
        let decoder = try Decoder(
            WeightLoader(source, format: .bfloat16, compute: compute, recorder: recorder),
            configuration: configuration.text, maximumPositions: longest
        ) { try progress($0 / 2) }
        let packed = recorder.all
        var found: [String: InputMoments] = [:]
        for (name, panels) in packed where name == inputs(of: name) {
            found[name] = InputMoments(inputs: panels.layout.inputs)
        }
        let observer = InputObserver(packed.compactMap { name, panels in found[name].map { (panels, $0) } })
        try run(decoder, prompts, on: compute.observed(by: observer)) { try progress(0.5 + $0 / 2) }
        // The observer knows the weights by their addresses only.
        withExtendedLifetime(packed) {}
        return Dictionary(
            uniqueKeysWithValues: packed.keys.compactMap { name in
                found[inputs(of: name)].map { (name, $0) }
            })
    }

    /// What rounding changes of each matrix of the decoder's layers, as a share of its results' size.
    /// - Parameters:
    ///   - panels: integers, by canonical name of a matrix, or of the first of a gated pair
    ///   - moments: of its inputs; where there are none they count alike
    package func errors(
        of panels: [String: PackedPanels], _ moments: [String: InputMoments]
    ) throws -> [String: Double] {
        var errors: [String: Double] = [:]
        for (name, panels) in panels where name.hasPrefix("decoder.layers.") && !panels.layout.hasMinima {
            try compute.checkCancellation()
            let layout = panels.layout
            let sizes = moments[name]?.shares ?? [Float](repeating: 1, count: layout.inputs)
            let rounded = try panels.values()
            let exact = try source.tensor(name, shape: [layout.outputs, layout.inputs])
            errors[name] = rounded.relativeError(from: exact, sizes: sizes, every: 16)
        }
        return errors
    }

    /// The matrix whose inputs stand for those of `name`: query, key and value have the same.
    private func inputs(of name: String) -> String {
        for other in ["attention.key.weight", "attention.value.weight"] where name.hasSuffix(other) {
            return name.dropLast(other.count) + "attention.query.weight"
        }
        return name
    }

    private func run(
        _ decoder: Decoder, _ prompts: [Prompt], on compute: Compute, progress: (Double) throws -> Void
    ) throws {
        let workspace = Workspace()
        for (index, prompt) in prompts.enumerated() {
            let visual = prompt.visualTokens.count
            let positions = visual + prompt.ids.count
            guard positions > 0 else { continue }
            let mark = workspace.mark()
            defer { workspace.release(to: mark) }
            let embeddings = try workspace.matrix(positions, configuration.text.hiddenSize)
            for (row, token) in prompt.visualTokens.enumerated() {
                for (column, value) in token.enumerated() { embeddings[row, column] = value }
            }
            if !prompt.ids.isEmpty {
                decoder.embed(prompt.ids, into: embeddings.rows(visual..<positions), on: compute)
            }
            let cache = decoder.makeCache()
            try cache.reserve(positions)
            let batch = DecoderBatch()
            // All rows are wanted, else most would not go through the last layer; of their scores one each is enough.
            batch.append(cache, positions: positions, wanted: positions)
            try decoder.forward(
                embeddings, batch: batch, logits: workspace.matrix(positions, 1), workspace: workspace,
                on: compute)
            try progress(Double(index + 1) / Double(prompts.count))
        }
    }
}
