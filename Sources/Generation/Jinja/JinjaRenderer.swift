/// Evaluates a template for one conversation.
struct JinjaRenderer {
    typealias Failure = JinjaTemplate.Failure
    typealias Expression = JinjaTemplate.Expression

    private var scopes: [[String: JinjaValue]]
    private var namespaces: [[String: JinjaValue]] = []
    private var budget = JinjaBudget()
    private var depth = 0

    /// The text that `template` makes of `variables`.
    static func render(
        _ template: JinjaTemplate, _ variables: [String: JinjaValue]
    ) throws(Failure) -> String {
        var renderer = JinjaRenderer(variables)
        var output = ""
        try renderer.run(template.body, &output)
        return output
    }

    private init(_ variables: [String: JinjaValue]) { scopes = [variables] }

    private func bounded(_ text: String) throws(Failure) -> String {
        guard text.utf8.count <= JinjaTemplate.Limits.output else {
            throw .unsupported("it renders too much text")
        }
        return text
    }

    private mutating func run(_ body: [JinjaTemplate.Statement], _ output: inout String) throws(Failure) {
        for statement in body {
            try budget.charge(1)
            switch statement {
            case .text(let text):
                try budget.charge(text.utf8.count / 16)
                output += text
            case .output(let expression): output += try Self.text(evaluate(expression))
            case .branch(let branches):
                for (condition, body) in branches {
                    if let condition, try !evaluate(condition).isTrue { continue }
                    try run(body, &output)
                    break
                }
            case .loop(let targets, let values, let condition, let body, let otherwise):
                try loop(targets, values, condition, body, otherwise, &output)
            case .assign(let target, let expression): try assign(target, evaluate(expression))
            case .capture(let name, let body):
                var captured = ""
                try run(body, &captured)
                scopes[scopes.count - 1][name] = .string(captured)
            }
            output = try bounded(output)
        }
    }

    private mutating func assign(_ target: [String], _ value: JinjaValue) throws(Failure) {
        guard target.count == 2 else { return scopes[scopes.count - 1][target[0]] = value }
        guard case .namespace(let index) = lookup(target[0]) else {
            throw .unsupported("\(target[0]) is set but is no namespace")
        }
        namespaces[index][target[1]] = value
    }

    private mutating func loop(
        _ targets: [String], _ over: Expression, _ condition: Expression?, _ body: [JinjaTemplate.Statement],
        _ otherwise: [JinjaTemplate.Statement], _ output: inout String
    ) throws(Failure) {
        var values = try Self.elements(evaluate(over))
        scopes.append([:])
        defer { scopes.removeLast() }
        if let condition {
            var kept: [JinjaValue] = []
            for value in values {
                try bind(targets, value)
                if try evaluate(condition).isTrue { kept.append(value) }
            }
            values = kept
        }
        guard !values.isEmpty else { return try run(otherwise, &output) }
        for (index, value) in values.enumerated() {
            try budget.charge(1)
            // What a body sets is forgotten with the next round.
            scopes[scopes.count - 1] = [
                "loop": .object([
                    ("index", .integer(index + 1)), ("index0", .integer(index)),
                    ("first", .bool(index == 0)), ("last", .bool(index == values.count - 1)),
                    ("length", .integer(values.count)), ("revindex", .integer(values.count - index)),
                    ("revindex0", .integer(values.count - index - 1)),
                    ("previtem", index > 0 ? values[index - 1] : .undefined("previtem")),
                    ("nextitem", index + 1 < values.count ? values[index + 1] : .undefined("nextitem")),
                ])
            ]
            try bind(targets, value)
            try run(body, &output)
        }
    }

    private mutating func bind(_ targets: [String], _ value: JinjaValue) throws(Failure) {
        guard targets.count > 1 else { return scopes[scopes.count - 1][targets[0]] = value }
        let parts = try Self.elements(value)
        guard parts.count == targets.count else { throw .unsupported("a loop over values of another number") }
        for (target, part) in zip(targets, parts) { scopes[scopes.count - 1][target] = part }
    }

