internal import StrictJSON

/// Turns a JSON schema into a grammar of the JSON texts that it allows, members in the order in which it lists them.
///
/// Where a schema allows more than can be decided while writing, the grammar has a part of it: no member but the listed
/// ones, one way to write each key, numbers of a limited length. What would make an answer invalid is never left out:
/// keywords that are not understood are refused.
struct SchemaCompiler {
    /// Bytes of a schema's text, and containers within each other in it.
    static let longest = 1 << 18
    static let deepest = 128
    /// Steps from one `$ref` or `anyOf` to the next.
    private static let mostReferences = 64

    let root: JSONValue
    var builder = GrammarBuilder()
    /// Rules of values by the text of their schemas: equal schemas allow the same values.
    private var known: [String: Int] = [:]
    private var waiting: [(rule: Int, leaf: Leaf)] = []
    var shared = SharedRules()

    /// Rules that many schemas use, once they are made.
    struct SharedRules {
        var string: Int?
        var character: Int?
        var value: Int?
        var object: Int?
        var array: Int?
        var number: Int?
        var integer: Int?
    }

    /// Values that one schema allows without others' help.
    struct Leaf {
        enum Kind {
            case anything
            /// One of these.
            case literals([JSONValue])
            case type(String, JSONObject)
        }

        var kind: Kind
        var place: String
        /// Tells apart different leaves.
        var key: String
    }

    /// - Throws: `StructuredOutputError`.
    static func grammar(schema: String) throws(StructuredOutputError) -> Grammar {
        guard schema.utf8.count <= longest else { throw .tooLarge(what: "bytes in a schema", limit: longest) }
        let limits = JSONLimits(depth: deepest, elements: longest, members: longest)
        var text = schema
        let parsed: Result<JSONValue, StrictJSONError> = text.withUTF8 { bytes in
            Result { () throws(StrictJSONError) in
                try JSONParser.parse(UnsafeRawBufferPointer(bytes), limits: limits)
            }
        }
        switch parsed {
        case .failure(let error):
            throw .malformedSchema(reason: "\(error.reason), at byte \(error.offset)")
        case .success(let root):
            var compiler = SchemaCompiler(root: root)
            let start = try compiler.value(root, "#", then: compiler.builder.end)
            try compiler.work()
            return try compiler.builder.grammar(start: start)
        }
    }

    /// Any JSON object.
    static func anyObject() throws(StructuredOutputError) -> Grammar {
        var compiler = SchemaCompiler(root: .null)
        let start = try compiler.builder.call(compiler.freeObject(), then: compiler.builder.end)
        return try compiler.builder.grammar(start: start)
    }

    private init(root: JSONValue) { self.root = root }

    /// Makes the rules that were promised, those that they need in turn included.
    private mutating func work() throws(StructuredOutputError) {
        while let (rule, leaf) = waiting.popLast() {
            builder.set(rule: rule, start: try body(leaf))
        }
    }

    /// A value that a schema allows.
    mutating func value(_ schema: JSONValue, _ place: String, then next: Int) throws(StructuredOutputError)
        -> Int
    {
        try builder.call(rule(schema, place), then: next)
    }

    /// The rule of the values that a schema allows. Finding it takes as long as the schema is, so who needs it many times
    /// asks once.
    mutating func rule(_ schema: JSONValue, _ place: String) throws(StructuredOutputError) -> Int {
        let key = schema.text
        if let rule = known[key] { return rule }
        var found = Alternatives()
        try collect(schema, place, &found)
        if found.leaves.count == 1 {
            let rule = try rule(found.leaves[0])
            known[key] = rule
            return rule
        }
        // Several, or none: then nothing can be written here.
        let rule = try builder.reserveRule()
        known[key] = rule
        var places: [Int] = []
        for leaf in found.leaves { places.append(try builder.call(self.rule(leaf), then: builder.end)) }
        builder.set(rule: rule, start: try places.isEmpty ? builder.add(.bytes([])) : builder.split(places))
        return rule
    }

    private mutating func rule(_ leaf: Leaf) throws(StructuredOutputError) -> Int {
        if case .anything = leaf.kind { return try freeValue() }
        if let rule = known[leaf.key] { return rule }
        let rule = try builder.reserveRule()
        known[leaf.key] = rule
        waiting.append((rule, leaf))
        return rule
    }

