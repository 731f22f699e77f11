import Plotting
import TestSupport
import Testing

@Suite("Plots")
struct PlottingTests {
    private static let hostile =
        "a</text><script>alert('1')</script>&amp; \"q\" \u{0}\u{1B}\u{202E}\u{FFFE} \n<!--"

    static func picture(_ panels: any Panel...) throws -> Picture {
        try Picture(Figure(title: "A title", notes: ["a note"], panels: panels).svg())
    }

    static func bars(_ bars: [BarChart.Bar]) -> BarChart {
        BarChart(
            title: "Bars", unit: "ms",
            parts: [BarChart.Part("one", color: Palette.blue), BarChart.Part("two", color: Palette.orange)],
            bars: bars)
    }

    static func roofline(_ marks: [Roofline.Mark], bandwidth: Double = 20e9) -> Roofline {
        Roofline(
            title: "Roofline", note: "", kinds: [("linear", Palette.blue), ("norm", Palette.teal)],
            ceilings: [.init("int8", rate: 250e9), .init("float32", rate: 120e9)], bandwidth: bandwidth,
            marks: marks)
    }

    /// A point of `rate` at `intensity`.
    static func mark(
        rate: Double, intensity: Double, share: Double = 0.1, name: String = "4 × 4",
        form: Roofline.Form = .disc
    ) -> Roofline.Mark {
        Roofline.Mark(
            name: name, kind: "linear", operations: rate * 2, bytes: rate * 2 / intensity, seconds: 2,
            share: share, form: form)
    }

