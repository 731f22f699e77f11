import Foundation
import StrictJSON
import TestSupport
import Testing

@testable import StructuredOutput
@testable import Tokenization

@Suite("Answers that JSON schemas allow")
struct SchemaTests {
    private func compiled(_ schema: String) throws -> CompiledFormat {
        try CompiledFormat(.jsonSchema(schema), Vocabulary.small)
    }

    @Test("Random answers to random schemas are JSON and valid, cut at any length or not")
    func randomWalks() throws {
        var random = SeededGenerator()
        var cut = 0
        for _ in 0..<150 {
            let schema = RandomSchema(&random).text
            let format: CompiledFormat
            do {
                format = try compiled(schema)
            } catch {
                Issue.record("\(error): \(schema)")
                continue
            }
            let validator = Validator(root: try Validator.parse(schema))
            for _ in 0..<6 {
                let limit = format.shortestAnswer + Int.random(in: 0..<60, using: &random)
                let walk = try Walk(format, limit: limit, &random)
                if walk.wasCut { cut += 1 }
                let text = try #require(String(validating: walk.text, as: UTF8.self))
                let value = try Validator.parse(text)
                #expect(validator.isValid(value, validator.root), "\(text) under \(schema)")
            }
        }
        #expect(cut > 20)
    }

    /// Tests/Fixtures/schemas/cases.json, made by Tools/reference/schema_fixtures.py.
    private struct ReferenceCase: Decodable {
        let schema: String
        let valid: [String]
        let invalid: [String]
    }

