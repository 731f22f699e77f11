internal import StrictJSON

/// Which keywords a schema may have, and what they say together.
enum SchemaKeywords {
    /// They say nothing about values.
    private static let annotations: Set<String> = [
        "title", "description", "default", "examples", "$comment", "$schema", "$id", "deprecated", "readOnly",
        "writeOnly", "$defs", "definitions",
    ]

    /// Keywords by the type that they are about.
    private static let typed: [(type: String, keywords: Set<String>)] = [
        ("object", ["properties", "required", "additionalProperties"]),
        ("array", ["items", "minItems", "maxItems", "uniqueItems"]),
        ("string", ["minLength", "maxLength", "pattern", "format"]),
        ("number", ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    ]
    private static let general: Set<String> = ["type", "enum", "const", "anyOf", "allOf", "$ref"]
    private static let types = ["object", "array", "string", "number", "integer", "boolean", "null"]

    private static let advice = [
        "oneOf": "use anyOf", "not": "say what is allowed instead", "prefixItems": "use an object",
        "nullable": "use a list of types with \"null\"", "patternProperties": "list the properties",
        "if": "use anyOf", "then": "use anyOf", "else": "use anyOf",
    ]

    /// - Throws: `StructuredOutputError.schema` for the first keyword that is not supported.
    static func check(_ schema: JSONObject, _ place: String) throws(StructuredOutputError) {
        for member in schema.members {
            let name = member.key
            if annotations.contains(name) || general.contains(name) { continue }
            if typed.contains(where: { $0.keywords.contains(name) }) { continue }
            let advice = advice[name].map { "; \($0)" } ?? ""
            throw .schema(
                place: place,
                reason: "the keyword \(JSONValue.string(name).summary) is not supported\(advice)")
        }
        for (name, value) in [("multipleOf", schema["multipleOf"]), ("uniqueItems", schema["uniqueItems"])] {
            guard let value else { continue }
            // What changes nothing is no reason to refuse.
            if name == "uniqueItems", value.bool == false { continue }
            if name == "multipleOf", value.integer == 1, schema["type"]?.string == "integer" { continue }
            throw .schema(place: place, reason: "the keyword \"\(name)\" is not supported")
        }
    }

    /// - Throws: `StructuredOutputError.schema` where another keyword says something beside this one.
    static func requireAlone(
        _ keyword: String, in schema: JSONObject, _ place: String
    ) throws(StructuredOutputError) {
        let others = schema.members.map(\.key).filter { $0 != keyword && !annotations.contains($0) }
        guard let other = others.first else { return }
        throw .schema(
            place: place, reason: "\"\(other)\" beside \"\(keyword)\" is not supported; put it inside")
    }

    /// What a schema without `$ref` and `anyOf` allows, type by type.
    static func leaves(
        _ schema: JSONObject, _ place: String
    ) throws(StructuredOutputError) -> [SchemaCompiler.Leaf] {
        let types = try types(of: schema, place)
        if schema["enum"] != nil || schema["const"] != nil {
            return [try literals(schema, types, place)]
        }
        let inferred =
            types
            ?? typed.filter { group in
                schema.members.contains { group.keywords.contains($0.key) }
            }.map(\.type)
        if inferred.isEmpty { return [SchemaCompiler.Leaf(kind: .anything, place: place, key: "true")] }
        return inferred.map { type in
            let group = typed.first { $0.type == (type == "integer" ? "number" : type) }
            // Only what is about the type: leaves that differ in the rest are the same.
            let text = schema.members.filter { group?.keywords.contains($0.key) ?? false }
                .map { "\($0.key) \($0.value.text)" }.sorted().joined(separator: " ")
            // The order of members is part of what an object is.
            return SchemaCompiler.Leaf(
                kind: .type(type, schema), place: place, key: "\(type) \(text)")
        }
    }

    /// nil where the schema does not say.
    private static func types(
        of schema: JSONObject, _ place: String
    ) throws(StructuredOutputError) -> [String]? {
        guard let value = schema["type"] else { return nil }
        let names = value.elements ?? [value]
        var result: [String] = []
        for name in names {
            guard let type = name.string, types.contains(type) else {
                throw .schema(
                    place: place,
                    reason: "type must be one of \(types.joined(separator: ", ")), got \(name.summary)")
            }
            if !result.contains(type) { result.append(type) }
        }
        guard !result.isEmpty else { throw .schema(place: place, reason: "the list of types is empty") }
        if result.contains("number") { result.removeAll { $0 == "integer" } }
        return result
    }

    private static func literals(
        _ schema: JSONObject, _ types: [String]?, _ place: String
    ) throws(StructuredOutputError) -> SchemaCompiler.Leaf {
        let keyword = schema["const"] == nil ? "enum" : "const"
        let others = schema.members.map(\.key).filter {
            $0 != keyword && $0 != "type" && !annotations.contains($0)
        }
        if let other = others.first {
            throw .schema(place: place, reason: "\"\(other)\" beside \"\(keyword)\" is not supported")
        }
        guard let values = schema["const"].map({ [$0] }) ?? schema["enum"]?.elements, !values.isEmpty else {
            throw .schema(place: place, reason: "enum must be a list of values that is not empty")
        }
        for value in values {
            guard types?.contains(where: { isOf($0, value) }) ?? true else {
                throw .schema(
                    place: place, reason: "the \(keyword) value \(value.summary) is not of the type")
            }
        }
        let text = values.map(\.text).joined(separator: ",")
        return SchemaCompiler.Leaf(kind: .literals(values), place: place, key: "enum [\(text)]")
    }

    private static func isOf(_ type: String, _ value: JSONValue) -> Bool {
        switch value {
        case .null: type == "null"
        case .bool: type == "boolean"
        case .string: type == "string"
        case .array: type == "array"
        case .object: type == "object"
        case .integer: type == "integer" || type == "number"
        case .number: type == "number" || (type == "integer" && value.integer != nil)
        case .nonFinite: false
        }
    }

    // MARK: - Values of keywords

    /// A count that is not negative; nil where it is absent.
    static func count(
        _ name: String, of schema: JSONObject, _ place: String
    ) throws(StructuredOutputError) -> Int? {
        guard let value = schema[name] else { return nil }
        guard let count = value.integer, count >= 0 else {
            throw .schema(
                place: place, reason: "\(name) must be a whole number from 0 on, got \(value.summary)")
        }
        return count
    }

    /// Two counts, the first not above the second.
    static func range(
        _ least: String, _ most: String, of schema: JSONObject, _ place: String
    ) throws(StructuredOutputError) -> (least: Int, most: Int?) {
        let (low, high) = (try count(least, of: schema, place) ?? 0, try count(most, of: schema, place))
        if let high, high < low {
            throw .schema(place: place, reason: "\(least) is \(low), which is above \(most), \(high)")
        }
        return (low, high)
    }
}
