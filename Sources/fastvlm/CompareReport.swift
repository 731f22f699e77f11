import Benchmarking
import Checkpoints
import Foundation
import Tensors

/// Writes the comparisons as a table for people or as JSON lines for programs.
final class CompareReport {
    /// One system in one precision.
    struct Row {
        let system: ComparedSystem
        let precision: Precision
        /// Layers of the decoder that were loaded; fewer than it has where the prefill is extrapolated.
        let layers: Int
        let operations: FirstTokenStages
        /// Of each repeat.
        var seconds: [FirstTokenStages] = []

        var isExtrapolated: Bool { layers < system.configuration.text.layers }

        /// The repeat whose total is the median.
        var median: FirstTokenStages {
            let sorted = seconds.sorted { $0.total < $1.total }
            return sorted.isEmpty ? FirstTokenStages() : sorted[sorted.count / 2]
        }
    }

    private let json: Bool
    private let textTokens: Int
    private var notes: [String] = []

    init(json: Bool, textTokens: Int) {
        self.json = json
        self.textTokens = textTokens
    }

    private struct Machine: Encodable {
        var type = "machine"
        var processor: String
        var instructionSet: String
        var threads: Int
        var textTokens: Int
    }

    func begin(_ compute: Compute) throws {
        let machine = Machine(
            processor: Compute.processorDescription(), instructionSet: compute.instructionSet.rawValue,
            threads: compute.threads, textTokens: textTokens)
        if json { return try Terminal.json(machine) }
        try Terminal.answer(
            """
            \(machine.processor), \(machine.threads) threads, \(machine.instructionSet); random weights at published \
            dimensions, one image and \(textTokens) text tokens
            """, terminator: "\n")
    }

    private struct Line: Encodable {
        var type = "system"
        var system: String
        var precision: Precision
        var imageSide: Int
        var encodings: Int
        var visualTokens: Int
        var operations: Double
        var encodeSeconds: Double
        var projectSeconds: Double
        var prefillSeconds: Double
        /// Median, and of each repeat.
        var firstTokenSeconds: Double
        var repeats: [Double]
        /// Of the decoder that were run where the prefill is extrapolated.
        var extrapolatedFromLayers: Int?
        var paperSeconds: Double?
        /// By which the other system of the comparison is larger.
        var ratio: Double?
        var ratioOfOperations: Double?
        var paperRatio: Double?
    }

    /// - Parameter rows: of one comparison, FastVLM's behind the other's
    func add(_ rows: [Row]) throws {
        guard let first = rows.first else { return }
        if !json {
            let title = "\(first.system.name) ÷ FastVLM, \(first.precision.rawValue)"
            try Terminal.answer(
                "\n"
                    + Self.columns([
                        title, "operations", "encode", "prefill", "first token", "ratio of operations",
                        "ours", "paper",
                    ]),
                terminator: "\n")
        }
        for row in rows { try add(row, of: first) }
        guard !json, first.isExtrapolated else { return }
        notes.append(
            "≈ \(first.precision.rawValue), 7B: prefill extrapolated from \(first.layers) of "
                + "\(first.system.configuration.text.layers) layers of the decoder, as many as fit into memory"
        )
    }

