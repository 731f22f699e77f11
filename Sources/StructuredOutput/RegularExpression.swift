/// A regular expression in ECMAScript's syntax, as JSON schemas use it, without what no automaton can decide.
indirect enum RegularExpression: Hashable, Sendable {
    case empty
    case characters(ScalarSet)
    case sequence([RegularExpression])
    case alternatives([RegularExpression])
    /// - most: nil for any number
    case repeated(RegularExpression, least: Int, most: Int?)

    /// Any text.
    static let anything = RegularExpression.repeated(.characters(.all), least: 0, most: nil)

    /// - Parameter matchesWhole: whether the whole text must match; otherwise a part of it is enough, unless `^` and `$`
    ///   say where it begins and ends, as in a schema's `pattern`
    /// - Throws: `StructuredOutputError.expression`, `.tooLarge`.
    init(parsing pattern: String, matchesWhole: Bool) throws(StructuredOutputError) {
        guard pattern.utf8.count <= ExpressionParser.longest else {
            throw .tooLarge(what: "bytes in a regular expression", limit: ExpressionParser.longest)
        }
        var parser = ExpressionParser(pattern)
        self = try parser.whole(matchesWhole: matchesWhole)
    }
}

struct ExpressionParser {
    static let longest = 16_384
    static let mostRepetitions = 10_000
    private static let deepest = 64

    private let scalars: [Unicode.Scalar]
    private var position = 0
    private var depth = 0

    init(_ pattern: String) { scalars = Array(pattern.unicodeScalars) }

    private var current: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    private func fault(_ reason: String) -> StructuredOutputError {
        .expression(place: position, reason: reason)
    }

    private mutating func take(_ text: String) -> Bool {
        let wanted = Array(text.unicodeScalars)
        guard scalars[position...].starts(with: wanted) else { return false }
        position += wanted.count
        return true
    }

    /// The whole expression. Anchors are taken only where they say something about the whole text.
    mutating func whole(matchesWhole: Bool) throws(StructuredOutputError) -> RegularExpression {
        var alternatives: [RegularExpression] = []
        repeat {
            var parts: [RegularExpression] = []
            if !take("^"), !matchesWhole { parts.append(.anything) }
            while take("^") {}
            parts.append(try sequence())
            var isAnchored = matchesWhole
            while take("$") { isAnchored = true }
            if !isAnchored { parts.append(.anything) }
            alternatives.append(.sequence(parts))
        } while take("|")
        guard position == scalars.count else { throw fault("')' has no '(' before it") }
        return alternatives.count == 1 ? alternatives[0] : .alternatives(alternatives)
    }

    private mutating func alternatives() throws(StructuredOutputError) -> RegularExpression {
        var result = [try sequence()]
        while take("|") { result.append(try sequence()) }
        if current == "$" { throw fault("'$' is supported only at the end of the whole expression") }
        return result.count == 1 ? result[0] : .alternatives(result)
    }

    private mutating func sequence() throws(StructuredOutputError) -> RegularExpression {
        var parts: [RegularExpression] = []
        while let scalar = current, scalar != "|", scalar != ")", scalar != "$" {
            let part = try atom()
            parts.append(try repetition(of: part))
        }
        if current == "$", position + 1 < scalars.count, !"|)$".unicodeScalars.contains(scalars[position + 1])
        {
            throw fault("'$' is supported only at the end of the whole expression")
        }
        return parts.count == 1 ? parts[0] : parts.isEmpty ? .empty : .sequence(parts)
    }

    // MARK: - Repetitions

    private mutating func repetition(
        of part: RegularExpression
    ) throws(StructuredOutputError) -> RegularExpression {
        var (least, most): (Int, Int?) = (1, 1)
        if take("*") {
            (least, most) = (0, nil)
        } else if take("+") {
            (least, most) = (1, nil)
        } else if take("?") {
            (least, most) = (0, 1)
        } else if current == "{" {
            position += 1
            guard let first = try number() else {
                throw fault("a number must follow '{'; write \\{ for a brace")
            }
            (least, most) = (first, first)
            if take(",") { most = try number() }
            guard take("}") else { throw fault("'}' is missing") }
            if let most, most < least { throw fault("a repetition's range is empty") }
        } else {
            return part
        }
        // Lazy and greedy match the same texts.
        _ = take("?")
        if let next = current, "*+?{".unicodeScalars.contains(next) {
            throw fault("nothing to repeat before '\(next)'")
        }
        return .repeated(part, least: least, most: most)
    }

    private mutating func number() throws(StructuredOutputError) -> Int? {
        var value: Int?
        while let digit = current?.value, (0x30...0x39).contains(digit) {
            value = 10 * (value ?? 0) + Int(digit - 0x30)
            guard value ?? 0 <= Self.mostRepetitions else {
                throw .tooLarge(what: "repetitions in a regular expression", limit: Self.mostRepetitions)
            }
            position += 1
        }
        return value
    }

    // MARK: - Single characters and groups

    private mutating func atom() throws(StructuredOutputError) -> RegularExpression {
        guard let scalar = current else { return .empty }
        switch scalar {
        case "(": return try group()
        case "[": return .characters(try characterClass())
        case ".":
            position += 1
            return .characters(Self.lineBreaks.inverted)
        case "\\": return .characters(try escape(inClass: false))
        case "^": throw fault("'^' is supported only at the beginning of the whole expression")
        case "*", "+", "?", "{": throw fault("nothing to repeat before '\(scalar)'")
        default:
            position += 1
            return .characters(ScalarSet(scalar.value))
        }
    }

