/// How far a batch is, in a line for people.
package struct BatchProgress: Sendable {
    package var counts = BatchCounts()
    /// As of ``BatchSource/size``.
    package var size: Int?

    package init(size: Int?) { self.size = size }

    /// 0...1; nil where nobody knows how much there is.
    package var fraction: Double? {
        guard let size, size > 0 else { return nil }
        return min(Double(counts.position) / Double(size), 1)
    }

    /// Records per second.
    package var rate: Double { counts.seconds > 0 ? Double(counts.written) / counts.seconds : 0 }

    /// Seconds that the rest will take if it goes on like this.
    package var secondsLeft: Double? {
        guard let size, let start = counts.start, counts.written > 1, counts.position > start else {
            return nil
        }
        // From the end of the first item on: what lies before it may have been skipped.
        let seconds = counts.seconds * Double(counts.written - 1) / Double(counts.written)
        let each = seconds / Double(counts.position - start)
        return Double(max(size - counts.position, 0)) * each
    }

    /// - Parameter columns: of the terminal
    package func line(columns: Int) -> String {
        var words: [String] = []
        if let fraction { words.append("\(Int((fraction * 100).rounded(.down))) %") }
        words.append("\(counts.written) done")
        if counts.skipped > 0 { words.append("\(counts.skipped) there already") }
        if counts.failed > 0 { words.append("\(counts.failed) failed") }
        words.append("\(Self.text(rate: rate))")
        if let secondsLeft { words.append("\(Self.text(seconds: secondsLeft)) left") }
        let text = words.joined(separator: " · ")
        let room = min(columns - text.count - 4, 30)
        guard let fraction, room >= 8 else { return String(text.prefix(max(columns - 1, 0))) }
        let full = Int(fraction * Double(room))
        return "[" + String(repeating: "#", count: full) + String(repeating: "-", count: room - full) + "] "
            + text
    }

    /// `3.12 per second`, or per minute or hour where that is less than one.
    package static func text(rate: Double) -> String {
        let (value, unit): (Double, String) =
            if rate >= 1 || rate == 0 {
                (rate, "second")
            } else if rate * 60 >= 1 {
                (rate * 60, "minute")
            } else {
                (rate * 3600, "hour")
            }
        let places: Double = value >= 100 ? 1 : value >= 10 ? 10 : 100
        let rounded = (value * places).rounded() / places
        return "\(places == 1 ? "\(Int(rounded))" : "\(rounded)") per \(unit)"
    }

    /// `2:31:05` or `4:07`.
    package static func text(seconds: Double) -> String {
        let whole = Int(min(max(seconds.rounded(), 0), 1e9))
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let (hours, minutes) = (whole / 3600, whole / 60 % 60)
        return hours > 0
            ? "\(hours):\(two(minutes)):\(two(whole % 60))" : "\(minutes):\(two(whole % 60))"
    }
}
