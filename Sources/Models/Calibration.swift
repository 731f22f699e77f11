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

    /// Layer by layer, so that only one is in memory.
    /// - Parameter progress: receives the fraction done; may throw to end it
    /// - Returns: by canonical name of a matrix, or of the first of a gated pair
    /// - Throws: what loading throws, `TensorError`.
    package func moments(
        _ prompts: [Prompt], progress: (Double) throws -> Void = { _ in }
    ) throws -> [String: InputMoments] {
        let text = configuration.text
        let workspace = Workspace()
        let loader = WeightLoader(source, format: .bfloat16, compute: compute)
        let states = try embedded(prompts, loader.part("decoder"), workspace)
        let rotary = try RotaryTable(
            headDimension: text.headDimension, theta: Double(text.ropeTheta),
            positions: states.map(\.rows).max() ?? 1)
        var result: [String: InputMoments] = [:]
        for number in 0..<text.layers {
            let found = try moments(ofLayer: number, states, rotary, workspace)
            result.merge(found) { $1 }
            try progress(Double(number + 1) / Double(text.layers + 1))
        }
        let norm = try loader.part("decoder").vector("norm.weight", count: text.hiddenSize)
        let scores = InputMoments(inputs: text.hiddenSize)
        for state in states {
            compute.rmsNorm(state, weight: norm, epsilon: text.rmsNormEpsilon, into: state)
            scores.add(state)
        }
        // Whichever of them is multiplied with.
        for name in ["embedding", "output", "scores"] { result["decoder.\(name).weight"] = scores }
        return result
    }

    /// What the first layer reads: [positions, hidden] of each prompt that has some.
    private func embedded(
        _ prompts: [Prompt], _ loader: WeightLoader, _ workspace: Workspace
    ) throws -> [Matrix] {
        let text = configuration.text
        let table = try loader.embedding(
            "embedding.weight", rows: text.vocabularySize, channels: text.hiddenSize, isPacked: true)
        return try prompts.compactMap { prompt in
            let visual = prompt.visualTokens.count
            let positions = visual + prompt.ids.count
            guard positions > 0 else { return nil }
            let x = try workspace.matrix(positions, text.hiddenSize)
            for (row, token) in prompt.visualTokens.enumerated() {
                for (column, value) in token.enumerated() { x[row, column] = value }
            }
            if !prompt.ids.isEmpty {
                compute.gather(prompt.ids, from: table, into: x.rows(visual..<positions))
            }
            return x
        }
    }

    /// Takes the states through a layer, and shows the inputs of its products.
    private func moments(
        ofLayer number: Int, _ states: [Matrix], _ rotary: RotaryTable, _ workspace: Workspace
    ) throws -> [String: InputMoments] {
        let text = configuration.text
        let recorder = PanelRecorder()
        let layer = try DecoderLayer(
            WeightLoader(source, format: .bfloat16, compute: compute, recorder: recorder)
                .part("decoder").part("layers.\(number)"), configuration: text)
        let packed = recorder.all
        var found: [String: InputMoments] = [:]
        for (name, panels) in packed where name == inputs(of: name) {
            found[name] = InputMoments(inputs: panels.layout.inputs)
        }
        let observing = compute.observed(
            by: InputObserver(packed.compactMap { name, panels in found[name].map { (panels, $0) } }))
        let shape = KeyValueShape(
            layers: 1, width: text.keyValueHeads * text.headDimension, isBFloat16: true)
        for state in states {
            let cache = KeyValueCache(shape)
            try cache.reserve(state.rows)
            let batch = DecoderBatch()
            batch.append(cache, positions: state.rows, wanted: 0)
            try layer(
                state, batch: batch, index: 0, rotary: rotary, workspace: workspace, on: observing)
        }
        try compute.checkCancellation()
        // The observer knows the weights by their addresses only.
        withExtendedLifetime(packed) {}
        return packed.reduce(into: [:]) { $0[$1.key] = found[inputs(of: $1.key)] }
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
}
