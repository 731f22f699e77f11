/// Words to statements and expressions, by recursive descent with Jinja's precedences.
struct JinjaParser {
    typealias Failure = JinjaTemplate.Failure
    typealias Statement = JinjaTemplate.Statement
    typealias Expression = JinjaTemplate.Expression
    typealias Token = JinjaLexer.Token

    private let tokens: [Token]
    private var place = 0
    private var depth = 0
    private var links = 0

    init(_ tokens: [Token]) { self.tokens = tokens }

    private var next: Token { tokens[place] }

    /// The last token, `.end`, is never passed.
    private mutating func advance() { place = min(place + 1, tokens.count - 1) }

    private mutating func take(_ token: Token) -> Bool {
        guard next == token else { return false }
        advance()
        return true
    }

    private mutating func expect(_ token: Token) throws(Failure) {
        guard take(token) else { throw .unsupported("\(next) where \(token) was expected") }
    }

    private mutating func name() throws(Failure) -> String {
        guard case .name(let name) = next else { throw .unsupported("\(next) where a name was expected") }
        advance()
        return name
    }

    private mutating func enter() throws(Failure) {
        depth += 1
        guard depth <= JinjaTemplate.Limits.depth else { throw .unsupported("it is nested too deeply") }
    }

    /// Called for each link of a chain, which the tree holds inside of the next one.
    private mutating func link() throws(Failure) {
        links += 1
        guard links <= JinjaTemplate.Limits.links else { throw .unsupported("a tag with too many operators") }
    }

    // MARK: - Statements

    mutating func template() throws(Failure) -> [Statement] {
        let body = try statements(until: [])
        guard next == .end else { throw .unsupported("\(next) outside of its statement") }
        return body
    }

    /// Statements up to a tag that begins with one of `ends`, which is left for the caller.
    private mutating func statements(until ends: [String]) throws(Failure) -> [Statement] {
        try enter()
        defer { depth -= 1 }
        var result: [Statement] = []
        while true {
            links = 0
            switch next {
            case .text(let text):
                advance()
                result.append(.text(text))
            case .beginOutput:
                advance()
                result.append(.output(try expression()))
                try expect(.endOutput)
            case .beginStatement:
                guard case .name(let keyword) = tokens[min(place + 1, tokens.count - 1)] else {
                    throw .unsupported("a statement without keyword")
                }
                if ends.contains(keyword) { return result }
                advance()
                advance()
                result += try statement(keyword)
            default: return result
            }
        }
    }

    private mutating func statement(_ keyword: String) throws(Failure) -> [Statement] {
        switch keyword {
        case "if": return [try branch()]
        case "for": return [try loop()]
        case "set": return [try assignment()]
        case "generation":
            // Marks what is trained on and renders its body.
            try expect(.endStatement)
            let body = try statements(until: ["endgeneration"])
            try end("endgeneration")
            return body
        default: throw .unsupported("the statement \(keyword)")
        }
    }

    private mutating func end(_ keyword: String) throws(Failure) {
        try expect(.beginStatement)
        try expect(.name(keyword))
        try expect(.endStatement)
    }

    private mutating func branch() throws(Failure) -> Statement {
        var branches: [(condition: Expression?, body: [Statement])] = []
        var condition: Expression? = try expression()
        while true {
            try expect(.endStatement)
            branches.append((condition, try statements(until: ["elif", "else", "endif"])))
            try expect(.beginStatement)
            let keyword = try name()
            if keyword == "endif" { break }
            guard condition != nil else { throw .unsupported("\(keyword) after else") }
            condition = keyword == "elif" ? try expression() : nil
        }
        try expect(.endStatement)
        return .branch(branches)
    }

    private mutating func loop() throws(Failure) -> Statement {
        var targets = [try name()]
        while take(.symbol(",")) { targets.append(try name()) }
        try expect(.name("in"))
        let values = try choice(allowsIf: false)
        let condition = take(.name("if")) ? try expression() : nil
        try expect(.endStatement)
        let body = try statements(until: ["else", "endfor"])
        var otherwise: [Statement] = []
        try expect(.beginStatement)
        if try name() == "else" {
            try expect(.endStatement)
            otherwise = try statements(until: ["endfor"])
            try expect(.beginStatement)
            try expect(.name("endfor"))
        }
        try expect(.endStatement)
        return .loop(targets: targets, over: values, condition: condition, body: body, otherwise: otherwise)
    }

    private mutating func assignment() throws(Failure) -> Statement {
        var target = [try name()]
        if take(.symbol(".")) { target.append(try name()) }
        if take(.symbol("=")) {
            let value = try expression()
            try expect(.endStatement)
            return .assign(target: target, value: value)
        }
        guard target.count == 1 else { throw .unsupported("a set without value") }
        try expect(.endStatement)
        let body = try statements(until: ["endset"])
        try end("endset")
        return .capture(name: target[0], body: body)
    }

    // MARK: - Expressions

    private mutating func expression() throws(Failure) -> Expression { try choice(allowsIf: true) }

    private mutating func choice(allowsIf: Bool) throws(Failure) -> Expression {
        try enter()
        defer { depth -= 1 }
        let value = try either()
        guard allowsIf, take(.name("if")) else { return value }
        let condition = try either()
        let otherwise = take(.name("else")) ? try expression() : nil
        return .choice(condition: condition, then: value, otherwise: otherwise)
    }

    private mutating func either() throws(Failure) -> Expression {
        var left = try both()
        while take(.name("or")) {
            try link()
            left = .or(left, try both())
        }
        return left
    }

    private mutating func both() throws(Failure) -> Expression {
        var left = try negation()
        while take(.name("and")) {
            try link()
            left = .and(left, try negation())
        }
        return left
    }

