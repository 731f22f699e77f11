internal import Foundation

/// A place in a drawing, in pixels from its upper left corner.
package struct Point: Sendable, Hashable {
    package var x: Double
    package var y: Double

    package init(_ x: Double, _ y: Double) {
        self.x = x
        self.y = y
    }
}

/// A part of a drawing.
package struct Rectangle: Sendable, Hashable {
    package var x: Double
    package var y: Double
    package var width: Double
    package var height: Double

    package init(x: Double, y: Double, width: Double, height: Double) {
        self.x = x
        self.y = y
        self.width = width
        self.height = height
    }

    package var right: Double { x + width }
    package var bottom: Double { y + height }

    func contains(_ other: Rectangle) -> Bool {
        other.x >= x && other.right <= right && other.y >= y && other.bottom <= bottom
    }

    func intersects(_ other: Rectangle) -> Bool {
        other.x < right && x < other.right && other.y < bottom && y < other.bottom
    }
}

/// How text stands at its point.
package enum Anchor: String, Sendable { case start, middle, end }

/// Shapes and text, collected as the body of an SVG file. Every text is escaped here and nowhere else.
package struct Drawing: Sendable {
    /// What fills and outlines a shape.
    package struct Style: Sendable {
        package var fill: String
        package var stroke: String
        package var width: Double
        package var opacity: Double
        package var dashed: Bool

        package init(
            fill: String = "none", stroke: String = "none", width: Double = 1, opacity: Double = 1,
            dashed: Bool = false
        ) {
            self.fill = fill
            self.stroke = stroke
            self.width = width
            self.opacity = opacity
            self.dashed = dashed
        }

        fileprivate var attributes: String {
            var text = " fill=\"\(Drawing.escaped(fill))\""
            if stroke != "none" {
                text += " stroke=\"\(Drawing.escaped(stroke))\" stroke-width=\"\(Drawing.number(width))\""
            }
            if dashed { text += " stroke-dasharray=\"5 4\"" }
            if opacity < 1 { text += " opacity=\"\(Drawing.number(opacity))\"" }
            return text
        }
    }

    private var body = ""

    package init() {}

    /// - Parameters:
    ///   - role: what the shape stands for, as its class
    ///   - tip: what a viewer shows when the pointer rests on it
    package mutating func rectangle(
        _ area: Rectangle, _ style: Style, corner: Double = 0, role: String? = nil, tip: String? = nil
    ) {
        let rounding = corner > 0 ? " rx=\"\(Self.number(corner))\"" : ""
        shape(
            "rect",
            " x=\"\(Self.number(area.x))\" y=\"\(Self.number(area.y))\""
                + " width=\"\(Self.number(max(area.width, 0)))\" height=\"\(Self.number(max(area.height, 0)))\""
                + rounding,
            style, role, tip)
    }

    package mutating func circle(
        _ center: Point, radius: Double, _ style: Style, role: String? = nil, tip: String? = nil
    ) {
        shape(
            "circle",
            " cx=\"\(Self.number(center.x))\" cy=\"\(Self.number(center.y))\" r=\"\(Self.number(radius))\"",
            style, role, tip)
    }

    package mutating func line(_ points: [Point], _ style: Style, role: String? = nil) {
        let places = points.map { "\(Self.number($0.x)),\(Self.number($0.y))" }.joined(separator: " ")
        shape("polyline", " points=\"\(places)\"", style, role, nil)
    }

    package mutating func polygon(
        _ points: [Point], _ style: Style, role: String? = nil, tip: String? = nil
    ) {
        let places = points.map { "\(Self.number($0.x)),\(Self.number($0.y))" }.joined(separator: " ")
        shape("polygon", " points=\"\(places)\"", style, role, tip)
    }

    /// - Parameters:
    ///   - place: of the base line's start, middle or end
    ///   - angle: degrees, clockwise, about `place`
    ///   - halo: a white rim, for text that stands on shapes
    package mutating func text(
        _ text: String, at place: Point, size: Double, color: String, anchor: Anchor = .start,
        bold: Bool = false, angle: Double = 0, halo: Bool = false, role: String? = nil
    ) {
        body += "<text x=\"\(Self.number(place.x))\" y=\"\(Self.number(place.y))\""
        body += " font-size=\"\(Self.number(size))\" fill=\"\(Self.escaped(color))\""
        if anchor != .start { body += " text-anchor=\"\(anchor.rawValue)\"" }
        if bold { body += " font-weight=\"600\"" }
        if angle != 0 {
            body +=
                " transform=\"rotate(\(Self.number(angle)) \(Self.number(place.x)) \(Self.number(place.y)))\""
        }
        // Drawn before the letters, so that the rim does not eat into them.
        if halo { body += " stroke=\"#ffffff\" stroke-width=\"3\" paint-order=\"stroke\"" }
        if let role { body += " class=\"\(Self.escaped(role))\"" }
        body += ">\(Self.escaped(text))</text>\n"
    }

    private mutating func shape(
        _ name: String, _ geometry: String, _ style: Style, _ role: String?, _ tip: String?
    ) {
        body += "<\(name)\(geometry)\(style.attributes)"
        if let role { body += " class=\"\(Self.escaped(role))\"" }
        body += tip.map { "><title>\(Self.escaped($0))</title></\(name)>\n" } ?? "/>\n"
    }

    /// A complete file of that size on white ground.
    /// - Parameter title: what the whole picture is, for readers that cannot see it
    package func svg(width: Double, height: Double, title: String) -> String {
        let extent = "\(Self.number(width))\" height=\"\(Self.number(height))"
        return """
            <?xml version="1.0" encoding="UTF-8"?>
            <svg xmlns="http://www.w3.org/2000/svg" width="\(extent)" \
            viewBox="0 0 \(Self.number(width)) \(Self.number(height))" role="img" \
            font-family="'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif">
            <title>\(Self.escaped(title))</title>
            <rect width="\(extent)" fill="#ffffff"/>
            \(body)</svg>

            """
    }

    /// Text as XML takes it: markup quoted; what XML forbids, and marks that turn the direction of the text around
    /// them, replaced.
    package static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x26: result += "&amp;"
            case 0x3C: result += "&lt;"
            case 0x3E: result += "&gt;"
            case 0x22: result += "&quot;"
            case 0x27: result += "&#39;"
            case 0x09, 0x0A, 0x0D: result += " "
            case 0..<0x20, 0x7F..<0xA0, 0x202A...0x202E, 0x2066...0x2069, 0xFFFE, 0xFFFF: result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// Two decimals at most; what is no number, which no renderer would take, becomes 0.
    static func number(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e9 else { return "0" }
        let hundredths = Int((value * 100).rounded())
        let (whole, part) = (abs(hundredths) / 100, abs(hundredths) % 100)
        let sign = hundredths < 0 ? "-" : ""
        if part == 0 { return "\(sign)\(whole)" }
        return part % 10 == 0
            ? "\(sign)\(whole).\(part / 10)" : "\(sign)\(whole).\(part < 10 ? "0" : "")\(part)"
    }

    /// About how wide a text will be; nobody knows the reader's fonts.
    static func width(_ text: String, size: Double) -> Double { Double(text.count) * size * 0.56 }

    /// `text`, its end replaced by an ellipsis where it would be wider than `width`.
    static func shortened(_ text: String, to width: Double, size: Double) -> String {
        let room = max(Int(width / (size * 0.56)), 1)
        return text.count <= room ? text : text.prefix(room - 1) + "…"
    }
}
