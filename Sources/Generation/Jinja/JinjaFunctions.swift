/// Operators, filters, tests and methods, with the meaning that Jinja and Python give them.
enum JinjaFunctions {
    typealias Failure = JinjaTemplate.Failure

    struct Arguments {
        var values: [JinjaValue] = []
        var named: [String: JinjaValue] = [:]

        /// The text at a place, or nil where nothing is given.
        func text(_ place: Int) throws(Failure) -> String? {
            guard values.indices.contains(place) else { return nil }
            guard case .string(let text) = values[place] else {
                throw .unsupported("an argument that is no text")
            }
            return text
        }
    }

    static func binary(
        _ symbol: String, _ left: JinjaValue, _ right: JinjaValue, _ budget: inout JinjaBudget
    ) throws(Failure) -> JinjaValue {
        switch (symbol, left, right) {
        case ("==", _, _): return .bool(try budget.areEqual(left, right))
        case ("!=", _, _): return .bool(try !budget.areEqual(left, right))
        case ("~", _, _): return .string(try bounded(JinjaRenderer.text(left) + JinjaRenderer.text(right)))
        case ("in", .string(let part), .string(let text)):
            let isFound = try !budget.places(of: Array(part.utf8), in: Array(text.utf8)).isEmpty
            return .bool(part.isEmpty || isFound)
        case ("in", _, .list(let values)): return .bool(try budget.contains(values, left))
        case ("in", .string(let key), .object(let members)):
            return .bool(try budget.contains(members.map { .string($0.key) }, .string(key)))
        case ("+", .string(let left), .string(let right)): return .string(try bounded(left + right))
        case ("+", .list(let left), .list(let right)):
            guard left.count + right.count <= JinjaTemplate.Limits.output else {
                throw .unsupported("a long list")
            }
            return .list(left + right)
        case ("*", .string(let text), .integer(let count)), ("*", .integer(let count), .string(let text)):
            // No text many times is still no text, but a loop of as many rounds.
            guard !text.isEmpty, count > 0 else { return .string("") }
            guard text.utf8.count <= JinjaTemplate.Limits.output / count else {
                throw .unsupported("it renders too much text")
            }
            return .string(String(repeating: text, count: count))
        case (_, .integer(let left), .integer(let right)): return try arithmetic(symbol, left, right)
        case ("<", .string(let left), .string(let right)):
            return .bool(left.utf8.lexicographicallyPrecedes(right.utf8))
        default: throw .unsupported("the operator \(symbol) on such values")
        }
    }

    private static func arithmetic(_ symbol: String, _ left: Int, _ right: Int) throws(Failure) -> JinjaValue
    {
        switch symbol {
        case "+": return try whole(left.addingReportingOverflow(right))
        case "-": return try whole(left.subtractingReportingOverflow(right))
        case "*": return try whole(left.multipliedReportingOverflow(by: right))
        case "<": return .bool(left < right)
        case "<=": return .bool(left <= right)
        case ">": return .bool(left > right)
        case ">=": return .bool(left >= right)
        case "%", "//":
            guard right > 0, left >= 0 else { throw .unsupported("a division by such a number") }
            return .integer(symbol == "%" ? left % right : left / right)
        default: throw .unsupported("the operator \(symbol)")
        }
    }

    /// Python's numbers have no end; those beyond 64 bits are not guessed.
    private static func whole(_ result: (partialValue: Int, overflow: Bool)) throws(Failure) -> JinjaValue {
        guard !result.overflow else { throw .unsupported("a number that is too large") }
        return .integer(result.partialValue)
    }

    static func filter(
        _ name: String, _ value: JinjaValue, _ given: Arguments, _ budget: inout JinjaBudget
    ) throws(Failure) -> JinjaValue {
        switch (name, value) {
        case ("default", .undefined), ("d", .undefined): return given.values.first ?? .string("")
        case ("default", _), ("d", _), ("safe", _): return value
        case (_, .undefined(let name)) where name != "list": throw .unsupported("\(name) is not defined")
        case ("length", _), ("count", _): return .integer(try JinjaRenderer.elements(value).count)
        case ("list", _): return .list(try JinjaRenderer.elements(value))
        case ("first", _): return try JinjaRenderer.elements(value).first ?? .undefined("first")
        case ("last", _): return try JinjaRenderer.elements(value).last ?? .undefined("last")
        case ("reverse", .list(let values)): return .list(values.reversed())
        case ("string", _): return .string(try JinjaRenderer.text(value))
        case ("int", .integer): return value
        case ("join", _):
            let separator = try given.text(0) ?? ""
            var parts: [String] = []
            for element in try JinjaRenderer.elements(value) { parts.append(try JinjaRenderer.text(element)) }
            return .string(try JinjaBudget.joined(parts, separator: separator))
        case ("items", .object): return try method("items", value, given, &budget)
        case ("selectattr", _), ("rejectattr", _):
            return .list(try selected(value, given, name == "selectattr", &budget))
        case ("map", _):
            guard given.values.isEmpty, case .string(let attribute)? = given.named["attribute"] else {
                throw .unsupported("the filter map without attribute")
            }
            var members: [JinjaValue] = []
            for element in try JinjaRenderer.elements(value) {
                members.append(try budget.member(attribute, of: element))
            }
            return .list(members)
        case ("trim", .string) where given.values.isEmpty: return try method("strip", value, given, &budget)
        case ("upper", .string), ("lower", .string), ("title", .string), ("capitalize", .string),
            ("replace", .string):
            return try method(name, value, given, &budget)
        default: throw .unsupported("the filter \(name)")
        }
    }