    @Test("Texts are answers where Python's jsonschema finds them valid, and nowhere else")
    func reference() throws {
        let cases = try JSONDecoder().decode([ReferenceCase].self, from: Fixture.data("schemas/cases.json"))
        #expect(cases.count >= 100 && cases.reduce(0) { $0 + $1.valid.count } > 500)
        for item in cases {
            let format = try compiled(item.schema)
            for text in item.valid { #expect(format.takes(text), "\(text) under \(item.schema)") }
            for text in item.invalid { #expect(!format.takes(text), "\(text) under \(item.schema)") }
        }
    }

    @Test("An answer is complete and valid at every limit from the shortest one on")
    func everyLimit() throws {
        var random = SeededGenerator()
        let schema = ##"""
            {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"},
             "list": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1}},
             "required": ["name", "n", "list"], "additionalProperties": false,
             "$defs": {"item": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/item"}},
             {"type": "object", "properties": {"deep": {"$ref": "#/$defs/item"}}, "required": ["deep"],
             "additionalProperties": false}]}}}
            """##
        let format = try compiled(schema)
        let validator = Validator(root: try Validator.parse(schema))
        for limit in format.shortestAnswer..<format.shortestAnswer + 50 {
            for _ in 0..<3 {
                let walk = try Walk(format, limit: limit, &random)
                let text = try #require(String(validating: walk.text, as: UTF8.self))
                #expect(validator.isValid(try Validator.parse(text), validator.root), "\(limit): \(text)")
            }
        }
    }

    @Test("Any object is JSON")
    func anyObject() throws {
        var random = SeededGenerator()
        let format = try CompiledFormat(.jsonObject, Vocabulary.small)
        #expect(format.shortestAnswer == 2)
        for limit in 2..<80 {
            let walk = try Walk(format, limit: limit, &random)
            // Foundation, as keys may come twice.
            let object = try JSONSerialization.jsonObject(with: Data(walk.text))
            #expect(object is [String: Any])
        }
    }

    @Test("Text outside of the schema is no answer")
    func acceptance() throws {
        let cases: [(schema: String, yes: [String], no: [String])] = [
            (
                #"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"null"}},"required":["b"]}"#,
                [#"{"b":null}"#, #"{"a": 1, "b": null}"#, #"{"a":-10,"b":null}"#],
                [
                    #"{"a":1}"#, #"{"b":null,"a":1}"#, #"{"a":01,"b":null}"#, #"{"a":1.5,"b":null}"#, "{}",
                    #"{ "b":null}"#,
                    #"{"b":null,}"#, #"{"b":null}}"#, #"{"b":null,"c":1}"#, #"{"b" :null}"#, #"{"b":  null}"#,
                    #"{,"b":null}"#,
                ]
            ),
            (
                #"{"type":"array","items":{"type":"boolean"},"minItems":2,"maxItems":3}"#,
                ["[true,false]", "[true, true, true]"],
                ["[]", "[true]", "[true,true,true,true]", "[true,]", "[true;true]"]
            ),
            (#"{"type":"array","maxItems":0}"#, ["[]"], ["[1]"]),
            (
                #"{"enum":["a\"b",1.5,null,{"x":[1,"é"]}]}"#,
                [#""a\"b""#, "1.5", "null", #"{"x":[1,"é"]}"#, #"{"x": [1, "é"]}"#],
                [#""a""#, "1", #"{"x":[1]}"#]
            ),
            (#"{"const":"x"}"#, [#""x""#], ["x"]),
            (
                #"{"type":["string","null"],"maxLength":2}"#,
                [#""ab""#, #""é日""#, "null", #""""#, #""\n\u00e9""#, #""😀😀""#],
                [#""abc""#, #""\n\n\n""#, "1"]
            ),
            (#"{"type":"string","minLength":1}"#, [#""\ud83d\uDE00""#, #""\\""#, #""\/""#], [#""""#]),
            (
                #"{"type":"number"}"#, ["0", "-0.5", "1e5", "12.25E-3"],
                ["", "-", "01", "1.", ".5", "1e", "+1", "1e999", "NaN"]
            ),
            (#"{"type":"string","pattern":"^[a-c]+$"}"#, [#""abc""#], [#""abd""#, #""""#]),
            (#"{"type":"string","pattern":"b"}"#, [#""abc""#, #""b""#, #""\"b\\""#], [#""ac""#]),
            (#"{"type":"string","pattern":"^.\"\\\\\\n$"}"#, [#""x\"\\\n""#], [#""x""#]),
            (
                #"{"type":"object","additionalProperties":{"type":"integer"}}"#, ["{}", #"{"a":1,"b":2}"#],
                [#"{"a":"x"}"#]
            ),
            (#"{"type":"object","additionalProperties":false}"#, ["{}"], [#"{"a":1}"#]),
            (##"{"$ref":"#/$defs/a~1b%25","$defs":{"a/b%":{"type":"boolean"}}}"##, ["true"], ["null"]),
            (#"{"allOf":[{"type":"boolean"}],"description":"x"}"#, ["true"], ["1"]),
            (#"true"#, ["1", "{}", #"[{"a":[null]}]"#], ["", "x"]),
            (#"{"properties":{"é":{"const":1}},"required":["é"]}"#, [#"{"é":1}"#], [#"{"e":1}"#]),
        ]
        for (schema, yes, no) in cases {
            let format = try compiled(schema)
            for text in yes { #expect(format.takes(text), "\(text) under \(schema)") }
            for text in no { #expect(!format.takes(text), "\(text) under \(schema)") }
        }
    }

    @Test("Strings hold valid UTF-8 and whole escapes only")
    func strings() throws {
        let format = try compiled(#"{"type":"string"}"#)
        func takes(_ inside: [UInt8]) -> Bool? { AnswerConstraint.takes([0x22] + inside + [0x22], format) }
        for text in [
            "", "é", "日本語", "😀", "\u{10FFFF}", "\u{7F}", #"\u0000"#, #"\uD7FF\ue000"#, #"\uD800\uDFFF"#,
        ] {
            #expect(takes(Array(text.utf8)) == true, "\(text)")
        }
        let broken: [[UInt8]] = [
            [0x80], [0xC3], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80],
            [0xF0, 0x80, 0x80, 0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF], [0x0A], [0x00], [0x1F],
            Array(#"\x"#.utf8),
            Array(#"\u12"#.utf8), Array(#"\ud83d"#.utf8), Array(#"\ud83dx"#.utf8), Array(#"\ud83d\n"#.utf8),
            Array(#"\ud83d\u0041"#.utf8), Array(#"\udc00"#.utf8), Array(#"\uD83D\uD83D"#.utf8), [0x5C],
        ]
        for bytes in broken { #expect(takes(bytes) != true, "\(bytes)") }
    }

    @Test("Numbers are within their bounds, integers and others")
    func bounds() throws {
        var random = SeededGenerator()
        for _ in 0..<60 {
            let isInteger = Bool.random(using: &random)
            let scale = isInteger && Bool.random(using: &random) ? 1.0 : 0.25
            let values = (0..<2).map { _ in Double(Int.random(in: -180...180, using: &random)) * scale }
            let keys = [["minimum", "exclusiveMinimum"], ["maximum", "exclusiveMaximum"]].map {
                $0[Int.random(in: 0..<2, using: &random)]
            }
            var parts = zip(keys, values.sorted()).map { "\"\($0)\":\($1)" }
            if Int.random(in: 0..<3, using: &random) == 0 {
                parts.remove(at: Int.random(in: 0..<2, using: &random))
            }
            let schema = "{\"type\":\"\(isInteger ? "integer" : "number")\",\(parts.joined(separator: ","))}"
            let validator = Validator(root: try Validator.parse(schema))
            guard let format = try? compiled(schema) else {
                // Nothing is between them.
                #expect(
                    (-800...800).allSatisfy { !validator.isValid(.number(Double($0) / 4), validator.root) }
                        || isInteger)
                continue
            }
            for quarter in -800...800 {
                let text = quarter % 4 == 0 ? "\(quarter / 4)" : "\(Double(quarter) / 4)"
                let value = try Validator.parse(text)
                #expect(
                    format.takes(text) == validator.isValid(value, validator.root), "\(text) under \(schema)")
            }
            for _ in 0..<20 {
                let walk = try Walk(format, limit: 40, &random)
                let text = String(decoding: walk.text, as: UTF8.self)
                #expect(
                    validator.isValid(try Validator.parse(text), validator.root), "\(text) under \(schema)")
            }
        }
        // 0 has no sign, and the ends belong to it or not.
        let unit = try compiled(#"{"type":"number","minimum":0,"exclusiveMaximum":1}"#)
        for text in ["0", "0.0", "0.999999"] { #expect(unit.takes(text)) }
        for text in ["-0", "1", "1.0", "00.5", "0.", "-0.1"] { #expect(!unit.takes(text)) }
        let positive = try compiled(#"{"type":"number","exclusiveMinimum":-0.0}"#)
        #expect(positive.takes("0.5") && !positive.takes("0") && !positive.takes("-0.5"))
        let tiny = try compiled(#"{"type":"number","exclusiveMinimum":1e-3,"maximum":0.0015}"#)
        for text in ["0.0011", "0.0015", "0.00100001"] { #expect(tiny.takes(text)) }
        for text in ["0.001", "0.00151", "0.0010", "0.002"] { #expect(!tiny.takes(text)) }
    }

    @Test("Values of the formats are what their name says")
    func formats() throws {
        var random = SeededGenerator()
        func values(_ name: String) throws -> [String] {
            let format = try compiled("{\"type\":\"string\",\"format\":\"\(name)\"}")
            return try (0..<30).map { _ in
                let walk = try Walk(format, limit: format.shortestAnswer + 40, &random)
                return try #require(try Validator.parse(String(decoding: walk.text, as: UTF8.self)).string)
            }
        }
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = TimeZone(secondsFromGMT: 0) ?? .gmt
        for text in try values("date") {
            let parts = text.split(separator: "-").compactMap { Int($0) }
            let components = DateComponents(
                calendar: calendar, year: parts[0], month: parts[1], day: parts[2])
            #expect(parts.count == 3 && components.isValidDate, "\(text)")
        }
        let leap = try compiled(#"{"type":"string","format":"date"}"#)
        for text in ["2024-02-29", "2000-02-29", "1999-12-31"] { #expect(leap.takes("\"\(text)\"")) }
        for text in ["2023-02-29", "1900-02-29", "2024-02-30", "2024-13-01", "2024-04-31"] {
            #expect(!leap.takes("\"\(text)\""))
        }
        for text in try values("date-time") {
            let parser = ISO8601DateFormatter()
            parser.formatOptions =
                text.contains(".") ? [.withInternetDateTime, .withFractionalSeconds] : .withInternetDateTime
            #expect(text.contains("T") && (text.contains(".") || parser.date(from: text) != nil), "\(text)")
        }
        for text in try values("uuid") { #expect(UUID(uuidString: text) != nil, "\(text)") }
        for (name, family, size) in [("ipv4", AF_INET, 4), ("ipv6", AF_INET6, 16)] {
            for text in try values(name) {
                var address = [UInt8](repeating: 0, count: size)
                #expect(inet_pton(family, text, &address) == 1, "\(text)")
            }
        }
        for text in try values("email") { #expect(text.split(separator: "@").count == 2, "\(text)") }
        for name in ["time", "duration", "hostname"] {
            for text in try values(name) { #expect(!text.isEmpty) }
        }
    }

    @Test("What is not supported is refused by name and place")
    func refused() throws {
        let cases: [(String, [String])] = [
            (#"{"oneOf":[{"type":"null"}]}"#, ["oneOf", "anyOf", "#"]),
            (#"{"type":"object","properties":{"a":{"not":{}}}}"#, ["not", "#/properties/a"]),
            (#"{"type":"object","patternProperties":{}}"#, ["patternProperties"]),
            (#"{"type":"number","multipleOf":0.5}"#, ["multipleOf"]),
            (#"{"type":"array","uniqueItems":true}"#, ["uniqueItems"]),
            (#"{"type":"array","prefixItems":[]}"#, ["prefixItems"]), (#"{"type":"strnig"}"#, ["strnig"]),
            (#"{"typo":1}"#, ["typo"]), (#"{"type":"string","format":"color"}"#, ["color", "date-time"]),
            (#"{"type":"string","pattern":"(?=a)"}"#, ["lookahead", "#/pattern"]),
            (#"{"type":"string","pattern":"a","maxLength":3}"#, ["pattern beside a length"]),
            (##"{"$ref":"#/nowhere"}"##, ["#/nowhere", "not there"]),
            (#"{"$ref":"https://a/b"}"#, ["same schema"]),
            (##"{"$ref":"#","type":"null"}"##, ["\"type\" beside \"$ref\""]),
            (#"{"type":"object","properties":{},"required":["a"]}"#, ["required", "\"a\""]),
            (#"{"type":"string","minLength":3,"maxLength":2}"#, ["minLength"]),
            (#"{"type":"integer","minimum":1.2,"maximum":1.8}"#, ["between"]),
            (#"{"type":"integer","minimum":true}"#, ["minimum"]),
            (#"{"type":"string","enum":["a",1]}"#, ["enum", "1"]), (#"{"enum":[]}"#, ["enum"]),
            (#"{"type":[]}"#, ["type"]),
            (#"{"allOf":[{"type":"null"},{"type":"null"}]}"#, ["allOf"]), ("[]", ["object"]),
            ("{", ["cannot be read"]),
            (#"{"type":"object","type":"array"}"#, ["twice"]), (#"{"type":"array","items":[{}]}"#, ["items"]),
            (#"{"type":"string","maxLength":-1}"#, ["maxLength"]),
            (#"{"type":"array","minItems":100000}"#, ["minItems"]),
        ]
        for (schema, words) in cases {
            let error = #expect(throws: StructuredOutputError.self, "\(schema)") { try compiled(schema) }
            for word in words {
                #expect(error?.description.contains(word) == true, "\(schema): \(error?.description ?? "")")
            }
        }
    }

    @Test("Hostile schemas are refused, or compiled within bounds")
    func hostile() throws {
        let deep =
            String(repeating: #"{"items":"#, count: 10_000) + "{}" + String(repeating: "}", count: 10_000)
        let chain = (0..<5000).map { "\"d\($0)\":{\"$ref\":\"#/$defs/d\($0 + 1)\"}" }.joined(separator: ",")
        let refusals = [
            deep, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{\(chain),\"d5000\":{}}}", ##"{"$ref":"#"}"##,
            ##"{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}"##, "false", #"{"anyOf":[]}"#,
            ##"{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}"##,
            ##"{"type":"array","items":{"$ref":"#"},"minItems":1}"##,
            #"{"type":"array","minItems":9999,"items":{"type":"array","minItems":9999,"items":{"type":"string","minLength":9999}}}"#,
            "{\"enum\":[\"\(String(repeating: "x", count: 300_000))\"]}",
            #"{"type":"string","pattern":"((a{999}){999}){999}"}"#,
            #"{"type":"string","pattern":"(a|b)*a(a|b){40}"}"#,
        ]
        for schema in refusals {
            #expect(throws: StructuredOutputError.self, "\(schema.prefix(80))") { try compiled(schema) }
        }
        var random = SeededGenerator()
        // Each level refers to the next one twice: 2^30 ways to read the same value.
        let levels = (0..<30).map { level in
            "\"d\(level)\":{\"anyOf\":[{\"$ref\":\"#/$defs/d\(level + 1)\"},{\"$ref\":\"#/$defs/d\(level + 1)\"}]}"
        }.joined(separator: ",")
        let ambiguous =
            ##"{"type":"object","properties":{"a":{"$ref":"#/$defs/t"},"KEY":{"type":"null"}},"required":["a"]}"##
        let tree = ["b", "c", "d"].map { ambiguous.replacingOccurrences(of: "KEY", with: $0) }.joined(
            separator: ",")
        for schema in [
            "{\"$ref\":\"#/$defs/d0\",\"$defs\":{\(levels),\"d30\":{\"type\":\"boolean\"}}}",
            "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"anyOf\":[{\"type\":\"null\"},\(tree)]}}}",
            #"{"type":"array","maxItems":1000000000,"items":{"type":"string","maxLength":1000000000}}"#,
        ] {
            let format = try compiled(schema)
            let validator = Validator(root: try Validator.parse(schema))
            let walk = try Walk(format, limit: 200, &random)
            let value = try Validator.parse(String(decoding: walk.text, as: UTF8.self))
            #expect(validator.isValid(value, validator.root))
        }
        // Deep nesting with every level ambiguous stays as cheap as the first level.
        let format = try compiled(
            "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"anyOf\":[{\"type\":\"null\"},\(tree)]}}}")
        let text = String(repeating: #"{"a":"#, count: 500) + "null" + String(repeating: "}", count: 500)
        #expect(format.takes(text))
    }
}

/// A schema of random parts, all of them supported, with some answers at least.
private struct RandomSchema {
    let text: String

    init(_ random: inout SeededGenerator) {
        let inner = Self.schema(3, &random)
        let item = Self.schema(1, &random)
        text =
            "{\"anyOf\":[\(inner)],\"$defs\":{\"item\":\(item),\"list\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/list\"}}}}"
    }

    private static func schema(_ depth: Int, _ random: inout SeededGenerator) -> String {
        func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
        switch number(depth > 0 ? 0...12 : 3...10) {
        case 0, 1, 2:
            let names = ["a", "name", "é \\\"q\\\"", "ab", "n\\u006f"].shuffled(using: &random).prefix(
                number(0...4))
            let members = names.map { "\"\($0)\":\(schema(depth - 1, &random))" }
            let required = names.filter { _ in Bool.random(using: &random) }.map { "\"\($0)\"" }
            return "{\"type\":\"object\",\"properties\":{\(members.joined(separator: ","))},"
                + "\"required\":[\(required.joined(separator: ","))],\"additionalProperties\":false}"
        case 3: return "{\"type\":\"string\"}"
        case 4:
            let least = number(0...4)
            return "{\"type\":\"string\",\"minLength\":\(least),\"maxLength\":\(least + number(0...6))}"
        case 5:
            let least = number(-300...300)
            return "{\"type\":\"integer\",\"minimum\":\(least),\"maximum\":\(least + number(0...400))}"
        case 6:
            return
                "{\"type\":\"number\",\"minimum\":-\(number(0...9)).5,\"exclusiveMaximum\":\(number(0...99)).25}"
        case 7: return "{\"enum\":[\"a\",\"ab\",null,\(number(0...5)),[1,{\"x\":\"y\"}]]}"
        case 8: return "{\"type\":[\"boolean\",\"null\",\"number\"]}"
        case 9:
            return
                "{\"$ref\":\"#/$defs/\(Bool.random(using: &random) ? "list" : depth > 1 ? "item" : "list")\"}"
        case 10: return "{\"type\":\"string\",\"pattern\":\"^(a|b[0-9]{1,3}|\\\\\\\\x)+$\"}"
        case 11:
            let least = number(0...2)
            return
                "{\"type\":\"array\",\"items\":\(schema(depth - 1, &random)),\"minItems\":\(least),\"maxItems\":\(least + number(0...3))}"
        default: return "{\"anyOf\":[\(schema(depth - 1, &random)),\(schema(depth - 1, &random))]}"
        }
    }
}
