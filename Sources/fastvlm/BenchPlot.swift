import Benchmarking
import Plotting
import Tensors

/// What `bench` measured, as a figure.
struct BenchPlot {
    private let report: BenchReport
    private let subject: String
    private let machine: String
    private let ceilings: Ceilings

    init(_ report: BenchReport, subject: String, compute: Compute, ceilings: Ceilings) {
        self.report = report
        self.subject = subject
        let threads = compute.threads == 1 ? "1 thread" : "\(compute.threads) threads"
        machine = "\(Compute.processorDescription()), \(compute.instructionSet.rawValue) kernels, \(threads)"
        self.ceilings = ceilings
    }

    /// The text of the SVG file.
    var svg: String {
        let figure = Figure(
            title: subject,
            notes: [machine, "Medians of the repeats; ceilings measured in the same run."],
            panels: [firstToken, decoding] + rooflines)
        return figure.svg()
    }

    /// The resolutions and precisions measured, each once, in the order of a reader: small images first.
    private var rows: [(side: Int, precision: Precision)] {
        var rows: [(side: Int, precision: Precision)] = []
        for side in Set(report.measurements.map(\.side)).sorted() {
            for measurement in report.measurements
            where measurement.side == side
                && !rows.contains(where: { $0.side == side && $0.precision == measurement.precision })
            {
                rows.append((side, measurement.precision))
            }
        }
        return rows
    }

    private func measurement(_ stage: BenchStage, _ side: Int, _ precision: Precision) -> Measurement? {
        report.measurements.last { $0.stage == stage && $0.side == side && $0.precision == precision }
    }

    private var firstToken: BarChart {
        let stages: [BenchStage] = [.encode, .project, .prefill]
        let seconds = rows.map { row in
            stages.map { measurement($0, row.side, row.precision)?.median ?? 0 }
        }
        let isLong = (seconds.map { $0.reduce(0, +) }.max() ?? 0) >= 1
        let scale = isLong ? 1 : 1000.0
        let unit = isLong ? "s" : "ms"
        return BarChart(
            title: "Time to first token", unit: isLong ? "seconds" : "milliseconds",
            parts: [
                BarChart.Part("encode", color: Palette.blue),
                BarChart.Part("project", color: Palette.lightBlue),
                BarChart.Part("prefill", color: Palette.orange),
            ],
            bars: zip(rows, seconds).map { row, seconds in
                BarChart.Bar(
                    group: "\(row.side)²", name: row.precision.rawValue, values: seconds.map { $0 * scale },
                    label: "\(Axis.label(seconds.reduce(0, +) * scale)) \(unit)")
            })
    }

    private var decoding: BarChart {
        BarChart(
            title: "Decoding", unit: "tokens per second, with their range",
            parts: [BarChart.Part("tokens per second", color: Palette.teal)],
            bars: rows.compactMap { row in
                guard let line = measurement(.decode, row.side, row.precision), let tokens = line.tokens,
                    let least = line.seconds.min(), let most = line.seconds.max(), least > 0
                else { return nil }
                let rate = Double(tokens) / line.median
                return BarChart.Bar(
                    group: "\(row.side)²", name: row.precision.rawValue, values: [rate],
                    spread: Double(tokens) / most...Double(tokens) / least, label: Axis.label(rate))
            })
    }

    private static let kinds: [(kind: OperationLog.Kind, color: String)] = [
        (.feedForward, Palette.blue), (.linear, Palette.lightBlue), (.gatedLinear, Palette.purple),
        (.attention, Palette.red), (.depthwise, Palette.orange), (.stem, Palette.olive),
        (.norm, Palette.teal), (.other, Palette.grey),
    ]

    private var rooflines: [any Panel] {
        var precisions: [Precision] = []
        for profile in report.profiles where !precisions.contains(profile.precision) {
            precisions.append(profile.precision)
        }
        return precisions.map { precision in
            let profiles = report.profiles.filter { $0.precision == precision }
            let arithmetic = Set(profiles.flatMap { $0.operations.map(\.arithmetic) })
            return Roofline(
                title: "Roofline, \(precision.rawValue)",
                note: profiles.map(\.item).joined(separator: ", ")
                    + ". A point is one kind and shape of operation, its area the share of its item's time;"
                    + " encode filled, prefill a ring, decode a diamond.",
                kinds: Self.kinds.map { ($0.kind.rawValue, $0.color) },
                ceilings: Compute.Arithmetic.allCases.filter(arithmetic.contains).map {
                    Roofline.Ceiling($0.rawValue, rate: ceilings.operations[$0] ?? 0)
                },
                bandwidth: ceilings.bytes, marks: profiles.flatMap(marks))
        }
    }

    private func marks(_ profile: Profile) -> [Roofline.Mark] {
        let form: Roofline.Form =
            switch profile.stage {
            case .encode, .project: .disc
            case .prefill: .ring
            case .decode: .diamond
            }
        return profile.operations.map { operation in
            Roofline.Mark(
                name: operation.shape, kind: operation.kind.rawValue,
                operations: Double(operation.operations), bytes: Double(operation.bytes),
                seconds: operation.seconds, share: operation.shareOfTime, form: form)
        }
    }
}