    private static func selected(
        _ value: JinjaValue, _ given: Arguments, _ wanted: Bool, _ budget: inout JinjaBudget
    ) throws(Failure) -> [JinjaValue] {
        guard let attribute = try given.text(0) else { throw .unsupported("a selection without attribute") }
        let name = try given.text(1)
        var result: [JinjaValue] = []
        for element in try JinjaRenderer.elements(value) {
            let member = try budget.member(attribute, of: element)
            var isSelected = member.isTrue
            if let name { isSelected = try test(name, member, Array(given.values.dropFirst(2)), &budget) }
            if isSelected == wanted { result.append(element) }
        }
        return result
    }

    static func test(
        _ name: String, _ value: JinjaValue, _ given: [JinjaValue], _ budget: inout JinjaBudget
    ) throws(Failure) -> Bool {
        switch name {
        case "defined": if case .undefined = value { return false } else { return true }
        case "undefined": if case .undefined = value { return true } else { return false }
        case "none": if case .none = value { return true } else { return false }
        case "string": if case .string = value { return true } else { return false }
        case "number", "integer": if case .integer = value { return true } else { return false }
        case "boolean": if case .bool = value { return true } else { return false }
        case "true": if case .bool(true) = value { return true } else { return false }
        case "false": if case .bool(false) = value { return true } else { return false }
        case "mapping": if case .object = value { return true } else { return false }
        case "iterable", "sequence":
            switch value {
            case .list, .object, .string: return true
            case .undefined: return name == "iterable"
            default: return false
            }
        case "equalto", "eq":
            guard let other = given.first else { throw .unsupported("the test \(name) without value") }
            return try budget.areEqual(value, other)
        case "in":
            guard let other = given.first else { throw .unsupported("the test in without value") }
            return try binary("in", value, other, &budget).isTrue
        default: throw .unsupported("the test \(name)")
        }
    }

    static func method(
        _ name: String, _ owner: JinjaValue, _ given: Arguments, _ budget: inout JinjaBudget
    ) throws(Failure) -> JinjaValue {
        switch (name, owner) {
        case ("items", .object(let members)):
            let items = JinjaValue.list(members.map { .list([.string($0.key), $0.value]) })
            try budget.checkNesting(of: items)
            return items
        case ("keys", .object(let members)): return .list(members.map { .string($0.key) })
        case ("values", .object(let members)): return .list(members.map(\.value))
        case ("get", .object):
            guard let key = try given.text(0) else { throw .unsupported("get without key") }
            let found = try budget.member(key, of: owner)
            if case .undefined = found { return given.values.count > 1 ? given.values[1] : .none }
            return found
        case (_, .string(let text)): return try method(name, text, given, &budget)
        case (_, .undefined(let owner)): throw .unsupported("\(owner) is not defined")
        default: throw .unsupported("the method \(name)")
        }
    }

    private static func method(
        _ name: String, _ text: String, _ given: Arguments, _ budget: inout JinjaBudget
    ) throws(Failure) -> JinjaValue {
        switch name {
        case "strip", "lstrip", "rstrip":
            let set = try given.text(0).map { Set($0.unicodeScalars) }
            func goes(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? isSpace(scalar) }
            var scalars = text.unicodeScalars[...]
            if name != "rstrip" { scalars = scalars.drop(while: goes) }
            if name != "lstrip" { while let last = scalars.last, goes(last) { scalars.removeLast() } }
            return .string(String(scalars))
        case "upper": return .string(try bounded(text.uppercased()))
        case "lower": return .string(try bounded(text.lowercased()))
        case "capitalize":
            return .string(try bounded(text.prefix(1).uppercased() + text.dropFirst().lowercased()))
        case "title":
            let words = text.split(separator: " ", omittingEmptySubsequences: false)
                .map { $0.prefix(1).uppercased() + $0.dropFirst().lowercased() }
            return .string(try JinjaBudget.joined(words, separator: " "))
        case "startswith": return .bool(try text.utf8.starts(with: (given.text(0) ?? "").utf8))
        case "endswith":
            return .bool(try text.utf8.reversed().starts(with: (given.text(0) ?? "").utf8.reversed()))
        case "split":
            guard let separator = try given.text(0), !separator.isEmpty, given.values.count == 1 else {
                throw .unsupported("split without separator")
            }
            return .list(try budget.split(text, at: separator).map(JinjaValue.string))
        case "replace":
            guard let old = try given.text(0), let new = try given.text(1), !old.isEmpty,
                given.values.count == 2
            else { throw .unsupported("replace with such values") }
            return .string(try JinjaBudget.joined(budget.split(text, at: old), separator: new))
        default: throw .unsupported("the method \(name) of a text")
        }
    }

    /// What Python's `strip` takes away.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
    }

    private static func bounded(_ text: String) throws(Failure) -> String {
        guard text.utf8.count <= JinjaTemplate.Limits.output else {
            throw .unsupported("it renders too much text")
        }
        return text
    }
}
