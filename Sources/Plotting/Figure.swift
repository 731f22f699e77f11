/// A part of a figure: knows its height and draws itself into a frame.
package protocol Panel: Sendable {
    var height: Double { get }
    func draw(in frame: Rectangle, on drawing: inout Drawing)
}

/// Panels under each other, below a title: one self-contained SVG file without scripts.
package struct Figure: Sendable {
    package var title: String
    /// Lines below the title.
    package var notes: [String]
    package var panels: [any Panel]

    package init(title: String, notes: [String] = [], panels: [any Panel] = []) {
        self.title = title
        self.notes = notes
        self.panels = panels
    }

    private static let width = 960.0
    private static let margin = 36.0
    private static let gap = 18.0

    /// The text of the file.
    package func svg() -> String {
        var drawing = Drawing()
        let inner = Self.width - 2 * Self.margin
        var y = Self.margin + 14
        drawing.text(
            Drawing.shortened(title, to: inner, size: 20), at: Point(Self.margin, y), size: 20,
            color: Palette.ink, bold: true, role: "title")
        for note in notes {
            y += 19
            drawing.text(
                Drawing.shortened(note, to: inner, size: 12), at: Point(Self.margin, y), size: 12,
                color: Palette.faint, role: "note")
        }
        y += 26
        for panel in panels {
            panel.draw(
                in: Rectangle(x: Self.margin, y: y, width: inner, height: panel.height), on: &drawing)
            y += panel.height + Self.gap
        }
        return drawing.svg(width: Self.width, height: y, title: title)
    }
}
