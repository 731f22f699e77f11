import StrictJSON
import TestSupport
import Testing

/// Reads a text with limits that no test but those of the limits comes near.
private func parse(
    _ text: some Sequence<UInt8>, depth: Int = 32, elements: Int = 1 << 20, members: Int = 1 << 20,
    values: Int = .max
) throws(StrictJSONError) -> JSONValue {
    let limits = JSONLimits(depth: depth, elements: elements, members: members, values: values)
    return try Array(text).withUnsafeBufferPointer { (bytes) throws(StrictJSONError) in
        try JSONParser.parse(UnsafeRawBufferPointer(bytes), limits: limits)
    }
}

private func parse(_ text: String) throws(StrictJSONError) -> JSONValue { try parse(text.utf8) }

private func failure(_ body: () throws(StrictJSONError) -> JSONValue) -> StrictJSONError? {
    do {
        _ = try body()
        return nil
    } catch {
        return error
    }
}

@Suite("JSON is read strictly")
struct JSONParserTests {
    @Test(
        "text that is not JSON is refused at its offset, whatever it is",
        arguments: [
            ("", 0), (" ", 1), ("nul", 0), ("truf", 0), ("{", 1), ("{\"a\"", 4), ("{\"a\":", 5),
            ("{\"a\":1,}", 7), ("[1,]", 3), ("[1 2]", 3), ("[1", 2), ("{\"a\":1}x", 7), ("{}{}", 2),
            ("{\"a\":01}", 6), ("{\"a\":+1}", 5), ("-", 1), ("{\"a\":1e999}", 5), ("{\"a\":.5}", 5),
            ("{\"a\":1.}", 7), ("1e", 2), ("1e+", 3), ("{\"a\":NaN}", 5), ("\"a\u{1}\"", 2),
            ("\"\\n\u{1}\"", 3), ("\"\\x\"", 2), ("\"\\ud800\"", 7), ("\"\\ud800\\u0041\"", 13),
            ("\"\\ude00\\ud83d\"", 7), ("\"\\u12G4\"", 5), ("\"\\u12\"", 5), ("{a:1}", 1), ("\"", 1),
            ("\"\\", 2), ("\"\\u", 3), ("\"\\n", 3), ("[1]\u{0}", 3), ("\u{FEFF}[]", 0), ("'a'", 0),
            ("// c", 0),
        ])
    func notJSON(text: String, offset: Int) throws {
        let error = try #require(failure { () throws(StrictJSONError) in try parse(text) }, "accepted")
        guard case .malformed(offset, _) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(error.description.contains("byte \(offset): ") && error.description.contains("; "))
    }

    @Test("values are kept: escapes, surrogate pairs, fractions, spaces")
    func values() throws {
        let text =
            "\t"
            + #"{"a" : [1,-2.5e1, true,null,"é\n\ud83d\ude00\u00e9\\\"\/" ],"b":{"c":false},"d":[],"e":{}}"#
            + "\r\n "
        let value = try parse(text)
        #expect(value["a"] == .array([.integer(1), .number(-25), .bool(true), .null, .string("é\n😀é\\\"/")]))
        #expect(value["b"]?["c"]?.bool == false && value["b"]?["d"] == nil && value["d"]?["c"] == nil)
        #expect(value["d"]?.elements == [] && value["e"]?.object?.isEmpty == true)
        #expect(value.object?.members.map(\.key) == ["a", "b", "d", "e"], "in the order of the text")
    }

    @Test("integers are exact to the ends of their range, and numbers beyond are doubles")
    func integers() throws {
        var generator = SeededGenerator()
        for value in [Int.min, Int.min + 1, -1, 0, 1, Int.max - 1, Int.max]
            + (0..<50).map({ _ in Int.random(in: .min ... .max, using: &generator) })
        {
            #expect(try parse("\(value)") == .integer(value))
        }
        #expect(try parse("-0") == .integer(0))
        #expect(try parse("9223372036854775808") == .number(9_223_372_036_854_775_808))
        #expect(try parse("3.0").integer == 3 && parse("3.5").integer == nil)
        for _ in 0..<50 {
            let value = Double.random(in: -1...1, using: &generator) * 1e200
            #expect(try parse("\(value)").double == value)
        }
        guard
            case .overLimit? = failure({ () throws(StrictJSONError) in
                try parse(String(repeating: "1", count: 401))
            })
        else {
            Issue.record("a number without end is accepted")
            return
        }
    }