    private func add(_ row: Row, of first: Row) throws {
        let (median, system) = (row.median, row.system)
        let isFirst = system == first.system
        let ratio = isFirst ? nil : first.median.total / median.total
        let counted = isFirst ? nil : first.operations.total / row.operations.total
        let paper =
            isFirst
            ? nil
            : first.system.paper.flatMap { slow in system.paper.map { slow.firstToken / $0.firstToken } }
        if json {
            return try Terminal.json(
                Line(
                    system: system.name, precision: row.precision, imageSide: system.imageSide,
                    encodings: system.encodings, visualTokens: system.visualTokens,
                    operations: row.operations.total, encodeSeconds: median.encode,
                    projectSeconds: median.project, prefillSeconds: median.prefill,
                    firstTokenSeconds: median.total, repeats: row.seconds.map(\.total),
                    extrapolatedFromLayers: row.isExtrapolated ? row.layers : nil,
                    paperSeconds: system.paper?.firstToken, ratio: ratio, ratioOfOperations: counted,
                    paperRatio: paper))
        }
        let sign = row.isExtrapolated ? "≈ " : ""
        let name = "\(system.name) at \(system.imageSide)² (\(system.visualTokens) + \(textTokens) tokens)"
        try Terminal.answer(
            Self.columns([
                name, String(format: "%.2f T", row.operations.total / 1e12),
                Self.seconds(median.encode + median.project), sign + Self.seconds(median.prefill),
                sign + Self.seconds(median.total), counted.map(Self.times) ?? "",
                ratio.map { sign + Self.times($0) } ?? "", isFirst ? "" : paper.map(Self.times) ?? "–",
            ]), terminator: "\n")
    }

    private struct Skipped: Encodable {
        var type = "skipped"
        var system: String
        var precision: Precision
        var neededBytes: Int
        var availableBytes: Int?
    }

    /// - Parameter needed: bytes of an eighth of the decoder's layers, the least that is measured, and of the towers
    func skip(
        _ comparison: Comparison, _ precision: Precision, needed: Int, have available: Int?
    ) throws {
        if json {
            return try Terminal.json(
                Skipped(
                    system: comparison.system.name, precision: precision, neededBytes: needed,
                    availableBytes: available))
        }
        try Terminal.answer(
            "\n\(comparison.system.name) in \(precision.rawValue): skipped, an eighth of its decoder and the towers need "
                + String(
                    format: "%.1f GB, %.1f GB are free", Double(needed) / 1e9, Double(available ?? 0) / 1e9),
            terminator: "\n")
    }

    private struct Tower: Encodable {
        var type = "tower"
        var system: String
        var parameters: Int
        /// Of FastViTHD's.
        var ratio: Double
    }

    /// The towers' parameters, and what has to be said of the numbers above.
    func end(_ comparisons: [Comparison]) throws {
        let own = ComparedSystem.fastVLMHalf.towerParameters
        var lines: [String] = []
        for system in comparisons.map(\.system) {
            let ratio = Double(system.towerParameters) / Double(own)
            if json {
                try Terminal.json(
                    Tower(system: system.name, parameters: system.towerParameters, ratio: ratio))
            }
            lines.append(
                String(
                    format: "%@'s tower: %.1f M parameters, FastViTHD's %.1f M: %.1f ×", system.name,
                    Double(system.towerParameters) / 1e6, Double(own) / 1e6, ratio))
        }
        guard !json else { return }
        lines.append(
            "the paper: 3.4 × (the whole of SigLIP-SO400M, of which LLaVA-OneVision stores 26 blocks of 27)")
        lines += notes
        lines.append(
            "the paper's times: encoder on an M1 Max's neural engine, decoder on its GPU, 16 bit; 512² is not in its table; "
                + "its abstract says 3.2 × for LLaVA-1.5 and 85 × for LLaVA-OneVision")
        try Terminal.answer("\n" + lines.joined(separator: "\n"), terminator: "\n")
    }

    // MARK: Text

    private static let widths = [52, 11, 11, 13, 13, 20, 10, 8]

    /// The first column begins at the left, the others end at their right.
    private static func columns(_ texts: [String]) -> String {
        zip(texts, widths).enumerated().map { place, column in
            let (text, width) = column
            let spaces = String(repeating: " ", count: max(width - text.count, place == 0 ? 0 : 1))
            return place == 0 ? text + spaces : spaces + text
        }.joined()
    }

    private static func seconds(_ seconds: Double) -> String {
        String(format: seconds < 10 ? "%.2f s" : "%.1f s", seconds)
    }

    private static func times(_ ratio: Double) -> String {
        String(format: ratio < 10 ? "%.2f ×" : "%.1f ×", ratio)
    }
}
