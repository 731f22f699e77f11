public import Foundation

#if canImport(FoundationXML)
    private import FoundationXML
#endif

/// An XML file, by a parser that knows nothing of how it was written.
public struct Markup {
    public struct Element {
        public let name: String
        public let attributes: [String: String]
        public fileprivate(set) var text = ""
    }

    /// Why a file is not XML.
    public struct Malformed: Error, CustomStringConvertible {
        public let description: String
    }

    /// In the order in which they begin.
    public let elements: [Element]

    /// - Throws: ``Malformed``.
    public init(_ data: Data) throws {
        let reader = Reader()
        let parser = XMLParser(data: data)
        parser.delegate = reader
        guard parser.parse() else {
            throw Malformed(description: "not well-formed: \(String(describing: parser.parserError))")
        }
        elements = reader.elements
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
}
