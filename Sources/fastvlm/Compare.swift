import ArgumentParser
import Benchmarking
import Checkpoints
import FastVLM
import Foundation
import Models
import Tensors

struct Compare: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the FastVLM paper's comparisons as this machine runs them.",
        discussion: """
            fastvlm compare
            fastvlm compare --precisions int8 --repeats 1 --only 0.5b

            Time to the first token of LLaVA-OneVision-0.5B at 1152² beside FastVLM-0.5B at 1024², and of LLaVA-1.5-7B \
            beside FastVLM-Vicuna-7B at 256² to 1024², in this engine: published dimensions, random weights, which changes \
            no time. Each ratio stands beside that of the operations and the paper's, which has the encoder on a neural \
            engine and the decoder on a GPU. Systems of a comparison run in turns; times are medians of the repeats.

            Where not all layers of a 7B decoder fit into the memory that is free, the prefill is extrapolated from those \
            that do, and the table says so; where not even an eighth fits, the row is skipped by name. With 7B and the \
            default precisions this takes about half an hour on two cores.
            """)

    enum Part: String, ExpressibleByArgument, CaseIterable {
        case half = "0.5b"
        case seven = "7b"
    }

    @Option(help: "One of the two comparisons: 0.5b (LLaVA-OneVision) or 7b (LLaVA-1.5) (default: both).")
    var only: Part?

    @Option(help: "Comma-separated precisions.")
    var precisions = "bfloat16,int8"

    @Option(
        name: .shortAndLong, parsing: .unconditional, help: "Worker threads (default: see `fastvlm info`).")
    var threads: Int?

    @Option(parsing: .unconditional, help: "Text tokens of the prompt, beside the visual ones.")
    var textTokens = 30

    @Option(parsing: .unconditional, help: "Timed repeats, after one that is not.")
    var repeats = 3

    @Option(
        parsing: .unconditional,
        help: "Gigabytes of memory to stay within (default: what the system has free).")
    var memory: Double?

    @Flag(help: "One JSON object per row on stdout.")
    var json = false

    func validate() throws {
        try check("--text-tokens", textTokens, in: 1...700)
        try check("--repeats", repeats, in: 1...1000)
        try check("--threads", threads ?? 1, in: LoadOptions.possibleThreads)
        if let memory, !(0.1...1e6).contains(memory) {
            throw ValidationError("--memory must be between 0.1 and 1000000, got \(memory).")
        }
        _ = try parsedPrecisions()
    }

    private func parsedPrecisions() throws -> [Precision] {
        try Precision.list(precisions, "--precisions")
    }

    func run() async throws {
        try await running {
            try await offTaskThreads { cancellation in try compare(cancellation) }
        }
    }

    private func compare(_ cancellation: Cancellation) throws {
        let compute: Compute
        do { compute = try Compute(threads: threads) } catch { throw CommandFailure(.system, "\(error)") }
        let report = CompareReport(json: json, textTokens: textTokens)
        try report.begin(compute)
        let comparisons = zip(Part.allCases, Comparison.all).filter { only == nil || only == $0.0 }.map(\.1)
        for comparison in comparisons {
            for precision in try parsedPrecisions() {
                try measure(comparison, precision, compute, report, cancellation)
            }
        }
        try report.end(comparisons)
    }

    private func measure(
        _ comparison: Comparison, _ precision: Precision, _ compute: Compute, _ report: CompareReport,
        _ cancellation: Cancellation
    ) throws {
        guard let layers = layersThatFit(comparison.system, precision) else {
            let least = comparison.system.withLayers(comparison.system.configuration.text.layers / 8)
            return try report.skip(
                comparison, precision, needed: neededBytes(least, precision), have: available)
        }
        let progress = ProgressLine(
            "\(comparison.system.name), \(precision.rawValue)", enabled: !json)
        defer { progress.clear() }
        let systems = [comparison.system] + comparison.fastVLMs
        let benches = try load(systems.map { $0.withLayers(layers) }, precision, compute, progress)
        var rows = try zip(systems, benches).map { system, bench in
            CompareReport.Row(
                system: system, precision: precision, layers: layers,
                // Warms up as well.
                operations: try bench.firstTokenOperations(
                    system, textTokens: textTokens, cancellation: cancellation))
        }
        for round in 0..<repeats {
            for (place, bench) in benches.enumerated() {
                rows[place].seconds.append(
                    try bench.firstToken(
                        systems[place], textTokens: textTokens, cancellation: cancellation))
                progress.update(
                    Double(round * benches.count + place + 1) / Double(repeats * benches.count))
            }
        }
        progress.clear()
        try report.add(rows)
    }

    /// One workbench for each system; all share the decoder, and those of one tower share that.
    private func load(
        _ systems: [ComparedSystem], _ precision: Precision, _ compute: Compute, _ progress: ProgressLine
    ) throws -> [Workbench] {
        var benches: [Workbench] = []
        for system in systems {
            if let same = benches.last, same.network.configuration.vision == system.configuration.vision {
                benches.append(same)
                continue
            }
            let network = try VisionLanguageNetwork(
                SyntheticWeights(), configuration: system.configuration, precision: precision,
                compute: compute, sharing: benches.first?.network.decoder
            ) { fraction in
                try Task.checkCancellation()
                progress.update(fraction)
            }
            benches.append(Workbench(network: network, compute: compute))
        }
        return benches
    }

    private var available: Int? {
        memory.map { Int($0 * 1e9) } ?? SystemMemory.availableBytes
    }

    /// As many layers of the decoder as fit: all, or a half, a quarter or an eighth; nil where none does.
    private func layersThatFit(_ system: ComparedSystem, _ precision: Precision) -> Int? {
        let all = system.configuration.text.layers
        guard let available else { return all }
        return [all, all / 2, all / 4, all / 8].first {
            neededBytes(system.withLayers($0), precision) <= available
        }
    }

    /// Of a decoder, and the towers of both sides.
    private func neededBytes(_ system: ComparedSystem, _ precision: Precision) -> Int {
        system.decoderBytes(precision, textTokens: textTokens) + 2 << 30
    }
}
