import Foundation
import Plotting
import TestSupport
import Testing

extension Markup.Element {
    func number(_ name: String) throws -> Double {
        try #require(attributes[name].flatMap { Double($0) }, "no \(name)")
    }

    /// The places of a line or polygon.
    func points() throws -> [Point] {
        try #require(attributes["points"]).split(separator: " ").map { pair in
            let numbers = pair.split(separator: ",").compactMap { Double($0) }
            try #require(numbers.count == 2)
            return Point(numbers[0], numbers[1])
        }
    }

    func rectangle() throws -> Rectangle {
        Rectangle(
            x: try number("x"), y: try number("y"), width: try number("width"),
            height: try number("height"))
    }
}

/// An SVG file, read anew.
struct Picture {
    let elements: [Markup.Element]

    init(_ svg: String) throws {
        elements = try Markup(Data(svg.utf8)).elements
    }

    /// Elements of a class.
    subscript(role: String) -> [Markup.Element] { elements.filter { $0.attributes["class"] == role } }

    /// The text of every element of a class.
    func texts(_ role: String) -> [String] { self[role].map(\.text) }
}
