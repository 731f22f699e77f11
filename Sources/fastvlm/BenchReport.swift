import Benchmarking
import Foundation
import Tensors

/// A part of an answer.
enum BenchStage: String, Encodable { case encode, project, prefill, decode }

/// One measured item.
struct Measurement {
    let item: String
    let stage: BenchStage
    /// Of the image.
    let side: Int
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

/// One kind and shape of operation in a profile; seconds, operations and bytes are those of one repeat.
struct ProfiledOperation {
    let kind: OperationLog.Kind
    let shape: String
    let calls: Int
    let seconds: Double
    let operations: Int
    let bytes: Int
    /// Of the operations of its item, 0...1.
    let shareOfTime: Double
    /// Whose ceiling stands above it.
    let arithmetic: Compute.Arithmetic
    let peak: Double

    var rate: Double { Double(operations) / seconds }
}

/// Where the time of one item went, the largest part first.
struct Profile {
    let item: String
    let stage: BenchStage
    let precision: Precision
    let operations: [ProfiledOperation]

    init(
        _ item: String, stage: BenchStage, precision: Precision, entries: [OperationLog.Entry], repeats: Int,
        ceilings: Ceilings
    ) {
        self.item = item
        self.stage = stage
        self.precision = precision
        let total = entries.reduce(0) { $0 + $1.time / .seconds(1) }
        operations = entries.sorted { $0.time > $1.time }.map { entry in
            let seconds = entry.time / .seconds(1)
            // Only products use the precision's arithmetic; everything else computes in float32.
            let isProduct = [.linear, .gatedLinear, .feedForward].contains(entry.kind)
            let arithmetic = isProduct ? Ceilings.arithmetic(precision) : .float32
            return ProfiledOperation(
                kind: entry.kind, shape: entry.shape, calls: entry.calls / repeats,
                seconds: seconds / Double(repeats), operations: entry.operations / repeats,
                bytes: entry.bytes / repeats, shareOfTime: seconds / total, arithmetic: arithmetic,
                peak: ceilings.operations[arithmetic] ?? 0)
        }
    }

    var seconds: Double { operations.reduce(0) { $0 + $1.seconds } }
}

/// Writes measurements as a table for people or as JSON lines for programs, and keeps them for a plot.
final class BenchReport {
    private let json: Bool
    private(set) var measurements: [Measurement] = []
    private(set) var profiles: [Profile] = []

    private let stream: Terminal.Stream

    init(json: Bool, to stream: Terminal.Stream) {
        self.json = json
        self.stream = stream
    }

    private func write(_ text: String) throws { try Terminal.answer(text, to: stream) }
    private func write(line: some Encodable) throws { try Terminal.json(line, to: stream) }

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
        var stage: BenchStage
        var side: Int
        var precision: Precision
        var seconds: [Double]
        var median: Double
        var operations: Int
        var tokensPerSecond: Double?
        var shareOfPeak: Double?
    }

    private struct Operation: Encodable {
        var type = "operation"
        var item: String
        var stage: BenchStage
        var precision: Precision
        var kind: String
        var shape: String
        var calls: Int
        var seconds: Double
        var operations: Int
        var bytes: Int
        var shareOfTime: Double
        /// Which of the machine's peaks `shareOfPeak` is of.
        var arithmetic: String
        var shareOfPeak: Double
    }

    func begin(_ subject: String, compute: Compute, ceilings: Ceilings) throws {
        if json {
            let named = ceilings.operations.map { ($0.key.rawValue, $0.value) }
            try write(
                line: Begin(
                    subject: subject, processor: Compute.processorDescription(),
                    instructionSet: compute.instructionSet.rawValue, threads: compute.threads,
                    peakOperations: Dictionary(uniqueKeysWithValues: named), readBytes: ceilings.bytes))
            return
        }
        let peaks = Compute.Arithmetic.allCases.map { arithmetic in
            "\(arithmetic.rawValue) \(Self.number((ceilings.operations[arithmetic] ?? 0) / 1e9)) G"
        }
        try write(
            """
            \(subject)
            \(Compute.processorDescription()), \(compute.instructionSet.rawValue), \(compute.threads) threads
            at most: \(peaks.joined(separator: ", ")) operations/s; memory \(Self.number(ceilings.bytes / 1e9)) GB/s

            """)
    }

    func loaded(_ precision: Precision, in seconds: Double) throws {
        guard !json else { return }
        try write("\n\(precision.rawValue), loaded in \(Self.number(seconds)) s\n")
    }

