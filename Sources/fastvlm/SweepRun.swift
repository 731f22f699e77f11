import BatchAnswers
import Benchmarking
import Checkpoints
import FastVLM
import Foundation
import Models
import SystemFiles
import Tensors

/// Measures the cells of a sweep one after the other. For one task.
final class SweepRun {
    private let cells: [SweepCell]
    private let checkpoints: [CanonicalWeights]
    private let compute: Compute
    private let conditions: SweepRecord.Conditions
    private let repeats: Int
    private let memory: Int?
    private let output: SweepOutput
    private let display: SweepDisplay

    /// What is loaded. A decoder outlives the towers before it.
    private struct Loaded {
        let precision: Precision
        let decoder: String
        let checkpoint: Int?
        let bench: Workbench
        /// Bytes that were free before anything of this decoder was loaded.
        let available: Int?

        func hasDecoder(of cell: SweepCell) -> Bool {
            precision == cell.precision && decoder == cell.decoder && checkpoint == cell.checkpoint
        }

        func hasTower(of cell: SweepCell) -> Bool {
            hasDecoder(of: cell)
                && bench.network.configuration.vision == cell.system.configuration.vision
        }
    }

    private var loaded: Loaded?

    init(
        cells: [SweepCell], checkpoints: [CanonicalWeights], compute: Compute, textTokens: Int, repeats: Int,
        memory: Int?, output: SweepOutput, display: SweepDisplay
    ) {
        self.cells = cells
        self.checkpoints = checkpoints
        self.compute = compute
        conditions = SweepRecord.Conditions(compute, textTokens: textTokens)
        self.repeats = repeats
        self.memory = memory
        self.output = output
        self.display = display
    }

    func measure(_ cancellation: Cancellation) throws {
        let rest = cells.filter { !output.has($0, conditions) }
        display.begin(cells: cells.count, there: cells.count - rest.count)
        var progress = SweepProgress(rest, textTokens: conditions.textTokens)
        do {
            for cell in rest {
                try cancellation.check()
                let start = ContinuousClock.now
                display.working(on: cell, progress)
                let record = try measure(cell, cancellation)
                progress.finish(
                    cell, seconds: record == nil ? nil : (ContinuousClock.now - start) / .seconds(1))
                if let record {
                    try output.write(record)
                    display.measured(record, cell, progress)
                }
            }
        } catch TensorError.cancelled {
            display.interrupted()
            throw CancellationError()
        } catch let error as CancellationError {
            display.interrupted()
            throw error
        } catch let error as OutputError {
            throw CommandFailure(error)
        }
    }

    /// Nil for a cell that was skipped.
    private func measure(_ cell: SweepCell, _ cancellation: Cancellation) throws -> SweepRecord? {
        guard !cell.isTooLong(textTokens: conditions.textTokens) else {
            display.note(
                "skipped: \(cell.name): its \(cell.system.visualTokens) visual tokens and the text are more than the "
                    + "\(cell.system.configuration.maximumSequenceLength) positions of its decoder")
            return nil
        }
        if loaded?.hasDecoder(of: cell) != true { loaded = nil }
        let available = memory ?? loaded?.available ?? SystemMemory.availableBytes
        let needed = cell.neededBytes(textTokens: conditions.textTokens)
        if let available, needed > available {
            try output.write(
                SweepRecord(skipped: cell, conditions, needed: needed, available: available))
            display.note(
                "skipped: \(cell.name): needs "
                    + String(
                        format: "%.1f GB, %.1f GB are free", Double(needed) / 1e9, Double(available) / 1e9))
            return nil
        }
        do {
            return try record(of: cell, try bench(for: cell, available, cancellation), cancellation)
        } catch TensorError.allocationFailed(let bytes) {
            loaded = nil
            try output.write(
                SweepRecord(skipped: cell, conditions, needed: needed, available: available ?? 0))
            display.note("skipped: \(cell.name): the system refused it \(bytes) bytes")
            return nil
        }
    }

    private func record(
        of cell: SweepCell, _ bench: Workbench, _ cancellation: Cancellation
    ) throws -> SweepRecord {
        let watches = SystemMemory.resetPeak()
        let operations = try bench.firstTokenOperations(
            cell.system, textTokens: conditions.textTokens, cancellation: cancellation)
        let times = try (0..<repeats).map { _ in
            try bench.firstToken(
                cell.system, textTokens: conditions.textTokens, cancellation: cancellation)
        }
        return SweepRecord(
            measured: cell, conditions, operations: operations, repeats: times,
            peakBytes: watches ? SystemMemory.peakResidentBytes : nil)
    }

    private func bench(
        for cell: SweepCell, _ available: Int?, _ cancellation: Cancellation
    ) throws -> Workbench {
        if let loaded, loaded.hasTower(of: cell) { return loaded.bench }
        // The tower before it goes first.
        let decoder = loaded?.bench.network.decoder
        loaded = nil
        let source: any WeightSource = cell.checkpoint.map { checkpoints[$0] } ?? SyntheticWeights()
        let network: VisionLanguageNetwork
        do {
            network = try VisionLanguageNetwork(
                source, configuration: cell.system.configuration, precision: cell.precision,
                compute: compute, sharing: decoder
            ) { _ in try cancellation.check() }
        } catch let error as CheckpointError {
            throw CommandFailure(.model, "\(error)")
        }
        let bench = Workbench(network: network, compute: compute)
        loaded = Loaded(
            precision: cell.precision, decoder: cell.decoder, checkpoint: cell.checkpoint, bench: bench,
            available: available)
        return bench
    }
}

/// What is told of a sweep on stderr. For one task.
final class SweepDisplay {
    private let isQuiet: Bool
    private let showsBar: Bool
    private let canResume: Bool
    private var isVisible = false

    init(isQuiet: Bool, output: SweepOutput) {
        self.isQuiet = isQuiet
        showsBar = !isQuiet && Terminal.errorIsTerminal && !output.isTerminal
        canResume = output.isFile
    }

    func begin(cells: Int, there: Int) {
        guard there > 0 else { return }
        note("\(there) of \(cells) there already")
    }

    private static func left(_ progress: SweepProgress) -> String {
        progress.secondsLeft.map { ", about \(BatchProgress.text(seconds: $0)) left" } ?? ""
    }

    func working(on cell: SweepCell, _ progress: SweepProgress) {
        guard showsBar else { return }
        isVisible = true
        let text = "\(progress.position) done\(Self.left(progress)) · \(cell.name)"
        Terminal.note(
            "\r\u{1B}[K" + String(text.prefix(max(Terminal.errorColumns - 1, 0))), terminator: "")
    }

    func measured(_ record: SweepRecord, _ cell: SweepCell, _ progress: SweepProgress) {
        guard let seconds = record.seconds else { return }
        func text(_ seconds: Double) -> String {
            String(format: seconds < 0.1 ? "%.3f" : seconds < 10 ? "%.2f" : "%.1f", seconds)
        }
        let memory = record.peakBytes.map { String(format: ", %.1f GB", Double($0) / 1e9) } ?? ""
        note(
            "\(progress.position): \(cell.name): \(record.visualTokens) tokens, encode "
                + "\(text(seconds.encode + seconds.project)) + prefill \(text(seconds.prefill)) = "
                + "\(text(seconds.total)) s\(memory)\(Self.left(progress))")
    }

    func interrupted() {
        note("interrupted" + (canResume ? "; --resume goes on" : ""))
    }

    func note(_ text: String) {
        if isVisible { Terminal.note("\r\u{1B}[K", terminator: "") }
        isVisible = false
        if !isQuiet { Terminal.note(text) }
    }
}