    private mutating func group() throws(StructuredOutputError) -> RegularExpression {
        guard depth < Self.deepest else {
            throw .tooLarge(what: "groups within each other in a regular expression", limit: Self.deepest)
        }
        depth += 1
        defer { depth -= 1 }
        position += 1
        if take("?") {
            if take(":") {
            } else if current == "=" || current == "!" {
                throw fault("lookahead is not supported")
            } else if take("<") {
                if current == "=" || current == "!" { throw fault("lookbehind is not supported") }
                while let scalar = current, scalar != ">" {
                    guard scalar.properties.isAlphabetic || scalar == "_" || ("0"..."9").contains(scalar)
                    else { break }
                    position += 1
                }
                guard take(">") else { throw fault("a group's name is not closed") }
            } else {
                throw fault("this kind of group is not supported; there are ( ), (?: ) and (?<name> )")
            }
        }
        let inside = try alternatives()
        guard take(")") else { throw fault("')' is missing") }
        return inside
    }

    private mutating func characterClass() throws(StructuredOutputError) -> ScalarSet {
        position += 1
        let isInverted = take("^")
        var ranges: [ClosedRange<UInt32>] = []
        while !take("]") {
            let first = try classMember()
            // A dash is itself at the end, and beside a set such as \d.
            guard current == "-", position + 1 < scalars.count, scalars[position + 1] != "]",
                let low = first.single
            else {
                ranges += first.ranges
                continue
            }
            position += 1
            let start = position
            guard let high = try classMember().single, low <= high else {
                position = start
                throw fault("a range of characters is empty or has no end")
            }
            ranges.append(low...high)
        }
        let set = ScalarSet(ranges)
        return isInverted ? set.inverted : set
    }

    private mutating func classMember() throws(StructuredOutputError) -> ScalarSet {
        guard let scalar = current else { throw fault("']' is missing") }
        if scalar == "\\" { return try escape(inClass: true) }
        position += 1
        return ScalarSet(scalar.value)
    }

    private mutating func escape(inClass: Bool) throws(StructuredOutputError) -> ScalarSet {
        position += 1
        guard let scalar = current else { throw fault("nothing follows the last backslash") }
        position += 1
        switch scalar {
        case "d": return Self.digits
        case "D": return Self.digits.inverted
        case "w": return Self.words
        case "W": return Self.words.inverted
        case "s": return Self.spaces
        case "S": return Self.spaces.inverted
        case "t": return ScalarSet(9)
        case "n": return ScalarSet(10)
        case "v": return ScalarSet(11)
        case "f": return ScalarSet(12)
        case "r": return ScalarSet(13)
        case "b" where inClass: return ScalarSet(8)
        case "0" where !(current.map { ("0"..."9").contains($0) } ?? false): return ScalarSet(0)
        case "x": return ScalarSet(try hexadecimal(digits: 2))
        case "u": return try unicodeEscape()
        case "b", "B": throw fault("word boundaries (\\b, \\B) are not supported")
        case "p", "P": throw fault("Unicode properties (\\p) are not supported; list ranges of characters")
        case "k", "0"..."9": throw fault("references to groups and octal numbers are not supported")
        case "a"..."z", "A"..."Z": throw fault("\\\(scalar) is not supported")
        default: return ScalarSet(scalar.value)
        }
    }

    private mutating func unicodeEscape() throws(StructuredOutputError) -> ScalarSet {
        var value: UInt32
        if take("{") {
            value = 0
            let start = position
            while let digit = current.flatMap({ Character($0).hexDigitValue }), position < start + 6 {
                value = value << 4 | UInt32(digit)
                position += 1
            }
            guard position > start, take("}"), value <= 0x10FFFF else {
                throw fault("\\u{ } needs a code point in hexadecimal")
            }
        } else {
            value = try hexadecimal(digits: 4)
            if (0xD800..<0xDC00).contains(value), take("\\u") {
                let low = try hexadecimal(digits: 4)
                guard (0xDC00..<0xE000).contains(low) else { throw fault("half a surrogate pair") }
                value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
            }
        }
        guard Unicode.Scalar(value) != nil else { throw fault("half a surrogate pair") }
        return ScalarSet(value)
    }

    private mutating func hexadecimal(digits: Int) throws(StructuredOutputError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<digits {
            guard let digit = current.flatMap({ Character($0).hexDigitValue }) else {
                throw fault("\(digits) hexadecimal digits are needed")
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }

    private static let lineBreaks = ScalarSet([10...10, 13...13, 0x2028...0x2029])
    private static let digits = ScalarSet([0x30...0x39])
    private static let words = ScalarSet([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
    private static let spaces = ScalarSet([
        9...13, 0x20...0x20, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A, 0x2028...0x2029, 0x202F...0x202F,
        0x205F...0x205F, 0x3000...0x3000, 0xFEFF...0xFEFF,
    ])
}

extension ScalarSet {
    /// The only scalar; nil where there are none or several.
    fileprivate var single: UInt32? {
        ranges.count == 1 && ranges[0].count == 1 ? ranges[0].lowerBound : nil
    }
}