    func add(_ measurement: Measurement) throws {
        measurements.append(measurement)
        let rate = measurement.tokens.map { Double($0) / measurement.median }
        let share = measurement.peak.map { Double(measurement.operations) / measurement.median / $0 }
        if json {
            return try write(
                line: Line(
                    item: measurement.item, stage: measurement.stage, side: measurement.side,
                    precision: measurement.precision,
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
        try write("  \(line)\n")
    }

    func firstToken(_ seconds: Double, side: Int, precision: Precision) throws {
        guard !json else { return }
        try write(
            "  \(Self.padded("first token \(side)²", 22))\(Self.milliseconds(seconds)) ms, the sum of the medians\n"
        )
    }

    private struct Sampling: Encodable {
        var type: String
        var item: String
        var precision: Precision
        var seconds: [Double]
        var median: Double
        var shareOfDecoding: Double?
    }

    /// How long a part of the choice of a token takes; the share is of a decoding step measured last with this precision.
    func sampled(
        _ item: String, _ precision: Precision, _ seconds: [Double], type: String = "sampling"
    ) throws {
        let median = seconds.sorted()[seconds.count / 2]
        let step = measurements.last { $0.stage == .decode && $0.precision == precision }
        let share = step.flatMap { step in step.tokens.map { median / (step.median / Double($0)) } }
        if json {
            return try write(
                line: Sampling(
                    type: type, item: item, precision: precision, seconds: seconds, median: median,
                    shareOfDecoding: share))
        }
        let part = share.map { ", \(Self.percent($0)) of a decoding step" } ?? ""
        try write(
            "  \(Self.padded("\(type == "format" ? "format" : "choose"), \(item)", 30))\(Self.number(median * 1e6)) µs\(part)\n"
        )
    }

    /// Tokens per second of several answers at once, and how many times the first number's per stream that is.
    func streamed(_ count: Int, _ precision: Precision, rate: Double, times: Double) throws {
        if json {
            return try write(
                line: Streams(
                    item: "streams", streams: count, precision: precision.rawValue, tokensPerSecond: rate,
                    timesOne: times))
        }
        try write(
            "  \(Self.padded("\(count) at once", 30))\(Self.number(rate)) tokens/s together, "
                + "\(Self.number(rate / Double(count))) each, \(Self.number(times)) × one\n")
    }

    /// How long requests wait for each other.
    func waited(_ waiting: StreamBench.Waiting, side: Int, _ precision: Precision) throws {
        if json {
            return try write(
                line: Waits(
                    item: "waiting", side: side, precision: precision.rawValue, secondsPerStep: waiting.step,
                    longestGapWhileEncoding: waiting.longestGap, followUpAlone: waiting.alone,
                    followUpBesidePrefill: waiting.beside))
        }
        try write(
            "  \(Self.padded("longest gap", 30))\(Self.milliseconds(waiting.longestGap)) ms in an answer while an "
                + "image of \(side)² is encoded and prefilled (\(Self.milliseconds(waiting.step)) ms without)\n"
                + "  \(Self.padded("25 tokens more", 30))\(Self.milliseconds(waiting.alone)) ms to the first token, "
                + "\(Self.milliseconds(waiting.beside)) ms while another image is prefilled\n")
    }

    private struct Streams: Encodable {
        var item: String
        var streams: Int
        var precision: String
        var tokensPerSecond: Double
        var timesOne: Double
    }

    private struct Waits: Encodable {
        var item: String
        var side: Int
        var precision: String
        var secondsPerStep: Double
        var longestGapWhileEncoding: Double
        var followUpAlone: Double
        var followUpBesidePrefill: Double
    }

    func add(_ profile: Profile) throws {
        profiles.append(profile)
        if !json {
            try write(
                "\n  \(profile.item), \(profile.precision.rawValue): \(Self.milliseconds(profile.seconds)) ms in operations\n"
                    + "  share     ms  calls   G/s  of peak  GB/s  operation\n")
        }
        for operation in profile.operations {
            let shareOfPeak = operation.rate / operation.peak
            if json {
                try write(
                    line: Operation(
                        item: profile.item, stage: profile.stage, precision: profile.precision,
                        kind: operation.kind.rawValue, shape: operation.shape, calls: operation.calls,
                        seconds: operation.seconds, operations: operation.operations,
                        bytes: operation.bytes, shareOfTime: operation.shareOfTime,
                        arithmetic: operation.arithmetic.rawValue, shareOfPeak: shareOfPeak))
                continue
            }
            let columns = [
                Self.percent(operation.shareOfTime), Self.milliseconds(operation.seconds),
                String(operation.calls), Self.number(operation.rate / 1e9), Self.percent(shareOfPeak),
                Self.number(Double(operation.bytes) / operation.seconds / 1e9),
            ]
            let row = zip(columns, [7, 7, 7, 6, 9, 6]).map { Self.padded($0, $1, left: true) }.joined()
            try write("\(row)  \(operation.kind.rawValue) \(operation.shape)\n")
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
