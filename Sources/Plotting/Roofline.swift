internal import Foundation

/// Achieved rates over operations per byte, on logarithmic axes, under what the machine can do at most (Williams,
/// Waterman, Patterson: "Roofline", 2009).
package struct Roofline: Panel {
    /// A horizontal ceiling: operations per second of some arithmetic.
    package struct Ceiling: Sendable {
        package var name: String
        package var rate: Double

        package init(_ name: String, rate: Double) {
            self.name = name
            self.rate = rate
        }
    }

    /// How a point looks, so that runs can be told apart.
    package enum Form: Sendable { case disc, ring, diamond }

    package struct Mark: Sendable {
        /// What the point is, such as a shape.
        package var name: String
        /// Which of ``Roofline/kinds`` it belongs to.
        package var kind: String
        package var operations: Double
        package var bytes: Double
        package var seconds: Double
        /// Of the time of its run, 0...1: the area of the point.
        package var share: Double
        package var form: Form

        package init(
            name: String, kind: String, operations: Double, bytes: Double, seconds: Double, share: Double,
            form: Form = .disc
        ) {
            self.name = name
            self.kind = kind
            self.operations = operations
            self.bytes = bytes
            self.seconds = seconds
            self.share = share
            self.form = form
        }

        var rate: Double { operations / seconds }
        var intensity: Double { operations / bytes }
        /// Whether both coordinates have logarithms.
        var isDrawable: Bool {
            rate.isFinite && intensity.isFinite && rate > 0 && intensity > 0 && share.isFinite && share > 0
        }
    }

    package var title: String
    package var note: String
    /// In the order of the legend, with their colours.
    package var kinds: [(name: String, color: String)]
    package var ceilings: [Ceiling]
    /// Bytes per second.
    package var bandwidth: Double
    package var marks: [Mark]

    package init(
        title: String, note: String, kinds: [(name: String, color: String)], ceilings: [Ceiling],
        bandwidth: Double, marks: [Mark]
    ) {
        self.title = title
        self.note = note
        self.kinds = kinds
        self.ceilings = ceilings.filter { $0.rate.isFinite && $0.rate > 0 }
        self.bandwidth = bandwidth
        self.marks = marks.filter(\.isDrawable)
    }

    package let height = 500.0
    private static let labelled = 10
    /// Radius of a point that took all the time.
    private static let largest = 28.0

    package func draw(in frame: Rectangle, on drawing: inout Drawing) {
        drawing.text(
            title, at: Point(frame.x, frame.y + 16), size: 15, color: Palette.ink, bold: true, role: "heading"
        )
        drawing.text(note, at: Point(frame.x, frame.y + 34), size: 12, color: Palette.faint, role: "note")
        legend(frame, on: &drawing)
        let area = Rectangle(
            x: frame.x + 54, y: frame.y + 72, width: frame.width - 54, height: frame.height - 72 - 48)
        let (x, y) = axes(area)
        drawing.rectangle(area, Drawing.Style(fill: Palette.shade), role: "area")
        draw(x, y, area, on: &drawing)
        let roofs = roofs(x, y, area, on: &drawing)
        points(x, y, area, avoiding: roofs, on: &drawing)
    }

    /// Wide enough for every point, the ceilings and the ridges below them.
    private func axes(_ area: Rectangle) -> (x: Axis, y: Axis) {
        let top = ceilings.map(\.rate).max() ?? 1e9
        let ridge = bandwidth > 0 ? top / bandwidth : 1
        let intensities = marks.map(\.intensity) + [ridge]
        let rates = marks.map(\.rate) + [top]
        func range(_ values: [Double], _ low: Double, _ high: Double) -> ClosedRange<Double> {
            (values.min() ?? 1) * low...(values.max() ?? 1) * high
        }
        return (
            Axis(.logarithmic, range(intensities, 0.5, 3), from: area.x, to: area.right),
            Axis(.logarithmic, range(rates, 0.5, 2), from: area.bottom, to: area.y)
        )
    }

    private func draw(_ x: Axis, _ y: Axis, _ area: Rectangle, on drawing: inout Drawing) {
        for tick in x.ticks() {
            let place = x.place(tick)
            drawing.line(
                [Point(place, area.y), Point(place, area.bottom)], Drawing.Style(stroke: Palette.grid),
                role: "grid")
            drawing.text(
                Axis.label(tick), at: Point(place, area.bottom + 16), size: 11, color: Palette.faint,
                anchor: .middle, role: "tick")
        }
        for tick in y.ticks() {
            let place = y.place(tick)
            drawing.line(
                [Point(area.x, place), Point(area.right, place)], Drawing.Style(stroke: Palette.grid),
                role: "grid")
            drawing.text(
                Axis.label(tick / 1e9), at: Point(area.x - 8, place + 4), size: 11, color: Palette.faint,
                anchor: .end, role: "tick")
        }
        drawing.text(
            "operations per byte of operands and results",
            at: Point(area.x + area.width / 2, area.bottom + 36),
            size: 12, color: Palette.faint, anchor: .middle)
        drawing.text(
            "G operations per second", at: Point(area.x - 42, area.y + area.height / 2), size: 12,
            color: Palette.faint, anchor: .middle, angle: -90)
    }

    /// - Returns: where lines and their names stand.
    private func roofs(_ x: Axis, _ y: Axis, _ area: Rectangle, on drawing: inout Drawing) -> [Rectangle] {
        let top = ceilings.map(\.rate).max() ?? 0
        var taken: [Rectangle] = []
        for ceiling in ceilings {
            // A ceiling begins where memory could feed it.
            let ridge = bandwidth > 0 ? ceiling.rate / bandwidth : x.range.lowerBound
            let style = Drawing.Style(
                stroke: Palette.ink, width: ceiling.rate == top ? 1.8 : 1.2, dashed: ceiling.rate != top)
            let (from, height) = (x.place(ridge), y.place(ceiling.rate))
            drawing.line([Point(from, height), Point(area.right, height)], style, role: "ceiling")
            let name = "\(ceiling.name): \(Axis.label(ceiling.rate / 1e9)) G operations/s"
            // Left of the ridge no point can stand, unless caches feed it.
            let inner = max(from - 8, area.x + Drawing.width(name, size: 12))
            drawing.text(
                name, at: Point(inner, height + 4), size: 12, color: Palette.ink, anchor: .end, halo: true,
                role: "ceiling")
            let width = Drawing.width(name, size: 12)
            taken.append(Rectangle(x: from, y: height - 2, width: area.right - from, height: 4))
            taken.append(Rectangle(x: inner - width, y: height - 8, width: width, height: 16))
        }
        guard bandwidth > 0, top > 0 else { return taken }
        // From where the memory's line enters the plot, at its left side or its floor, to the highest ceiling.
        let first = max(x.range.lowerBound, y.range.lowerBound / bandwidth)
        let from = Point(x.place(first), y.place(first * bandwidth))
        let to = Point(x.place(top / bandwidth), y.place(top))
        drawing.line([from, to], Drawing.Style(stroke: Palette.ink, width: 1.8), role: "memory")
        let angle = atan2(to.y - from.y, to.x - from.x)
        func along(_ share: Double, above: Double) -> Point {
            Point(
                from.x + share * (to.x - from.x) + above * sin(angle),
                from.y + share * (to.y - from.y) - above * cos(angle))
        }
        drawing.text(
            "memory: \(Axis.label(bandwidth / 1e9)) GB/s", at: along(0.3, above: 7), size: 12,
            color: Palette.ink, anchor: .middle, angle: angle * 180 / .pi, halo: true, role: "ceiling")
        for step in 0...40 {
            let center = along(Double(step) / 40, above: step > 4 && step < 20 ? 7 : 0)
            taken.append(Rectangle(x: center.x - 6, y: center.y - 7, width: 12, height: 14))
        }
        return taken
    }

    private func points(
        _ x: Axis, _ y: Axis, _ area: Rectangle, avoiding roofs: [Rectangle], on drawing: inout Drawing
    ) {
        // Large ones first, so that small ones stay visible.
        let ordered = marks.sorted { $0.share > $1.share }
        var taken = roofs
        var places: [(mark: Mark, center: Point, radius: Double)] = []
        for mark in ordered {
            let radius = max(Self.largest * min(mark.share, 1).squareRoot(), 2.5)
            let center = Point(x.place(mark.intensity), y.place(mark.rate))
            let color = kinds.first { $0.name == mark.kind }?.color ?? Palette.grey
            point(mark, center, radius, color, on: &drawing)
            places.append((mark, center, radius))
            let half = radius * 0.7
            taken.append(
                Rectangle(x: center.x - half, y: center.y - half, width: 2 * half, height: 2 * half))
        }
        for (mark, center, radius) in places.prefix(Self.labelled) {
            label(mark, center, radius, area, &taken, on: &drawing)
        }
    }

    private func point(
        _ mark: Mark, _ center: Point, _ radius: Double, _ color: String, on drawing: inout Drawing
    ) {
        let tip =
            "\(mark.kind) \(mark.name): \(Axis.label(mark.rate / 1e9)) G operations/s, "
            + "\(Axis.label(mark.intensity)) operations per byte, \(Axis.label(mark.share * 100)) % of the time"
        let filled = Drawing.Style(fill: color, stroke: "#ffffff", width: 0.8, opacity: 0.82)
        switch mark.form {
        case .disc: drawing.circle(center, radius: radius, filled, role: "point", tip: tip)
        case .ring:
            drawing.circle(
                center, radius: radius, Drawing.Style(stroke: color, width: 2.2, opacity: 0.9), role: "point",
                tip: tip)
        case .diamond:
            // Of the same area as the disc.
            let reach = radius * (Double.pi / 2).squareRoot()
            drawing.polygon(
                [
                    Point(center.x, center.y - reach), Point(center.x + reach, center.y),
                    Point(center.x, center.y + reach), Point(center.x - reach, center.y),
                ], filled, role: "point", tip: tip)
        }
    }

    /// Beside the point, where nothing stands yet; nowhere else.
    private func label(
        _ mark: Mark, _ center: Point, _ radius: Double, _ area: Rectangle, _ taken: inout [Rectangle],
        on drawing: inout Drawing
    ) {
        let text = Drawing.shortened(mark.name, to: 190, size: 11)
        let (width, height) = (Drawing.width(text, size: 11), 13.0)
        let candidates = [
            (center.x + radius + 4, center.y - height / 2),
            (center.x - radius - 4 - width, center.y - height / 2),
            (center.x - width / 2, center.y + radius + 3),
            (center.x - width / 2, center.y - radius - 3 - height),
            (center.x + radius * 0.7 + 3, center.y + radius * 0.7 + 2),
            (center.x - radius * 0.7 - 3 - width, center.y + radius * 0.7 + 2),
        ].map { Rectangle(x: $0.0, y: $0.1, width: width, height: height) }
        guard
            let place = candidates.first(where: { box in
                area.contains(box) && !taken.contains { $0.intersects(box) }
            })
        else { return }
        taken.append(place)
        drawing.text(
            text, at: Point(place.x, place.y + 10), size: 11, color: Palette.ink, halo: true, role: "label")
    }

    private func legend(_ frame: Rectangle, on drawing: inout Drawing) {
        var x = frame.x
        let y = frame.y + 56
        for kind in kinds where marks.contains(where: { $0.kind == kind.name }) {
            drawing.circle(Point(x + 6, y - 4), radius: 6, Drawing.Style(fill: kind.color))
            drawing.text(kind.name, at: Point(x + 17, y), size: 12, color: Palette.ink, role: "legend")
            x += 17 + Drawing.width(kind.name, size: 12) + 16
        }
    }
}
