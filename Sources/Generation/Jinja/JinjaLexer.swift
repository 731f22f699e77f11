/// Cuts a template's source into text and the words of its tags.
enum JinjaLexer {
    enum Token: Equatable, CustomStringConvertible {
        case text(String)
        case beginOutput, endOutput, beginStatement, endStatement
        case name(String)
        case string(String)
        case integer(Int)
        case symbol(String)
        case end

        /// As an error names it.
        var description: String {
            switch self {
            case .text: "text"
            case .beginOutput: "'{{'"
            case .endOutput: "'}}'"
            case .beginStatement: "'{%'"
            case .endStatement: "'%}'"
            case .name(let name), .symbol(let name): "'\(name)'"
            case .string(let text): "the text '\(text.prefix(40))'"
            case .integer(let number): "the number \(number)"
            case .end: "the end"
            }
        }
    }

    private static let symbols = [
        "==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "|", "(", ")", "[", "]", "{", "}",
        ",", ":",
        ".", "=", "<", ">",
    ]

    static func tokens(of source: String) throws(JinjaTemplate.Failure) -> [Token] {
        var tokens: [Token] = []
        // As Jinja: lines end in one line feed, and one at the very end goes.
        var rest = Array(source.replacing("\r\n", with: "\n").replacing("\r", with: "\n").unicodeScalars)[...]
        if rest.last == "\n" { rest.removeLast() }
        // What a tag's end does to the text after it.
        var trimsAll = false
        var trimsLine = false
        while !rest.isEmpty {
            let text = rest.prefix(upToTagIn: rest)
            rest = rest.dropFirst(text.count)
            var shown = text
            if trimsAll {
                shown = shown.drop { $0.properties.isWhitespace }
            } else if trimsLine, shown.first == "\n" {
                shown = shown.dropFirst()
            }
            (trimsAll, trimsLine) = (false, false)
            guard rest.count >= 2 else {
                append(shown, to: &tokens)
                break
            }
            let kind = rest[rest.startIndex + 1]
            rest = rest.dropFirst(2)
            let mark = rest.first
            if mark == "-" {
                while let last = shown.last, last.properties.isWhitespace { shown.removeLast() }
            } else if kind != "{", mark != "+" {
                stripLine(&shown, of: text, isFirst: tokens.isEmpty)
            }
            if mark == "-" || mark == "+" { rest = rest.dropFirst() }
            append(shown, to: &tokens)
            switch kind {
            case "#":
                guard let end = rest.indices.first(where: { rest[$0...].starts(with: "#}".unicodeScalars) })
                else {
                    throw .unsupported("a comment does not end")
                }
                trimsAll = end > rest.startIndex && rest[end - 1] == "-"
                trimsLine = true
                rest = rest[(end + 2)...]
            case "{":
                tokens.append(.beginOutput)
                trimsAll = try words(&rest, until: "}}", &tokens)
                tokens.append(.endOutput)
            default:
                tokens.append(.beginStatement)
                trimsAll = try words(&rest, until: "%}", &tokens)
                trimsLine = true
                tokens.append(.endStatement)
            }
        }
        tokens.append(.end)
        return tokens
    }

    private static func append(_ text: ArraySlice<Unicode.Scalar>, to tokens: inout [Token]) {
        guard !text.isEmpty else { return }
        tokens.append(.text(String(String.UnicodeScalarView(text))))
    }

    /// `lstrip_blocks`: white space between the line's beginning and a tag goes.
    private static func stripLine(
        _ shown: inout ArraySlice<Unicode.Scalar>, of text: ArraySlice<Unicode.Scalar>, isFirst: Bool
    ) {
        let blank = text.reversed().prefix { $0 == " " || $0 == "\t" }.count
        let startsLine = blank == text.count ? isFirst : text[text.endIndex - blank - 1] == "\n"
        if startsLine { shown.removeLast(min(blank, shown.count)) }
    }

    /// Reads the words of a tag up to its end.
    /// - Returns: whether the end asks for the white space after it to go
    private static func words(
        _ rest: inout ArraySlice<Unicode.Scalar>, until end: String, _ tokens: inout [Token]
    ) throws(JinjaTemplate.Failure) -> Bool {
        var nesting = 0
        while let first = rest.first {
            if first.properties.isWhitespace {
                rest = rest.dropFirst()
            } else if nesting == 0, rest.starts(with: end.unicodeScalars) {
                rest = rest.dropFirst(2)
                return false
            } else if nesting == 0, rest.starts(with: ("-" + end).unicodeScalars) {
                rest = rest.dropFirst(3)
                return true
            } else if first == "'" || first == "\"" {
                tokens.append(.string(try string(&rest, quote: first)))
            } else if first.value < 0x80, first.properties.isAlphabetic || first == "_" {
                let word = rest.prefix {
                    $0.value < 0x80 && ($0.properties.isAlphabetic || $0 == "_" || $0.isDigit)
                }
                guard word.count <= JinjaTemplate.Limits.name else { throw .unsupported("a very long name") }
                tokens.append(.name(String(String.UnicodeScalarView(word))))
                rest = rest.dropFirst(word.count)
            } else if first.isDigit {
                let word = rest.prefix { $0.isDigit }
                guard let number = Int(String(String.UnicodeScalarView(word))) else {
                    throw .unsupported("a number that is too large")
                }
                tokens.append(.integer(number))
                rest = rest.dropFirst(word.count)
            } else if let symbol = symbols.first(where: { rest.starts(with: $0.unicodeScalars) }) {
                if "([{".contains(symbol) { nesting += 1 }
                if ")]}".contains(symbol) { nesting -= 1 }
                tokens.append(.symbol(symbol))
                rest = rest.dropFirst(symbol.unicodeScalars.count)
            } else {
                throw .unsupported("the character \"\(first)\" in a tag")
            }
        }
        throw .unsupported("a tag does not end")
    }

    private static func string(
        _ rest: inout ArraySlice<Unicode.Scalar>, quote: Unicode.Scalar
    ) throws(JinjaTemplate.Failure) -> String {
        rest = rest.dropFirst()
        var text = String.UnicodeScalarView()
        while let next = rest.popFirst() {
            if next == quote { return String(text) }
            guard next == "\\" else {
                text.append(next)
                continue
            }
            switch rest.popFirst() {
            case "n"?: text.append("\n")
            case "t"?: text.append("\t")
            case "r"?: text.append("\r")
            case "\\"?: text.append("\\")
            case "'"?: text.append("'")
            case "\""?: text.append("\"")
            case let other: throw .unsupported("the escape \\\(other.map(String.init) ?? "") in a text")
            }
        }
        throw .unsupported("a text does not end")
    }
}

extension Unicode.Scalar {
    fileprivate var isDigit: Bool { value >= 0x30 && value <= 0x39 }
}

extension ArraySlice<Unicode.Scalar> {
    /// The text before the next `{{`, `{%` or `{#`.
    fileprivate func prefix(upToTagIn scalars: Self) -> Self {
        var index = scalars.startIndex
        while index < scalars.endIndex {
            if scalars[index] == "{", index + 1 < scalars.endIndex,
                scalars[index + 1] == "{" || scalars[index + 1] == "%" || scalars[index + 1] == "#"
            {
                return scalars[scalars.startIndex..<index]
            }
            index += 1
        }
        return scalars
    }
}