    @Test("Names of strangers stay text, in every place that takes one")
    func hostileNames() throws {
        let name = Self.hostile
        let chart = BarChart(
            title: name, unit: name, parts: [.init(name, color: name), .init(name, color: "\" onload=\"x")],
            bars: [.init(group: name, name: name, values: [1, 2], spread: 2...4, label: name)])
        let plot = Roofline(
            title: name, note: name, kinds: [(name, name)], ceilings: [.init(name, rate: 1e9)],
            bandwidth: 1e9,
            marks: [
                .init(name: name, kind: name, operations: 1e9, bytes: 1e9, seconds: 1, share: 1, form: .disc)
            ])
        let picture = try Picture(Figure(title: name, notes: [name], panels: [chart, plot]).svg())
        let known: Set = ["svg", "title", "rect", "line", "polyline", "polygon", "circle", "text"]
        #expect(Set(picture.elements.map(\.name)).isSubset(of: known))
        #expect(
            picture.elements.allSatisfy { element in
                element.attributes.keys.allSatisfy { !$0.hasPrefix("on") && !$0.hasSuffix("href") }
            })
        // What XML cannot say is replaced; all else is there to be read.
        let read = "a</text><script>alert('1')</script>&amp; \"q\" \u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}  <!--"
        #expect(picture.texts("heading") == [read, read])
        #expect(picture.elements.filter { $0.name == "title" && $0.text == read }.count == 1)
    }

    @Test("A long name ends in an ellipsis instead of running out of the picture")
    func longNames() throws {
        let title = String(repeating: "name ", count: 200)
        let texts = try Picture(Figure(title: title).svg()).texts("title")
        #expect(texts.count == 1 && texts[0].count < 100 && texts[0].hasSuffix("…"))
    }

    @Test("Bars are as long as their numbers, stack, and stay inside with their labels")
    func barLengths() throws {
        let picture = try Self.picture(
            Self.bars([
                .init(group: "256²", name: "float32", values: [30, 10], label: "40 ms"),
                .init(group: "256²", name: "int8", values: [15, 5], label: "20 ms"),
                .init(
                    group: "1024²", name: "int8", values: [60, 0], spread: 50...80, label: "a longer label"),
            ]))
        let area = try #require(try picture["area"].first?.rectangle())
        let bars = try picture["bar"].map { try $0.rectangle() }
        try #require(bars.count == 5)  // a part of nothing is not drawn
        let unit = bars[0].width / 30
        for (bar, value) in zip(bars, [30.0, 10, 15, 5, 60]) {
            #expect(abs(bar.width - value * unit) < 0.02)
            #expect(
                bar.x >= area.x && bar.right <= area.right && bar.y >= area.y && bar.bottom <= area.bottom)
        }
        #expect(abs(bars[1].x - bars[0].right) < 0.02 && bars[0].x == area.x)
        #expect(bars[2].y > bars[0].bottom)
        #expect(picture.texts("group") == ["256²", "1024²"])
        let spread = try #require(try picture["spread"].first?.points())
        #expect(abs(spread[0].x - area.x - 50 * unit) < 0.02 && abs(spread[1].x - area.x - 80 * unit) < 0.02)
        for (label, text) in zip(picture["value"], picture.texts("value")) {
            #expect(try label.number("x") + Double(text.count) * 5 < area.right)
        }
    }

    @Test("Points stand inside the plot, higher when faster, further right with more operations per byte")
    func pointPlaces() throws {
        let marks = [
            Self.mark(rate: 1e7, intensity: 0.01, share: 0.9),
            Self.mark(rate: 90e9, intensity: 300, share: 0.04),
            Self.mark(rate: 400e9, intensity: 5), Self.mark(rate: 3e9, intensity: 0.5, form: .ring),
        ]
        let picture = try Self.picture(Self.roofline(marks))
        let area = try #require(try picture["area"].first?.rectangle())
        let points = try picture["point"].map {
            (try $0.number("cx"), try $0.number("cy"), try $0.number("r"))
        }
        try #require(points.count == marks.count)
        for (x, y, _) in points {
            #expect(x > area.x && x < area.right && y > area.y && y < area.bottom)
        }
        // The largest share first; the area of a point is its share of the time.
        let ordered = marks.sorted { $0.share > $1.share }
        #expect(abs(points[0].2 / points[3].2 - (0.9 / 0.04).squareRoot()) < 0.05)
        for (a, one) in zip(points, ordered) {
            for (b, other) in zip(points, ordered) {
                if one.operations > other.operations { #expect(a.1 < b.1) }
                if one.operations / one.bytes > other.operations / other.bytes { #expect(a.0 > b.0) }
            }
        }
    }

    @Test("A point that reaches a ceiling stands on its line; diamonds have the area of discs")
    func ceilings() throws {
        let marks = [
            Self.mark(rate: 250e9, intensity: 100), Self.mark(rate: 120e9, intensity: 40),
            Self.mark(rate: 2e9, intensity: 0.1), Self.mark(rate: 1e9, intensity: 1, form: .diamond),
        ]
        let picture = try Self.picture(Self.roofline(marks))
        let lines = try picture["ceiling"].filter { $0.name == "polyline" }.map { try $0.points() }
        let centers = try picture["point"].filter { $0.name == "circle" }.map {
            Point(try $0.number("cx"), try $0.number("cy"))
        }
        try #require(lines.count == 2 && centers.count == 3)
        #expect(abs(lines[0][0].y - centers[0].y) < 0.02 && abs(lines[1][0].y - centers[1].y) < 0.02)
        // A ceiling begins at the ridge, on the memory's line.
        let memory = try #require(try picture["memory"].first?.points())
        func height(_ x: Double) -> Double {
            memory[0].y + (x - memory[0].x) / (memory[1].x - memory[0].x) * (memory[1].y - memory[0].y)
        }
        #expect(abs(height(centers[2].x) - centers[2].y) < 0.1)
        for line in lines { #expect(abs(height(line[0].x) - line[0].y) < 0.1) }
        let diamond = try #require(try picture["point"].first { $0.name == "polygon" }?.points())
        let disc = try #require(picture["point"].first).number("r")
        let diagonals = (diamond[1].x - diamond[3].x) * (diamond[2].y - diamond[0].y)
        #expect(abs(diagonals / 2 / (Double.pi * disc * disc) - 1) < 0.01)
    }

    @Test("What has no logarithm is left out, and a plot of nothing is still a picture")
    func emptyPlots() throws {
        let broken = [
            Self.mark(rate: 0, intensity: 1), Self.mark(rate: .nan, intensity: 1),
            Self.mark(rate: .infinity, intensity: 1), Self.mark(rate: 1e9, intensity: 1, share: .nan),
            Roofline.Mark(name: "", kind: "", operations: 1, bytes: 0, seconds: 1, share: 1, form: .disc),
            Roofline.Mark(name: "", kind: "", operations: 1, bytes: 1, seconds: 0, share: 1, form: .ring),
        ]
        let picture = try Self.picture(
            Self.roofline(broken + [Self.mark(rate: 1e9, intensity: 1)]), Self.roofline([], bandwidth: 0),
            Self.bars([]),
            Self.bars([.init(group: "", name: "", values: [.nan, .infinity], label: "")]))
        #expect(picture["point"].count == 1 && picture["bar"].isEmpty && picture["area"].count == 4)
        for element in picture.elements {
            for value in element.attributes.values {
                #expect(!value.contains("nan") && !value.contains("inf"), "\(value)")
            }
        }
    }

    @Test("Axes: places, ticks and labels")
    func axes() {
        let linear = Axis(.linear, 0...9.3, from: 100, to: 193)
        #expect(linear.place(0) == 100 && linear.place(9.3) == 193 && abs(linear.place(4) - 140) < 1e-9)
        #expect(linear.place(-5) == 100 && linear.place(99) == 193)
        #expect(linear.ticks() == [0, 2, 4, 6, 8])
        let up = Axis(.logarithmic, 1...1000, from: 400, to: 100)
        #expect(up.place(1) == 400 && abs(up.place(10) - 300) < 1e-9 && abs(up.place(1000) - 100) < 1e-9)
        let rounded = up.ticks().map { $0.rounded() }
        #expect(rounded == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])
        #expect(Axis(.logarithmic, 0.001...20_000, from: 0, to: 1).ticks().count == 8)
        #expect(Axis(.linear, 3...3, from: 0, to: 1).ticks() == [3])
        let labels: [(Double, String)] = [
            (0, "0"), (1, "1"), (0.05, "0.05"), (1.5, "1.5"), (2.346, "2.35"), (99.95, "100"),
            (123.4, "123"), (14_339, "14339"), (0.000_123_4, "0.000123"), (-2.5, "-2.5"), (.nan, "–"),
        ]
        for (value, text) in labels { #expect(Axis.label(value) == text) }
    }
}
