internal import StrictJSON

/// Objects and arrays, and JSON that no schema describes.
///
/// Between the parts of JSON there may be one space behind a colon and behind a comma, and no other white space.
extension SchemaCompiler {
    /// Items beyond this number are written out one by one in the grammar.
    private static let mostItems = 10_000

    private mutating func comma(then next: Int) throws(StructuredOutputError) -> Int {
        try builder.text(",", then: space(then: next))
    }

    private mutating func colon(then next: Int) throws(StructuredOutputError) -> Int {
        try builder.text(":", then: space(then: next))
    }

    private mutating func space(then next: Int) throws(StructuredOutputError) -> Int {
        try builder.split([next, builder.text(" ", then: next)])
    }

    mutating func object(
        _ schema: JSONObject, _ place: String, then next: Int
    ) throws(StructuredOutputError) -> Int {
        let members = try properties(schema, place)
        let required = try required(schema, members, place)
        let additional = schema["additionalProperties"]
        if let additional, additional.bool == nil, additional.object == nil {
            throw .schema(
                place: place,
                reason: "additionalProperties must be a schema, true or false, got \(additional.summary)")
        }
        if members.isEmpty, additional?.bool != false {
            let value = additional ?? .bool(true)
            return try map(next) { (compiler, then) throws(StructuredOutputError) in
                try compiler.value(value, "\(place)/additionalProperties", then: then)
            }
        }
        if additional?.object != nil, additional?.object?.isEmpty == false, !members.isEmpty {
            throw .schema(
                place: place,
                reason:
                    "a schema for additionalProperties beside properties is not supported; say false, or list them"
            )
        }
        // From the last member to the first: what follows where none was written yet, and where one was.
        let close = try builder.text("}", then: next)
        var (first, later) = (close, close)
        for member in members.reversed() {
            let entry = try builder.text(
                JSONText.quoted(member.key),
                then: colon(then: value(member.value, "\(place)/properties/\(member.key)", then: later)))
            let behindComma = try comma(then: entry)
            let isRequired = required.contains(member.key)
            first = try isRequired ? entry : builder.split([entry, first])
            later = try isRequired ? behindComma : builder.split([behindComma, later])
        }
        return try builder.text("{", then: first)
    }

    private func properties(
        _ schema: JSONObject, _ place: String
    ) throws(StructuredOutputError) -> [JSONObject.Member] {
        guard let value = schema["properties"] else { return [] }
        guard let object = value.object else {
            throw .schema(place: place, reason: "properties must be an object, got \(value.summary)")
        }
        return object.members
    }

    private func required(
        _ schema: JSONObject, _ members: [JSONObject.Member], _ place: String
    ) throws(StructuredOutputError) -> Set<String> {
        guard let value = schema["required"] else { return [] }
        var names = Set<String>()
        let known = Set(members.map(\.key))
        for element in value.elements ?? [.null] {
            guard let name = element.string else {
                throw .schema(place: place, reason: "required must be a list of names, got \(value.summary)")
            }
            guard known.contains(name) else {
                throw .schema(
                    place: place, reason: "required names \(element.summary), which properties does not list")
            }
            names.insert(name)
        }
        return names
    }

    /// An object with any keys.
    private mutating func map(
        _ next: Int,
        value: (inout SchemaCompiler, Int) throws(StructuredOutputError) -> Int
    ) throws(StructuredOutputError) -> Int {
        let behind = try builder.reserve()
        let member = try builder.call(plainString(), then: colon(then: value(&self, behind)))
        let close = try builder.text("}", then: next)
        builder.set(
            behind,
            .split([Int32(truncatingIfNeeded: close), Int32(truncatingIfNeeded: try comma(then: member))]))
        return try builder.text("{", then: builder.split([close, member]))
    }

    mutating func array(
        _ schema: JSONObject, _ place: String, then next: Int
    ) throws(StructuredOutputError) -> Int {
        let (least, most) = try SchemaKeywords.range("minItems", "maxItems", of: schema, place)
        guard least <= Self.mostItems else {
            throw .schema(place: place, reason: "minItems is above \(Self.mostItems)")
        }
        if let items = schema["items"], items.bool == nil, items.object == nil {
            throw .schema(place: place, reason: "items must be one schema, got \(items.summary)")
        }
        let items = schema["items"] ?? .bool(true)
        let close = try builder.text("]", then: next)
        guard most != 0 else { return try builder.text("[", then: close) }
        let item = try rule(items, "\(place)/items")
        // Behind the last item; more than the limit are not needed.
        var behind: Int
        var count: Int
        if let most, most <= Self.mostItems {
            (behind, count) = (close, most)
        } else {
            count = max(least, 1)
            behind = try builder.reserve()
            let again = try comma(then: builder.call(item, then: behind))
            builder.set(behind, .split([Int32(truncatingIfNeeded: close), Int32(truncatingIfNeeded: again)]))
        }
        while count > 1 {
            let more = try comma(then: builder.call(item, then: behind))
            count -= 1
            behind = try count >= least ? builder.split([close, more]) : more
        }
        var places = least == 0 ? [close] : []
        if count == 1 { places.append(try builder.call(item, then: behind)) }
        return try builder.text("[", then: builder.split(places))
    }

    /// A value as it is.
    mutating func literal(_ value: JSONValue, then next: Int) throws(StructuredOutputError) -> Int {
        var place = next
        switch value {
        case .array(let elements):
            place = try builder.text("]", then: place)
            for (index, element) in elements.enumerated().reversed() {
                place = try literal(element, then: place)
                if index > 0 { place = try comma(then: place) }
            }
            return try builder.text("[", then: place)
        case .object(let object):
            place = try builder.text("}", then: place)
            for (index, member) in object.members.enumerated().reversed() {
                place = try builder.text(
                    JSONText.quoted(member.key), then: colon(then: literal(member.value, then: place)))
                if index > 0 { place = try comma(then: place) }
            }
            return try builder.text("{", then: place)
        case .null, .bool, .integer, .number, .nonFinite, .string:
            return try builder.text(value.text, then: place)
        }
    }

    // MARK: - Any JSON

    mutating func freeValue() throws(StructuredOutputError) -> Int {
        if let rule = shared.value { return rule }
        let rule = try builder.reserveRule()
        shared.value = rule
        let end = builder.end
        var places: [Int] = []
        for word in ["true", "false", "null"] { places.append(try builder.text(word, then: end)) }
        for part in [try plainString(), try freeNumber(), try freeObject(), try freeArray()] {
            places.append(try builder.call(part, then: end))
        }
        builder.set(rule: rule, start: try builder.split(places))
        return rule
    }

    mutating func freeObject() throws(StructuredOutputError) -> Int {
        if let rule = shared.object { return rule }
        let rule = try builder.reserveRule()
        shared.object = rule
        let start = try map(builder.end) { (compiler, then) throws(StructuredOutputError) in
            try compiler.builder.call(compiler.freeValue(), then: then)
        }
        builder.set(rule: rule, start: start)
        return rule
    }

    private mutating func freeArray() throws(StructuredOutputError) -> Int {
        if let rule = shared.array { return rule }
        let rule = try builder.reserveRule()
        shared.array = rule
        builder.set(rule: rule, start: try array(JSONObject("items", .bool(true)), "#", then: builder.end))
        return rule
    }
}
