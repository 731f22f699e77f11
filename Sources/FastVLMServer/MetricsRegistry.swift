package import CoreMetrics
internal import Foundation
internal import Synchronization

/// Counters, gauges and histograms in the text format of Prometheus.
///
/// Labels are taken as they are where the format allows them. Timers become histograms in seconds.
package final class MetricsRegistry: Sendable {
    /// What has one name: the same kind for all its label values.
    private struct Family {
        enum Kind: String { case counter, gauge, histogram }

        let kind: Kind
        var series: [Labels: Value] = [:]
    }

    /// In the order of their names.
    private struct Labels: Hashable, Comparable {
        let pairs: [Pair]

        struct Pair: Hashable {
            let name: String
            let value: String
        }

        init(_ dimensions: [(String, String)]) {
            pairs = dimensions.map { Pair(name: MetricsRegistry.plain($0.0), value: $0.1) }
                .sorted { $0.name < $1.name }
        }

        static func < (left: Labels, right: Labels) -> Bool {
            left.pairs.map(\.value).lexicographicallyPrecedes(right.pairs.map(\.value))
        }

        func text(_ further: [(String, String)] = []) -> String {
            let all = pairs.map { ($0.name, $0.value) } + further
            guard !all.isEmpty else { return "" }
            return "{" + all.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",") + "}"
        }

        private static func escaped(_ text: String) -> String {
            text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
        }
    }

    private enum Value {
        case number(Double)
        case histogram(Histogram)
    }

    private struct Histogram {
        let bounds: [Double]
        /// One more than bounds: the last has what is beyond.
        var counts: [Int]
        var sum = 0.0

        init(_ bounds: [Double]) {
            self.bounds = bounds
            counts = [Int](repeating: 0, count: bounds.count + 1)
        }

        mutating func record(_ value: Double) {
            counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
            sum += value
        }
    }

    private struct State {
        var families: [String: Family] = [:]
        var help: [String: String] = [:]
    }

    private let state = Mutex(State())

    /// Seconds, from a token of a small model to a long answer.
    static let secondsBounds = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
    ]
    static let countBounds: [Double] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]

    package init() {}

    /// What a name means, for whoever reads the page.
    package func describe(_ name: String, _ help: String) { state.withLock { $0.help[name] = help } }

    // MARK: - Recording

    fileprivate func add(_ name: String, _ labels: [(String, String)], _ value: Double) {
        update(name, .counter, labels, .number(0)) {
            if case .number(let number) = $0 { $0 = .number(number + value) }
        }
    }

    fileprivate func set(_ name: String, _ labels: [(String, String)], _ value: Double) {
        update(name, .gauge, labels, .number(0)) { $0 = .number(value) }
    }

    fileprivate func change(_ name: String, _ labels: [(String, String)], by value: Double) {
        update(name, .gauge, labels, .number(0)) {
            if case .number(let number) = $0 { $0 = .number(number + value) }
        }
    }

    fileprivate func observe(
        _ name: String, _ labels: [(String, String)], _ value: Double, bounds: [Double]
    ) {
        update(name, .histogram, labels, .histogram(Histogram(bounds))) {
            guard case .histogram(var histogram) = $0 else { return }
            histogram.record(value)
            $0 = .histogram(histogram)
        }
    }

    /// A name keeps the kind it was first used with.
    private func update(
        _ name: String, _ kind: Family.Kind, _ labels: [(String, String)], _ initial: Value,
        _ change: (inout Value) -> Void
    ) {
        let labels = Labels(labels)
        state.withLock { state in
            guard state.families[name, default: Family(kind: kind)].kind == kind else { return }
            change(&state.families[name, default: Family(kind: kind)].series[labels, default: initial])
        }
    }

    // MARK: - Text

    /// The text of `/metrics`.
    package var text: String {
        let (families, help) = state.withLock { ($0.families, $0.help) }
        var text = ""
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            if let help = help[name] { text += "# HELP \(name) \(help)\n" }
            text += "# TYPE \(name) \(family.kind.rawValue)\n"
            for (labels, value) in family.series.sorted(by: { $0.key < $1.key }) {
                switch value {
                case .number(let number): text += "\(name)\(labels.text()) \(Self.number(number))\n"
                case .histogram(let histogram): text += Self.text(of: histogram, name, labels)
                }
            }
        }
        return text
    }

    private static func text(of histogram: Histogram, _ name: String, _ labels: Labels) -> String {
        var text = ""
        var count = 0
        for (place, bound) in histogram.bounds.enumerated() {
            count += histogram.counts[place]
            text += "\(name)_bucket\(labels.text([("le", number(bound))])) \(count)\n"
        }
        count += histogram.counts.last ?? 0
        text += "\(name)_bucket\(labels.text([("le", "+Inf")])) \(count)\n"
        text += "\(name)_sum\(labels.text()) \(number(histogram.sum))\n"
        text += "\(name)_count\(labels.text()) \(count)\n"
        return text
    }

    private static func number(_ number: Double) -> String {
        number == number.rounded() && abs(number) < 1e15 ? "\(Int(number))" : "\(number)"
    }

    /// Letters, digits and underscores; a name must not begin with a digit.
    fileprivate static func plain(_ name: String) -> String {
        let text = String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") ? $0 : "_" })
        return text.first?.isNumber ?? true ? "_" + text : text
    }

    /// What gives its metrics a label of their own.
    package func labelled(_ name: String, _ value: String) -> any MetricsFactory {
        RegistryFactory(registry: self, labels: [(name, value)])
    }
}

// MARK: - swift-metrics

/// Makes the registry's metrics for whoever counts through swift-metrics.
struct RegistryFactory: MetricsFactory {
    let registry: MetricsRegistry
    var labels: [(String, String)] = []