    private func lookup(_ name: String) -> JinjaValue {
        for scope in scopes.reversed() { if let value = scope[name] { return value } }
        return .undefined(name)
    }

    // MARK: - Expressions

    private mutating func evaluate(_ expression: Expression) throws(Failure) -> JinjaValue {
        depth += 1
        defer { depth -= 1 }
        // The parser bounds nesting, but not the length of a chain of operators.
        guard depth <= 4 * JinjaTemplate.Limits.depth else { throw .unsupported("it is nested too deeply") }
        let value = try value(of: expression)
        try budget.charge(for: value)
        return value
    }

    private mutating func value(of expression: Expression) throws(Failure) -> JinjaValue {
        switch expression {
        case .literal(let value): return value
        case .name(let name): return lookup(name)
        case .list(let items):
            var values: [JinjaValue] = []
            for item in items { values.append(try evaluate(item)) }
            try budget.checkNesting(of: .list(values))
            return .list(values)
        case .dictionary(let items):
            var members: [(key: String, value: JinjaValue)] = []
            for (key, value) in items { members.append((try Self.text(evaluate(key)), try evaluate(value))) }
            try budget.checkNesting(of: .object(members))
            return .object(members)
        case .member(let value, let key): return try member(evaluate(value), evaluate(key))
        case .slice(let value, let start, let end, let step):
            return try slice(evaluate(value), number(start), number(end), number(step) ?? 1)
        case .call(let callee, let arguments): return try call(callee, arguments)
        case .filter(let value, let name, let arguments):
            let (value, given) = (try evaluate(value), try evaluated(arguments))
            return try JinjaFunctions.filter(name, value, given, &budget)
        case .test(let value, let name, let arguments, let negated):
            let (value, given) = (try evaluate(value), try evaluated(arguments).values)
            let result = try JinjaFunctions.test(name, value, given, &budget)
            return .bool(result != negated)
        case .not(let value): return .bool(try !evaluate(value).isTrue)
        case .negative(let value):
            guard case .integer(let number) = try evaluate(value) else {
                throw .unsupported("minus before no number")
            }
            return try JinjaFunctions.binary("-", .integer(0), .integer(number), &budget)
        case .and(let left, let right):
            let value = try evaluate(left)
            return value.isTrue ? try evaluate(right) : value
        case .or(let left, let right):
            let value = try evaluate(left)
            return value.isTrue ? value : try evaluate(right)
        case .binary(let symbol, let left, let right):
            let (left, right) = (try evaluate(left), try evaluate(right))
            return try JinjaFunctions.binary(symbol, left, right, &budget)
        case .choice(let condition, let then, let otherwise):
            if try evaluate(condition).isTrue { return try evaluate(then) }
            return try otherwise.map { (value) throws(Failure) in try evaluate(value) } ?? .undefined("else")
        }
    }

    private mutating func evaluated(
        _ arguments: [JinjaTemplate.Argument]
    ) throws(Failure) -> JinjaFunctions.Arguments {
        var result = JinjaFunctions.Arguments()
        for argument in arguments {
            let value = try evaluate(argument.value)
            if let name = argument.name { result.named[name] = value } else { result.values.append(value) }
        }
        return result
    }

    private mutating func number(_ expression: Expression?) throws(Failure) -> Int? {
        guard let expression else { return nil }
        switch try evaluate(expression) {
        case .integer(let number): return number
        case .none: return nil
        default: throw .unsupported("an index that is no number")
        }
    }

