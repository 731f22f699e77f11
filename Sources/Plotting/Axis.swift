internal import Foundation

/// Numbers to places along one direction of a plot, and which of them are labelled.
package struct Axis: Sendable {
    package enum Scale: Sendable { case linear, logarithmic }

    package let scale: Scale
    package let range: ClosedRange<Double>
    /// Where the ends of the range stand; the first is larger on an axis that points up.
    private let start: Double
    private let end: Double

    /// - Parameter range: of positive numbers where the scale is logarithmic
    package init(_ scale: Scale, _ range: ClosedRange<Double>, from start: Double, to end: Double) {
        precondition(scale == .linear || range.lowerBound > 0, "a logarithm needs positive numbers")
        self.scale = scale
        self.range = range
        self.start = start
        self.end = end
    }

    /// The place of a number; numbers beyond the range stand at its end.
    package func place(_ value: Double) -> Double {
        let inside = min(max(value, range.lowerBound), range.upperBound)
        let share =
            scale == .linear
            ? (inside - range.lowerBound) / (range.upperBound - range.lowerBound)
            : log(inside / range.lowerBound) / log(range.upperBound / range.lowerBound)
        return start + (share.isFinite ? share : 0) * (end - start)
    }

    /// Numbers worth a line: about `count` of them on a linear scale; on a logarithmic one 1, 10, 100 …, with 2 and 5
    /// between them where there are few decades.
    package func ticks(_ count: Int = 6) -> [Double] {
        let values: [Double]
        switch scale {
        case .linear:
            let step = Self.step((range.upperBound - range.lowerBound) / Double(max(count, 1)))
            guard step > 0 else { return [range.lowerBound] }
            let first = (range.lowerBound / step).rounded(.up)
            let last = (range.upperBound / step).rounded(.down)
            values = stride(from: first, through: last, by: 1).map { $0 * step }
        case .logarithmic:
            let decades =
                Int(log10(range.lowerBound).rounded(.down))...Int(log10(range.upperBound).rounded(.up))
            let factors: [Double] = decades.count > 5 ? [1] : [1, 2, 5]
            values = decades.flatMap { decade in factors.map { $0 * pow(10, Double(decade)) } }
        }
        let slack = (1 - 1e-9, 1 + 1e-9)
        return values.filter { $0 >= range.lowerBound * slack.0 && $0 <= range.upperBound * slack.1 }
    }

    /// 1, 2 or 5 times a power of ten, at least `rough`.
    private static func step(_ rough: Double) -> Double {
        guard rough.isFinite, rough > 0 else { return 0 }
        let power = pow(10, log10(rough).rounded(.down))
        return ([1, 2, 5, 10].first { $0 * power >= rough * (1 - 1e-9) } ?? 10) * power
    }

    /// A range from 0 to a little beyond the largest of `values`.
    package static func fromZero(_ values: some Sequence<Double>, room: Double = 1) -> ClosedRange<Double> {
        let largest = values.filter(\.isFinite).max() ?? 0
        return 0...(largest > 0 ? largest * room : 1)
    }

    /// Three significant digits, without an exponent.
    package static func label(_ value: Double) -> String {
        guard value.isFinite else { return "–" }
        guard value != 0 else { return "0" }
        let digits = max(0, 2 - Int(log10(abs(value)).rounded(.down)))
        var text = String(format: "%.\(min(digits, 9))f", value)
        if text.contains(".") {
            while text.hasSuffix("0") { text.removeLast() }
            if text.hasSuffix(".") { text.removeLast() }
        }
        return text
    }
}
