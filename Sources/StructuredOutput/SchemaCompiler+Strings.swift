internal import StrictJSON

/// Strings: any text, texts of a length, of a pattern or of a format.
extension SchemaCompiler {
    /// Longer strings are never needed, and longer ones that must be are refused.
    private static let longestString = 10_000

    mutating func string(
        _ schema: JSONObject, _ place: String, then next: Int
    ) throws(StructuredOutputError) -> Int {
        let (least, most) = try SchemaKeywords.range("minLength", "maxLength", of: schema, place)
        let hasLength = schema["minLength"] != nil || schema["maxLength"] != nil
        let given = ["pattern", "format"].filter { schema[$0] != nil } + (hasLength ? ["a length"] : [])
        guard given.count <= 1 else {
            throw .schema(place: place, reason: "\(given.joined(separator: " beside ")) is not supported")
        }
        if let pattern = schema["pattern"] {
            guard let pattern = pattern.string else {
                throw .schema(place: place, reason: "pattern must be a string, got \(pattern.summary)")
            }
            do {
                return try matching(RegularExpression(parsing: pattern, matchesWhole: false), then: next)
            } catch .expression(let character, let reason) {
                throw .schema(
                    place: "\(place)/pattern", reason: "\(reason) (character \(character + 1) of the pattern)"
                )
            }
        }
        if let format = schema["format"] {
            guard let name = format.string, let pattern = StringFormats.patterns[name] else {
                throw .schema(
                    place: place,
                    reason: "the format \(format.summary) is not supported; there are "
                        + StringFormats.patterns.keys.sorted().joined(separator: ", "))
            }
            return try matching(RegularExpression(parsing: pattern, matchesWhole: true), then: next)
        }
        guard hasLength, least > 0 || most ?? .max < Self.longestString else {
            return try builder.call(plainString(), then: next)
        }
        guard least <= Self.longestString else {
            throw .schema(place: place, reason: "minLength is above \(Self.longestString)")
        }
        return try counted(least, most.map { min($0, Self.longestString) }, then: next)
    }

    private mutating func matching(
        _ expression: RegularExpression, then next: Int
    ) throws(StructuredOutputError) -> Int {
        let inside = try ByteAutomaton(expression, .json).add(
            to: &builder, then: builder.text("\"", then: next))
        return try builder.text("\"", then: inside)
    }

    /// A string of `least` to `most` characters (code points).
    private mutating func counted(_ least: Int, _ most: Int?, then next: Int) throws(StructuredOutputError)
        -> Int
    {
        let character = try character()
        let quote = try builder.text("\"", then: next)
        var place: Int
        if most == nil {
            place = try builder.reserve()
            let again = try builder.call(character, then: place)
            builder.set(place, .split([Int32(truncatingIfNeeded: quote), Int32(truncatingIfNeeded: again)]))
        } else {
            place = quote
        }
        for count in (0..<(most ?? least)).reversed() {
            let more = try builder.call(character, then: place)
            place = try count >= least ? builder.split([quote, more]) : more
        }
        return try builder.text("\"", then: place)
    }

    /// Any string.
    mutating func plainString() throws(StructuredOutputError) -> Int {
        if let rule = shared.string { return rule }
        let rule = try builder.reserveRule()
        shared.string = rule
        let inside = try builder.reserve()
        let close = Grammar.Edge(0x22, 0x22, builder.end)
        builder.set(inside, .bytes(try [close] + characterEdges(then: inside)))
        builder.set(rule: rule, start: try builder.text("\"", then: inside))
        return rule
    }

    /// One character of a string.
    private mutating func character() throws(StructuredOutputError) -> Int {
        if let rule = shared.character { return rule }
        let rule = try builder.reserveRule()
        shared.character = rule
        builder.set(rule: rule, start: try builder.add(.bytes(characterEdges(then: builder.end))))
        return rule
    }

    /// A character as it is, or escaped: the short escapes, and `\u` with a surrogate's other half behind it.
    private mutating func characterEdges(then next: Int) throws(StructuredOutputError) -> [Grammar.Edge] {
        var edges: [Grammar.Edge] = []
        for sequence in JSONText.plain.bytes(.utf8) {
            guard let first = sequence.first else { continue }
            var place = next
            for range in sequence.dropFirst().reversed() { place = try builder.byte(range, then: place) }
            edges.append(Grammar.Edge(first.lowerBound, first.upperBound, place))
        }
        let short = Array("\"\\/bfnrt".utf8).map { Grammar.Edge($0, $0, next) }
        let unicode = try self.unicode(then: next)
        edges.append(
            Grammar.Edge(0x5C, 0x5C, try builder.add(.bytes(short + [Grammar.Edge(0x75, 0x75, unicode)]))))
        return edges
    }

    /// What follows `\u`.
    private mutating func unicode(then next: Int) throws(StructuredOutputError) -> Int {
        let one = try hexadecimal(then: next)
        let two = try hexadecimal(then: one)
        let three = try hexadecimal(then: two)
        let low = try builder.add(.bytes(Self.edges("cdefCDEF", two)))
        let second = try builder.text("\\u", then: builder.add(.bytes(Self.edges("dD", low))))
        let highTail = try hexadecimal(then: hexadecimal(then: second))
        let afterD = try builder.add(
            .bytes(Self.edges("01234567", two) + Self.edges("89abAB", highTail)))
        return try builder.add(
            .bytes(Self.edges("0123456789abcefABCEF", three) + Self.edges("dD", afterD)))
    }

    private mutating func hexadecimal(then next: Int) throws(StructuredOutputError) -> Int {
        try builder.add(.bytes(Self.edges("0123456789abcdefABCDEF", next)))
    }

    private static func edges(_ bytes: String, _ target: Int) -> [Grammar.Edge] {
        bytes.utf8.map { Grammar.Edge($0, $0, target) }
    }
}

/// Patterns for the values of `format`. They allow what everybody takes as valid, not all that the standards do.
enum StringFormats {
    private static let date =
        "[12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
        + "|([12][0-9](0[48]|[2468][048]|[13579][26])|(12|16|20|24|28)00)-02-29"
    private static let offset = "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
    private static let time = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?" + offset
    private static let octet = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    private static let label = "[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
    private static let host = "\(label)(\\.\(label)){0,5}"
    private static let durationTime =
        "T([0-9]{1,4}H([0-9]{1,4}M([0-9]{1,4}S)?)?|[0-9]{1,4}M([0-9]{1,4}S)?|[0-9]{1,4}S)"
    private static let durationDate =
        "([0-9]{1,4}Y([0-9]{1,4}M([0-9]{1,4}D)?)?|[0-9]{1,4}M([0-9]{1,4}D)?|[0-9]{1,4}D)"
    private static let group = "[0-9A-Fa-f]{1,4}"
    private static let ipv6 =
        ["(\(group):){7}\(group)", "(\(group):){1,7}:", "(\(group):){1,6}:\(group)", ":((:\(group)){1,7}|:)"]
        + (2...6).map { "(\(group):){1,\(7 - $0)}(:\(group)){1,\($0)}" }

    static let patterns = [
        "date": "(\(date))", "time": time, "date-time": "(\(date))T\(time)",
        "duration": "P(\(durationDate)(\(durationTime))?|\(durationTime)|[0-9]{1,4}W)",
        "email":
            "[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,16}){0,2}@\(label)(\\.\(label)){0,2}\\.[A-Za-z]{2,10}",
        "hostname": host, "ipv4": "\(octet)(\\.\(octet)){3}", "ipv6": ipv6.joined(separator: "|"),
        "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    ]
}