    private mutating func negation() throws(Failure) -> Expression {
        guard take(.name("not")) else { return try comparison() }
        try enter()
        defer { depth -= 1 }
        return .not(try negation())
    }

    private mutating func comparison() throws(Failure) -> Expression {
        let left = try sum()
        var result: Expression?
        var previous = left
        while true {
            var symbol: String?
            var isNegated = false
            if case .symbol(let found) = next, ["==", "!=", "<", "<=", ">", ">="].contains(found) {
                symbol = found
            } else if next == .name("in") {
                symbol = "in"
            } else if next == .name("not"), tokens[min(place + 1, tokens.count - 1)] == .name("in") {
                advance()
                (symbol, isNegated) = ("in", true)
            }
            guard let symbol else { return result ?? left }
            // A chain compares neighbours.
            guard result == nil else { throw .unsupported("a chain of comparisons") }
            advance()
            let right = try sum()
            let one = Expression.binary(symbol, previous, right)
            result = isNegated ? .not(one) : one
            previous = right
        }
    }

    private mutating func sum() throws(Failure) -> Expression {
        var left = try concatenation()
        while case .symbol(let symbol) = next, symbol == "+" || symbol == "-" {
            advance()
            try link()
            left = .binary(symbol, left, try concatenation())
        }
        return left
    }

    private mutating func concatenation() throws(Failure) -> Expression {
        var left = try product()
        while take(.symbol("~")) {
            try link()
            left = .binary("~", left, try product())
        }
        return left
    }

    private mutating func product() throws(Failure) -> Expression {
        var left = try unary()
        while case .symbol(let symbol) = next, ["*", "//", "%"].contains(symbol) {
            advance()
            try link()
            left = .binary(symbol, left, try unary())
        }
        return left
    }

    private mutating func unary() throws(Failure) -> Expression {
        if take(.symbol("-")) {
            try enter()
            defer { depth -= 1 }
            return .negative(try unary())
        }
        return try filtered(postfix(try primary()))
    }

    private mutating func primary() throws(Failure) -> Expression {
        let token = next
        advance()
        switch token {
        case .string(var text):
            while case .string(let more) = next {
                text += more
                advance()
            }
            return .literal(.string(text))
        case .integer(let number): return .literal(.integer(number))
        case .name("true"), .name("True"): return .literal(.bool(true))
        case .name("false"), .name("False"): return .literal(.bool(false))
        case .name("none"), .name("None"): return .literal(.none)
        case .name(let name): return .name(name)
        case .symbol("("):
            let value = try expression()
            guard next == .symbol(")") else { throw .unsupported("a tuple") }
            advance()
            return value
        case .symbol("["):
            var values: [Expression] = []
            while next != .symbol("]") {
                values.append(try expression())
                guard take(.symbol(",")) else { break }
            }
            try expect(.symbol("]"))
            return .list(values)
        case .symbol("{"):
            var members: [(key: Expression, value: Expression)] = []
            while next != .symbol("}") {
                let key = try expression()
                try expect(.symbol(":"))
                members.append((key, try expression()))
                guard take(.symbol(",")) else { break }
            }
            try expect(.symbol("}"))
            return .dictionary(members)
        default: throw .unsupported("\(token) in an expression")
        }
    }

    private mutating func postfix(_ value: Expression) throws(Failure) -> Expression {
        var value = value
        while true {
            if [.symbol("."), .symbol("["), .symbol("(")].contains(next) { try link() }
            if take(.symbol(".")) {
                value = .member(value, .literal(.string(try name())))
            } else if take(.symbol("[")) {
                value = try subscripted(value)
            } else if take(.symbol("(")) {
                value = .call(value, try arguments())
            } else {
                return value
            }
        }
    }

    private mutating func subscripted(_ value: Expression) throws(Failure) -> Expression {
        var parts: [Expression?] = [nil]
        while next != .symbol("]") {
            if take(.symbol(":")) {
                parts.append(nil)
            } else {
                guard parts[parts.count - 1] == nil else { throw .unsupported("\(next) in an index") }
                parts[parts.count - 1] = try expression()
            }
        }
        advance()
        if parts.count == 1, let index = parts[0] { return .member(value, index) }
        guard (2...3).contains(parts.count) else { throw .unsupported("an empty index") }
        return .slice(value, start: parts[0], end: parts[1], step: parts.count == 3 ? parts[2] : nil)
    }

    /// Behind the opening parenthesis.
    private mutating func arguments() throws(Failure) -> [JinjaTemplate.Argument] {
        var result: [JinjaTemplate.Argument] = []
        while next != .symbol(")") {
            var label: String?
            if case .name(let name) = next, tokens[min(place + 1, tokens.count - 1)] == .symbol("=") {
                label = name
                advance()
                advance()
            }
            result.append(JinjaTemplate.Argument(name: label, value: try expression()))
            guard take(.symbol(",")) else { break }
        }
        try expect(.symbol(")"))
        return result
    }

    /// Filters and tests, which bind closer than operators.
    private mutating func filtered(_ value: Expression) throws(Failure) -> Expression {
        var value = value
        while true {
            if next == .symbol("|") || next == .name("is") { try link() }
            if take(.symbol("|")) {
                let filter = try name()
                value = .filter(value, filter, take(.symbol("(")) ? try arguments() : [])
                value = try postfix(value)
            } else if take(.name("is")) {
                let isNegated = take(.name("not"))
                let test = try name()
                var given: [JinjaTemplate.Argument] = []
                if take(.symbol("(")) {
                    given = try arguments()
                } else if ["equalto", "eq", "in", "divisibleby"].contains(test) {
                    given = [JinjaTemplate.Argument(name: nil, value: try primary())]
                }
                value = .test(value, test, given, negated: isNegated)
            } else {
                return value
            }
        }
    }
}