    private mutating func body(_ leaf: Leaf) throws(StructuredOutputError) -> Int {
        let end = builder.end
        switch leaf.kind {
        case .anything: return try builder.call(freeValue(), then: end)
        case .literals(let values):
            var places: [Int] = []
            for value in values { places.append(try literal(value, then: end)) }
            return try builder.split(places)
        case .type(let type, let schema):
            switch type {
            case "object": return try object(schema, leaf.place, then: end)
            case "array": return try array(schema, leaf.place, then: end)
            case "string": return try string(schema, leaf.place, then: end)
            case "number", "integer":
                return try number(schema, leaf.place, isInteger: type == "integer", then: end)
            case "boolean":
                return try builder.split([builder.text("true", then: end), builder.text("false", then: end)])
            default: return try builder.text("null", then: end)
            }
        }
    }

    // MARK: - Alternatives

    private struct Alternatives {
        var leaves: [Leaf] = []
        var keys = Set<String>()
        /// References that were followed already: what they lead to is there.
        var references = Set<String>()
        var depth = 0

        mutating func add(_ leaf: Leaf) {
            if keys.insert(leaf.key).inserted { leaves.append(leaf) }
        }
    }

    /// Follows `$ref`, `anyOf` and lists of types to the schemas of single types that they lead to.
    private func collect(
        _ schema: JSONValue, _ place: String, _ found: inout Alternatives
    ) throws(StructuredOutputError) {
        guard found.depth < Self.mostReferences else {
            throw .tooLarge(what: "steps from one $ref or anyOf to the next", limit: Self.mostReferences)
        }
        found.depth += 1
        defer { found.depth -= 1 }
        if let allowsAll = schema.bool {
            if allowsAll { found.add(Leaf(kind: .anything, place: place, key: "true")) }
            return
        }
        guard let object = schema.object else {
            throw .schema(place: place, reason: "a schema is an object, got \(schema.summary)")
        }
        try SchemaKeywords.check(object, place)
        if let reference = object["$ref"] {
            try SchemaKeywords.requireAlone("$ref", in: object, place)
            guard let pointer = reference.string else {
                throw .schema(place: place, reason: "$ref must be a string, got \(reference.summary)")
            }
            guard found.references.insert(pointer).inserted else { return }
            return try collect(try resolve(pointer, place), pointer, &found)
        }
        for keyword in ["anyOf", "allOf"] {
            guard let list = object[keyword] else { continue }
            try SchemaKeywords.requireAlone(keyword, in: object, place)
            guard let members = list.elements, !members.isEmpty else {
                throw .schema(
                    place: place, reason: "\(keyword) must be a list of schemas, got \(list.summary)")
            }
            guard keyword == "anyOf" || members.count == 1 else {
                throw .schema(
                    place: place,
                    reason: "allOf of several schemas is not supported; write one schema with all of it")
            }
            for (index, member) in members.enumerated() {
                try collect(member, "\(place)/\(keyword)/\(index)", &found)
            }
            return
        }
        for leaf in try SchemaKeywords.leaves(object, place) { found.add(leaf) }
    }

    /// - Parameter pointer: a JSON pointer within the schema, as a fragment
    private func resolve(_ pointer: String, _ place: String) throws(StructuredOutputError) -> JSONValue {
        guard pointer == "#" || pointer.hasPrefix("#/") else {
            throw .schema(
                place: place,
                reason: "$ref must lead to a place in the same schema (#/…), got '\(pointer.prefix(80))'")
        }
        var value = root
        for part in pointer.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
            let name = Self.unescaped(part)
            if let member = value[name] {
                value = member
            } else if let elements = value.elements, let index = Int(name), elements.indices.contains(index) {
                value = elements[index]
            } else {
                throw .schema(
                    place: place, reason: "$ref leads to '\(pointer.prefix(80))', which is not there")
            }
        }
        return value
    }

    private static func unescaped(_ part: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(part.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else if byte == UInt8(ascii: "~"), let next = rest.first, next == 0x30 || next == 0x31 {
                bytes.append(next == 0x30 ? UInt8(ascii: "~") : UInt8(ascii: "/"))
                rest = rest.dropFirst()
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension JSONValue {
    /// Compact JSON, members in their order.
    var text: String {
        switch self {
        case .array(let elements): "[" + elements.map(\.text).joined(separator: ",") + "]"
        case .object(let object):
            "{"
                + object.members.map {
                    "\(String(decoding: JSONText.quoted($0.key), as: UTF8.self)):\($0.value.text)"
                }
                .joined(separator: ",") + "}"
        case .string(let text): String(decoding: JSONText.quoted(text), as: UTF8.self)
        case .null, .bool, .integer, .number, .nonFinite: summary
        }
    }
}
