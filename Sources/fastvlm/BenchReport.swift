import Benchmarking
import Foundation
import Tensors

/// One measured item.
struct Measurement {
    let item: String
    let precision: Precision
    /// Of each repeat.
    let seconds: [Double]
    /// Of one repeat.
    let operations: Int
    /// Tokens decoded per repeat, for decoding.
    var tokens: Int?
    /// Operations per second that could be reached at most.
    var peak: Double?

    var median: Double {
        let sorted = seconds.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}

/// Writes measurements as a table for people or as JSON lines for programs.
struct BenchReport {
    let json: Bool

    private struct Begin: Encodable {
        var type = "machine"
        var subject: String
        var processor: String
        var instructionSet: String
        var threads: Int
        var peakOperations: [String: Double]
        var readBytes: Double
    }

    private struct Line: Encodable {
        var type = "measurement"
        var item: String
        var precision: String
        var seconds: [Double]
        var median: Double
        var operations: Int
        var tokensPerSecond: Double?
        var shareOfPeak: Double?
    }

    private struct Operation: Encodable {
        var type = "operation"
        var item: String
        var precision: String
        var kind: String
        var shape: String
        var calls: Int
        var seconds: Double
        var operations: Int
        var bytes: Int
        var shareOfTime: Double
        var shareOfPeak: Double
    }

    func begin(_ subject: String, compute: Compute, ceilings: Ceilings) throws {
        if json {
            let named = ceilings.operations.map { ($0.key.rawValue, $0.value) }
            try Terminal.json(
                Begin(
                    subject: subject, processor: Compute.processorDescription(),
                    instructionSet: compute.instructionSet.rawValue, threads: compute.threads,
                    peakOperations: Dictionary(uniqueKeysWithValues: named), readBytes: ceilings.bytes))
            return
        }
        let peaks = Compute.Arithmetic.allCases.map { arithmetic in
            "\(arithmetic.rawValue) \(Self.number((ceilings.operations[arithmetic] ?? 0) / 1e9)) G"
        }
        try Terminal.answer(
            """
            \(subject)
            \(Compute.processorDescription()), \(compute.instructionSet.rawValue), \(compute.threads) threads
            at most: \(peaks.joined(separator: ", ")) operations/s; memory \(Self.number(ceilings.bytes / 1e9)) GB/s

            """)
    }

    func loaded(_ precision: Precision, in seconds: Double) throws {
        guard !json else { return }
        try Terminal.answer("\n\(precision.rawValue), loaded in \(Self.number(seconds)) s\n")
    }

    func add(_ measurement: Measurement) throws {
        let rate = measurement.tokens.map { Double($0) / measurement.median }
        let share = measurement.peak.map { Double(measurement.operations) / measurement.median / $0 }
        if json {
            return try Terminal.json(
                Line(
                    item: measurement.item, precision: measurement.precision.rawValue,
                    seconds: measurement.seconds, median: measurement.median,
                    operations: measurement.operations, tokensPerSecond: rate, shareOfPeak: share))
        }
        let (least, most) = (measurement.seconds.min() ?? 0, measurement.seconds.max() ?? 0)
        var line = Self.padded(measurement.item, 22)
        if let rate, let tokens = measurement.tokens {
            line +=
                "\(Self.number(rate)) tokens/s (\(Self.number(Double(tokens) / most))–\(Self.number(Double(tokens) / least)))"
        } else {
            line += Self.padded(
                "\(Self.milliseconds(measurement.median)) ms (\(Self.milliseconds(least))–\(Self.milliseconds(most)))",
                30)
            line += "\(Self.number(Double(measurement.operations) / measurement.median / 1e9)) G operations/s"
            if let share { line += ", \(Self.percent(share)) of the peak" }
        }
        try Terminal.answer("  \(line)\n")
    }

    func firstToken(_ seconds: Double, side: Int, precision: Precision) throws {
        guard !json else { return }
        try Terminal.answer(
            "  \(Self.padded("first token \(side)²", 22))\(Self.milliseconds(seconds)) ms, the sum of the medians\n"
        )
    }

    /// Where the time goes, the largest part first.
    func profile(
        _ item: String, precision: Precision, entries: [OperationLog.Entry], repeats: Int, ceilings: Ceilings
    ) throws {
        let total = entries.reduce(0) { $0 + $1.time / .seconds(1) }
        if !json {
            try Terminal.answer(
                "\n  \(item), \(precision.rawValue): \(Self.milliseconds(total / Double(repeats))) ms in operations\n"
                    + "  share     ms  calls   G/s  of peak  GB/s  operation\n")
        }
        for entry in entries.sorted(by: { $0.time > $1.time }) {
            let seconds = entry.time / .seconds(1)
            let isProduct = [.linear, .gatedLinear, .feedForward].contains(entry.kind)
            let peak = isProduct ? ceilings.peak(precision) : ceilings.operations[.float32] ?? 0
            let rate = Double(entry.operations) / seconds
            if json {
                try Terminal.json(
                    Operation(
                        item: item, precision: precision.rawValue, kind: entry.kind.rawValue,
                        shape: entry.shape, calls: entry.calls / repeats, seconds: seconds / Double(repeats),
                        operations: entry.operations / repeats, bytes: entry.bytes / repeats,
                        shareOfTime: seconds / total, shareOfPeak: rate / peak))
                continue
            }
            let columns = [
                Self.percent(seconds / total), Self.milliseconds(seconds / Double(repeats)),
                String(entry.calls / repeats), Self.number(rate / 1e9), Self.percent(rate / peak),
                Self.number(Double(entry.bytes) / seconds / 1e9),
            ]
            let row = zip(columns, [7, 7, 7, 6, 9, 6]).map { Self.padded($0, $1, left: true) }.joined()
            try Terminal.answer("\(row)  \(entry.kind.rawValue) \(entry.shape)\n")
        }
    }

    private static func number(_ value: Double) -> String {
        String(format: value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value)
    }

    private static func milliseconds(_ seconds: Double) -> String { number(seconds * 1000) }

    private static func percent(_ share: Double) -> String { String(format: "%.1f %%", share * 100) }

    private static func padded(_ text: String, _ width: Int, left: Bool = false) -> String {
        let missing = String(repeating: " ", count: max(0, width - text.count))
        return left ? missing + text : text + missing
    }
}