    private func series(_ label: String, _ dimensions: [(String, String)]) -> RegistrySeries {
        RegistrySeries(
            registry: registry, name: MetricsRegistry.plain(label), labels: labels + dimensions)
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        series(label, dimensions)
    }

    func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        series(label, dimensions)
    }

    func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        RegistryGauge(
            registry: registry, name: MetricsRegistry.plain(label), labels: labels + dimensions)
    }

    func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        series(label, dimensions)
    }

    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        series(label, dimensions)
    }

    // They live as long as the registry.
    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
    func destroyMeter(_ handler: any MeterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}
}

/// A counter or a histogram with its labels.
private final class RegistrySeries: CounterHandler, FloatingPointCounterHandler, RecorderHandler,
    TimerHandler
{
    private let registry: MetricsRegistry
    private let name: String
    private let labels: [(String, String)]

    init(registry: MetricsRegistry, name: String, labels: [(String, String)]) {
        self.registry = registry
        self.name = name
        self.labels = labels
    }

    func increment(by amount: Int64) { registry.add(name, labels, Double(max(amount, 0))) }
    func increment(by amount: Double) { registry.add(name, labels, max(amount, 0)) }
    /// Counters of Prometheus begin anew with the process only.
    func reset() {}

    func record(_ value: Int64) {
        registry.observe(name, labels, Double(value), bounds: MetricsRegistry.countBounds)
    }

    func record(_ value: Double) {
        registry.observe(name, labels, value, bounds: MetricsRegistry.countBounds)
    }

    func recordNanoseconds(_ duration: Int64) {
        registry.observe(
            name, labels, Double(duration) * 1e-9, bounds: MetricsRegistry.secondsBounds)
    }
}

/// A gauge with its labels.
private final class RegistryGauge: MeterHandler {
    private let registry: MetricsRegistry
    private let name: String
    private let labels: [(String, String)]

    init(registry: MetricsRegistry, name: String, labels: [(String, String)]) {
        self.registry = registry
        self.name = name
        self.labels = labels
    }

    func set(_ value: Int64) { registry.set(name, labels, Double(value)) }
    func set(_ value: Double) { registry.set(name, labels, value) }
    func increment(by amount: Double) { registry.change(name, labels, by: amount) }
    func decrement(by amount: Double) { registry.change(name, labels, by: -amount) }
}

// MARK: - The server's own

/// What the server counts beside the models.
struct ServerMetrics: Sendable {
    private let registry: MetricsRegistry
    private let start = Date().timeIntervalSince1970

    init(_ registry: MetricsRegistry) {
        self.registry = registry
        for (name, help) in [
            (
                "fastvlm_http_requests_total",
                "Requests by route, method and status; 499 left before an answer."
            ),
            ("fastvlm_http_request_seconds", "From a request's head to the end of its response."),
            ("fastvlm_refused_total", "Requests without an answer, by reason."),
            ("fastvlm_queue_seconds", "From a request's head to the first work on it."),
            ("fastvlm_http_requests_running", "Requests that are not answered yet."),
            ("fastvlm_models_loaded", "Models in memory."),
            ("fastvlm_requests_waiting", "Requests that wait to be worked on."),
            ("fastvlm_requests_running", "Requests that are worked on."),
            ("fastvlm_requests_total", "Answers by their end: stop, length, cancelled, or an error's code."),
            ("fastvlm_batch_sequences", "Sequences with a row in a step of the decoder."),
            ("fastvlm_images_total", "Images of answers, encoded or remembered."),
            ("fastvlm_positions_total", "Positions of prompts, computed or remembered."),
            ("fastvlm_tokens_total", "Tokens of answers."),
            ("fastvlm_stage_seconds", "Stages of answers."),
            (
                "fastvlm_first_token_seconds",
                "From image bytes to the first token, without waiting for others."
            ),
            ("fastvlm_token_seconds", "Each further token."),
            ("process_resident_memory_bytes", "Resident memory."),
            (
                "process_anonymous_memory_bytes",
                "Resident memory that no file backs, and what is swapped out."
            ),
            ("process_start_time_seconds", "Start of the process since the epoch."),
        ] { registry.describe(name, help) }
    }

    func finished(route: String, method: String, status: Int, seconds: Double) {
        // Whatever a client calls its method must not make a series.
        let method = ["GET", "HEAD", "POST", "OPTIONS"].contains(method) ? method : "other"
        let labels = [("route", route), ("method", method)]
        registry.add("fastvlm_http_requests_total", labels + [("status", "\(status)")], 1)
        registry.observe(
            "fastvlm_http_request_seconds", [("route", route)], seconds, bounds: MetricsRegistry.secondsBounds
        )
    }

    func refused(_ reason: String) { registry.add("fastvlm_refused_total", [("reason", reason)], 1) }

    func queued(seconds: Double) {
        registry.observe("fastvlm_queue_seconds", [], seconds, bounds: MetricsRegistry.secondsBounds)
    }

    /// What is looked at when somebody asks.
    func measure(models: Int, requests: Int) {
        registry.set("fastvlm_models_loaded", [], Double(models))
        registry.set("fastvlm_http_requests_running", [], Double(requests))
        registry.set("process_start_time_seconds", [], start)
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return }
        func kibibytes(_ name: String) -> Double {
            let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
            let digits = line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first
            return digits.flatMap { Double($0) } ?? 0
        }
        registry.set("process_resident_memory_bytes", [], kibibytes("VmRSS") * 1024)
        registry.set(
            "process_anonymous_memory_bytes", [], (kibibytes("RssAnon") + kibibytes("VmSwap")) * 1024)
    }
}