    private mutating func member(_ value: JinjaValue, _ key: JinjaValue) throws(Failure) -> JinjaValue {
        switch (value, key) {
        case (.undefined(let name), _): throw .unsupported("\(name) is not defined")
        case (.namespace(let index), .string(let key)): return namespaces[index][key] ?? .undefined(key)
        case (.object, .string(let key)): return try budget.member(key, of: value)
        case (.list(let values), .integer(let index)):
            let place = index < 0 ? values.count + index : index
            return values.indices.contains(place) ? values[place] : .undefined("element \(index)")
        case (.string(let text), .integer(let index)):
            let scalars = Array(text.unicodeScalars)
            let place = index < 0 ? scalars.count + index : index
            return scalars.indices.contains(place)
                ? .string(String(scalars[place])) : .undefined("element \(index)")
        case (_, .string(let key)): return .undefined(key)
        default: throw .unsupported("an index into what has none")
        }
    }

    private func slice(_ value: JinjaValue, _ start: Int?, _ end: Int?, _ step: Int) throws(Failure)
        -> JinjaValue
    {
        func sliced<Element>(_ values: [Element]) -> [Element] {
            let count = values.count
            func clamped(_ index: Int, _ range: ClosedRange<Int>) -> Int {
                min(
                    max(index < 0 ? count + max(index, -count - 1) : index, range.lowerBound),
                    range.upperBound)
            }
            if step == 1 {
                let (first, last) = (clamped(start ?? 0, 0...count), clamped(end ?? count, 0...count))
                return first < last ? Array(values[first..<last]) : []
            }
            return values.reversed()
        }
        guard step == 1 || (step == -1 && start == nil && end == nil) else {
            throw .unsupported("a slice with steps")
        }
        switch value {
        case .list(let values): return .list(sliced(values))
        case .string(let text):
            return .string(String(String.UnicodeScalarView(sliced(Array(text.unicodeScalars)))))
        default: throw .unsupported("a slice of what has no parts")
        }
    }

    private mutating func call(
        _ callee: Expression, _ arguments: [JinjaTemplate.Argument]
    ) throws(Failure) -> JinjaValue {
        if case .member(let owner, .literal(.string(let method))) = callee {
            let (owner, given) = (try evaluate(owner), try evaluated(arguments))
            return try JinjaFunctions.method(method, owner, given, &budget)
        }
        guard case .name(let name) = callee else { throw .unsupported("a call of a value") }
        let given = try evaluated(arguments)
        switch name {
        case "raise_exception": throw .raised(try given.values.first.map(Self.text) ?? "")
        case "namespace":
            guard given.values.isEmpty, namespaces.count < JinjaTemplate.Limits.depth else {
                throw .unsupported("a namespace of values")
            }
            namespaces.append(given.named)
            return .namespace(namespaces.count - 1)
        case "range":
            var bounds: [Int] = []
            for case .integer(let number) in given.values { bounds.append(number) }
            guard bounds.count == given.values.count, (1...2).contains(bounds.count) else {
                throw .unsupported("a range with steps")
            }
            let (low, high) = bounds.count == 1 ? (0, bounds[0]) : (bounds[0], bounds[1])
            // Not by `abs`, which the least number does not have.
            let allowed = -JinjaTemplate.Limits.steps...JinjaTemplate.Limits.steps
            guard allowed.contains(low), allowed.contains(high) else {
                throw .unsupported("a long range")
            }
            return .list(low < high ? (low..<high).map(JinjaValue.integer) : [])
        default: throw .unsupported("the function \(name)")
        }
    }

    // MARK: - Conversions

    /// As Jinja prints a value.
    static func text(_ value: JinjaValue) throws(Failure) -> String {
        switch value {
        case .undefined: ""
        case .none: "None"
        case .bool(let value): value ? "True" : "False"
        case .integer(let value): String(value)
        case .string(let text): text
        case .list, .object, .namespace: throw .unsupported("a list or object as text")
        }
    }

    static func elements(_ value: JinjaValue) throws(Failure) -> [JinjaValue] {
        switch value {
        case .list(let values): values
        case .object(let members): members.map { .string($0.key) }
        case .string(let text): text.unicodeScalars.map { .string(String($0)) }
        case .undefined: []
        default: throw .unsupported("a loop over what has no parts")
        }
    }
}
