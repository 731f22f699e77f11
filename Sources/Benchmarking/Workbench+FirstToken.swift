internal import Checkpoints
internal import Models
package import Tensors

/// What the stages of an answer's way to its first token take, in whichever unit.
package struct FirstTokenStages: Sendable, Equatable {
    /// Of all squares that the encoder takes.
    package var encode: Double
    package var project: Double
    package var prefill: Double

    package init(encode: Double = 0, project: Double = 0, prefill: Double = 0) {
        self.encode = encode
        self.project = project
        self.prefill = prefill
    }

    package var total: Double { encode + project + prefill }
}

extension Workbench {
    /// Runs a system once from pixels to the scores of the first token, its tiles one after the other.
    /// - Parameters:
    ///   - system: whose network this is, perhaps with more layers in its decoder, for which the prefill is extrapolated
    ///   - textTokens: positions of the prompt beside the visual tokens
    ///   - logs: receive the operations of each stage
    /// - Returns: seconds
    /// - Throws: `TensorError`.
    package func firstToken(
        _ system: ComparedSystem, textTokens: Int, cancellation: Cancellation = Cancellation(),
        logs: (encode: OperationLog, project: OperationLog, prefill: OperationLog)? = nil
    ) throws -> FirstTokenStages {
        let side = system.configuration.preprocessing.size
        var stages = FirstTokenStages()
        for _ in 0..<system.encodings {
            try cancellation.check()
            stages.encode += try run(.encoder(side: side), log: logs?.encode) / .seconds(1)
            stages.project += try run(.projector(side: side), log: logs?.project) / .seconds(1)
        }
        try cancellation.check()
        let positions = system.visualTokens + textTokens
        stages.prefill += try run(.prefill(positions: positions), log: logs?.prefill) / .seconds(1)
        stages.prefill *= extrapolation(system)
        return stages
    }

    /// Multiplications and additions of the same, counted by running it once.
    /// - Parameters: as of ``firstToken(_:textTokens:cancellation:logs:)``
    package func firstTokenOperations(
        _ system: ComparedSystem, textTokens: Int, cancellation: Cancellation = Cancellation()
    ) throws -> FirstTokenStages {
        let logs = (encode: OperationLog(), project: OperationLog(), prefill: OperationLog())
        _ = try firstToken(system, textTokens: textTokens, cancellation: cancellation, logs: logs)
        func count(_ log: OperationLog) -> Double {
            Double(log.entries.reduce(0) { $0 + $1.operations })
        }
        return FirstTokenStages(
            encode: count(logs.encode), project: count(logs.project),
            prefill: count(logs.prefill) * extrapolation(system))
    }

    /// What the prefill of all layers takes of that of the layers that were loaded. Of the last layer, all positions need
    /// keys and values only.
    private func extrapolation(_ system: ComparedSystem) -> Double {
        let text = system.configuration.text
        let weights =
            2 * text.hiddenSize * (text.queryWidth + text.keyValueWidth)
            + 3 * text.hiddenSize * text.intermediateSize
        let last = Double(2 * text.hiddenSize * text.keyValueWidth) / Double(weights)
        return (Double(text.layers - 1) + last) / (Double(network.configuration.text.layers - 1) + last)
    }
}
