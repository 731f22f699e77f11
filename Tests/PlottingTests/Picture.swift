import Foundation
import Plotting
import Testing

#if canImport(FoundationXML)
    import FoundationXML
#endif

/// An SVG file read by an XML parser that knows nothing of how it was written.
struct Picture {
    struct Element {
        let name: String
        let attributes: [String: String]
        var text = ""

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

    private final class Reader: NSObject, XMLParserDelegate {
        var elements: [Element] = []
        private var open: [Int] = []

        func parser(
            _ parser: XMLParser, didStartElement name: String, namespaceURI: String?,
            qualifiedName: String?, attributes: [String: String] = [:]
        ) {
            open.append(elements.count)
            elements.append(Element(name: name, attributes: attributes))
        }

        func parser(
            _ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?
        ) {
            open.removeLast()
        }

        func parser(_ parser: XMLParser, foundCharacters text: String) {
            if let last = open.last { elements[last].text += text }
        }
    }

    let elements: [Element]

    init(_ svg: String) throws {
        let reader = Reader()
        let parser = XMLParser(data: Data(svg.utf8))
        parser.delegate = reader
        #expect(parser.parse(), "not well-formed: \(String(describing: parser.parserError))")
        elements = reader.elements
    }

    /// Elements of a class.
    subscript(role: String) -> [Element] { elements.filter { $0.attributes["class"] == role } }

    /// The text of every element of a class.
    func texts(_ role: String) -> [String] { self[role].map(\.text) }
}
