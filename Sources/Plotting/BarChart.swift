/// Horizontal bars, each a stack of parts, under headings.
package struct BarChart: Panel {
    /// What a part of every bar means.
    package struct Part: Sendable {
        package var name: String
        package var color: String

        package init(_ name: String, color: String) {
            self.name = name
            self.color = color
        }
    }

    package struct Bar: Sendable {
        /// Bars of one group follow each other under its name.
        package var group: String
        package var name: String
        /// In the order of the parts.
        package var values: [Double]
        /// Smallest and largest of what the bar's length is the middle of.
        package var spread: ClosedRange<Double>?
        /// What stands at the end of the bar.
        package var label: String

        package init(
            group: String, name: String, values: [Double], spread: ClosedRange<Double>? = nil, label: String
        ) {
            self.group = group
            self.name = name
            self.values = values
            self.spread = spread
            self.label = label
        }

        var total: Double { values.filter { $0.isFinite && $0 > 0 }.reduce(0, +) }
    }

    package var title: String
    package var unit: String
    package var parts: [Part]
    package var bars: [Bar]

    package init(title: String, unit: String, parts: [Part], bars: [Bar]) {
        self.title = title
        self.unit = unit
        self.parts = parts
        self.bars = bars
    }

    private static let thickness = 20.0
    private static let pitch = 27.0
    private static let groupGap = 12.0
    private static let head = 52.0
    private static let foot = 46.0
    private static let labels = 178.0

    private var groups: Int {
        zip(bars, bars.dropFirst()).filter { $0.group != $1.group }.count + (bars.isEmpty ? 0 : 1)
    }

    package var height: Double {
        Self.head + Double(bars.count) * Self.pitch + Double(max(groups - 1, 0)) * Self.groupGap + Self.foot
    }

    package func draw(in frame: Rectangle, on drawing: inout Drawing) {
        drawing.text(
            title, at: Point(frame.x, frame.y + 16), size: 15, color: Palette.ink, bold: true, role: "heading"
        )
        if parts.count > 1 { legend(right: frame.right, y: frame.y + 16, on: &drawing) }
        let area = Rectangle(
            x: frame.x + Self.labels, y: frame.y + Self.head - 12, width: frame.width - Self.labels,
            height: frame.height - Self.head - Self.foot + 16)
        drawing.rectangle(area, Drawing.Style(fill: Palette.shade), role: "area")
        let ends = bars.map { max($0.total, $0.spread?.upperBound ?? 0) }
        // Room for the text at the end of the longest bar.
        let longest = bars.map { Drawing.width($0.label, size: 12) + 14 }.max() ?? 0
        let room = area.width / max(area.width - longest, 1)
        let axis = Axis(.linear, Axis.fromZero(ends, room: room), from: area.x, to: area.right)
        for tick in axis.ticks() {
            let x = axis.place(tick)
            drawing.line(
                [Point(x, area.y), Point(x, area.bottom)], Drawing.Style(stroke: Palette.grid), role: "grid")
            drawing.text(
                Axis.label(tick), at: Point(x, area.bottom + 16), size: 11, color: Palette.faint,
                anchor: .middle, role: "tick")
        }
        drawing.text(
            unit, at: Point(area.right, area.bottom + 32), size: 11, color: Palette.faint, anchor: .end)
        var y = area.y + 8
        for (index, bar) in bars.enumerated() {
            let begins = index == 0 || bars[index - 1].group != bar.group
            if begins, index > 0 { y += Self.groupGap }
            draw(bar, named: begins, y: y, axis: axis, left: frame.x, on: &drawing)
            y += Self.pitch
        }
        drawing.line(
            [Point(area.x, area.y), Point(area.x, area.bottom)], Drawing.Style(stroke: Palette.frame))
    }

    private func draw(
        _ bar: Bar, named: Bool, y: Double, axis: Axis, left: Double, on drawing: inout Drawing
    ) {
        let middle = y + Self.thickness / 2
        if named {
            drawing.text(
                Drawing.shortened(bar.group, to: 92, size: 13), at: Point(left, middle + 4.5), size: 13,
                color: Palette.ink, bold: true, role: "group")
        }
        drawing.text(
            Drawing.shortened(bar.name, to: 80, size: 12), at: Point(left + Self.labels - 10, middle + 4.5),
            size: 12, color: Palette.faint, anchor: .end, role: "name")
        var sum = 0.0
        for (part, value) in zip(parts, bar.values) where value.isFinite && value > 0 {
            let (from, to) = (axis.place(sum), axis.place(sum + value))
            drawing.rectangle(
                Rectangle(x: from, y: y, width: to - from, height: Self.thickness),
                Drawing.Style(fill: part.color), role: "bar",
                tip: "\(bar.group) \(bar.name), \(part.name): \(Axis.label(value)) \(unit)")
            let text = Axis.label(value)
            if parts.count > 1, to - from > Drawing.width(text, size: 11) + 10 {
                drawing.text(
                    text, at: Point((from + to) / 2, middle + 4), size: 11, color: "#ffffff", anchor: .middle)
            }
            sum += value
        }
        var end = axis.place(sum)
        if let spread = bar.spread {
            let (from, to) = (axis.place(spread.lowerBound), axis.place(spread.upperBound))
            let style = Drawing.Style(stroke: Palette.ink, width: 1.2)
            drawing.line([Point(from, middle), Point(to, middle)], style, role: "spread")
            for x in [from, to] { drawing.line([Point(x, middle - 4), Point(x, middle + 4)], style) }
            end = max(end, to)
        }
        drawing.text(
            bar.label, at: Point(end + 7, middle + 4.5), size: 12, color: Palette.ink, role: "value")
    }

    private func legend(right: Double, y: Double, on drawing: inout Drawing) {
        var x = right
        for part in parts.reversed() {
            x -= Drawing.width(part.name, size: 12)
            drawing.text(part.name, at: Point(x, y), size: 12, color: Palette.ink, role: "legend")
            x -= 17
            drawing.rectangle(
                Rectangle(x: x, y: y - 10, width: 12, height: 12), Drawing.Style(fill: part.color), corner: 2)
            x -= 16
        }
    }
}