    @Test(
        "a key that stands twice is refused, however it is written and however many stand between",
        arguments: [0, 1, 6, 7, 8, 9, 40, 5000])
    func duplicateKeys(between: Int) throws {
        let others = (0..<between).map { "\"k\($0)\":\($0)," }.joined()
        let start = "{\"a\":1," + others
        for twin in ["\"a\"", "\"\\u0061\""] {
            let error = failure { () throws(StrictJSONError) in try parse(start + twin + ":2}") }
            #expect(error == .duplicateKey(offset: start.utf8.count, key: "a"))
        }
        let whole = try parse(start + "\"b\":{\"a\":3}}")
        #expect(whole.object?.members.count == between + 2 && whole["b"]?["a"] == .integer(3))
        if between > 0 { #expect(whole["k\(between - 1)"] == .integer(between - 1)) }
    }

    @Test("canonically equivalent keys and strings stay apart, in small objects and in large ones")
    func canonicalEquivalence() throws {
        let (one, two) = ("\u{E9}", "e\u{301}")
        #expect(one == two, "Swift takes them for equal, which is the trap")
        for others in [0, 100] {
            let filling = (0..<others).map { "\"\($0)\":0," }.joined()
            let value = try parse("{\(filling)\"\(one)\":1,\"\(two)\":2}")
            #expect(value.object?.members.count == others + 2)
            #expect(value[one] == .integer(1) && value[two] == .integer(2))
            #expect(value.object?.members.last?.key.utf8.elementsEqual(two.utf8) == true)
        }
        #expect(JSONValue.string(one) != .string(two))
    }

    @Test("bytes that are not UTF-8 are refused in keys and values, with and without escapes")
    func encoding() throws {
        for bad: [UInt8] in [
            [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xC3], [0xF4, 0x90, 0x80, 0x80], [0x80],
        ] {
            for (before, after) in [("{\"", "\":1}"), ("[\"", "\"]"), ("[\"\\n", "\"]")] {
                let text = Array(before.utf8) + bad + Array(after.utf8)
                let error = failure { () throws(StrictJSONError) in try parse(text) }
                #expect(error == .notUTF8(offset: 2))
            }
            guard case .malformed? = failure({ () throws(StrictJSONError) in try parse(bad) }) else {
                Issue.record("\(bad) accepted")
                return
            }
        }
    }

    @Test("nesting that would exhaust the stack is refused; what the limit allows is read")
    func nesting() throws {
        for opening in ["[", "{\"a\":"] {
            let error = failure { () throws(StrictJSONError) in
                try parse(String(repeating: opening, count: 200_000))
            }
            #expect(error?.reason == "more than 32 levels of nesting")
        }
        for (depth, isRead) in [(3, true), (2, false)] {
            let error = failure { () throws(StrictJSONError) in try parse("[{\"a\":[1]}]".utf8, depth: depth)
            }
            #expect((error == nil) == isRead)
        }
    }

    @Test("containers are read up to their limit and refused beyond")
    func containers() throws {
        #expect(try parse("[1,2]".utf8, elements: 2).elements?.count == 2)
        #expect(try parse("{\"a\":1,\"b\":2}".utf8, members: 2).object?.members.count == 2)
        #expect(
            failure { () throws(StrictJSONError) in try parse("[1,2,3]".utf8, elements: 2) }
                == .overLimit(offset: 5, what: "elements", limit: 2))
        #expect(
            failure { () throws(StrictJSONError) in try parse("{\"a\":1,\"b\":2,\"c\":3}".utf8, members: 2) }
                == .overLimit(offset: 13, what: "members", limit: 2))
    }

    @Test("values are counted over the whole text, whatever holds them")
    func allValues() throws {
        let text = "[[1,2],{\"a\":3}]".utf8
        #expect(try parse(text, values: 6).elements?.count == 2)
        #expect(
            failure { () throws(StrictJSONError) in try parse(text, values: 5) }
                == .overLimit(offset: 12, what: "values", limit: 5))
    }

    @Test("random damage gives a value or an error within the text, never a trap")
    func damage() throws {
        let original = Array(
            #"{"a":[1,-2.5e1,true,null,"é\n\ud83d\ude00"],"b":{"c":9223372036854775807}}"#.utf8)
        var generator = SeededGenerator()
        for _ in 0..<5000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0...3, using: &generator) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes[place] = Array("{}[]\",:0-9tn\\u".utf8).randomElement(using: &generator) ?? 0
                case 2: bytes.remove(at: place)
                default: bytes.removeLast(bytes.count - max(1, place))
                }
            }
            if let error = failure({ () throws(StrictJSONError) in try parse(bytes) }) {
                #expect((0...bytes.count).contains(error.offset), "\(error)")
            }
        }
    }

    @Test("the summary of a value is short whatever the value")
    func summary() throws {
        let wide = JSONValue.array(Array(repeating: .integer(1), count: 8))
        #expect(wide.summary == "[1, 1, 1, 1, 1, 1, 1, 1]")
        #expect(JSONValue.array([wide, wide]).summary == "a list of 2")
        let marks = "e" + String(repeating: "\u{301}", count: 100_000)
        #expect(JSONValue.string(marks).summary.utf8.count < 400)
        #expect(try parse("{\"a\":null}").summary == "an object of 1")
    }

    @Test(
        "NaN and Infinity pass only where they are allowed, and are no number even there",
        arguments: [("NaN", 0.0), ("Infinity", 1), ("-Infinity", -1)])
    func nonFinite(text: String, sign: Double) throws {
        let document = "{\"a\": [1, \(text)], \"b\": \(text)}"
        let error = failure { () throws(StrictJSONError) in try parse(document) }
        guard case .malformed? = error else {
            Issue.record("accepted")
            return
        }
        let limits = JSONLimits(depth: 8, elements: 8, members: 8, nonFiniteNumbers: true)
        let value = try Array(document.utf8).withUnsafeBufferPointer { (bytes) throws(StrictJSONError) in
            try JSONParser.parse(UnsafeRawBufferPointer(bytes), limits: limits)
        }
        let found = try #require(value["b"])
        guard case .nonFinite(let number) = found else {
            Issue.record("\(found)")
            return
        }
        #expect(sign == 0 ? number.isNaN : number.sign == (sign > 0 ? .plus : .minus) && number.isInfinite)
        #expect(found.double == nil && found.integer == nil && found.summary == text)
        #expect(found == value["a"]?.elements?.last)
    }

    @Test(
        "what only resembles them does not pass where they are allowed",
        arguments: [
            "nan", "NAN", "Nan", "inf", "Inf", "-NaN", "+Infinity", "-Inf", "Infinit", "N", "I", "-I", "NaNa",
        ])
    func almostNonFinite(text: String) {
        let limits = JSONLimits(depth: 8, elements: 8, members: 8, nonFiniteNumbers: true)
        let error = failure { () throws(StrictJSONError) in
            try Array(text.utf8).withUnsafeBufferPointer { (bytes) throws(StrictJSONError) in
                try JSONParser.parse(UnsafeRawBufferPointer(bytes), limits: limits)
            }
        }
        #expect(error != nil, "\(text)")
    }

    @Test("fetching again is the advice for damage, not for what was published so")
    func advice() {
        for (text, helps) in [("{\"a\":", true), ("[1,]", true), ("{\"a\":1,\"a\":2}", false)] {
            let error = failure { () throws(StrictJSONError) in try parse(text) }
            #expect(error?.description.contains("fetch the file again") == helps, "\(text)")
        }
        let deep = failure { () throws(StrictJSONError) in try parse(Array("[[[[1]]]]".utf8), depth: 2) }
        #expect(deep?.advice.contains("fetch") == false)
    }
}
