/// A chat template in the part of Jinja that published chat templates use, to find out what it renders.
///
/// It is not a template engine for users: it renders a few probe conversations, of which the templates that this
/// library knows are recognised. Whatever it does not know is an error, never a guess; source, steps, nesting and
/// output are bounded. The settings are those of transformers: `trim_blocks` and `lstrip_blocks`.
struct JinjaTemplate {
    /// Why a template cannot be read or rendered.
    enum Failure: Error, Equatable {
        /// Outside of what is understood here.
        case unsupported(String)
        /// The template itself refuses the conversation with `raise_exception`.
        case raised(String)

        var reason: String {
            switch self {
            case .unsupported(let what): what.count > 200 ? "\(what.prefix(200))…" : what
            case .raised(let message): "it refuses the conversation: \(message.prefix(120))"
            }
        }
    }

    enum Limits {
        /// UTF-8 bytes of the source. The longest published ones take about 20,000.
        static let source = 256 << 10
        /// Statements and expressions evaluated in one rendering.
        static let steps = 200_000
        /// Nested statements and expressions, and lists and objects in each other.
        static let depth = 64
        /// Operators, filters, members and calls in one tag: a chain of them is a tree that is as deep as it is long.
        static let links = 512
        /// Letters of a name.
        static let name = 128
        /// Bytes rendered, and of any string made on the way; elements of any list.
        static let output = 256 << 10
    }

    let body: [Statement]

    init(_ source: String) throws(Failure) {
        guard source.utf8.count <= Limits.source else {
            throw .unsupported("it is longer than \(Limits.source >> 10) KiB")
        }
        var parser = JinjaParser(try JinjaLexer.tokens(of: source))
        body = try parser.template()
    }

    indirect enum Statement {
        case text(String)
        case output(Expression)
        case branch([(condition: Expression?, body: [Statement])])
        case loop(
            targets: [String], over: Expression, condition: Expression?, body: [Statement],
            otherwise: [Statement])
        case assign(target: [String], value: Expression)
        case capture(name: String, body: [Statement])
    }

    indirect enum Expression {
        case literal(JinjaValue)
        case name(String)
        case list([Expression])
        case dictionary([(key: Expression, value: Expression)])
        case member(Expression, Expression)
        case slice(Expression, start: Expression?, end: Expression?, step: Expression?)
        case call(Expression, [Argument])
        case filter(Expression, String, [Argument])
        case test(Expression, String, [Argument], negated: Bool)
        case not(Expression)
        case negative(Expression)
        case and(Expression, Expression)
        case or(Expression, Expression)
        case binary(String, Expression, Expression)
        case choice(condition: Expression, then: Expression, otherwise: Expression?)
    }

    struct Argument {
        var name: String?
        var value: Expression
    }
}

/// What an expression comes to.
enum JinjaValue {
    case undefined(String)
    case none
    case bool(Bool)
    case integer(Int)
    case string(String)
    case list([JinjaValue])
    case object([(key: String, value: JinjaValue)])
    /// The one kind of value that can be changed.
    case namespace(Int)

    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let value): value
        case .integer(let value): value != 0
        case .string(let value): !value.isEmpty
        case .list(let values): !values.isEmpty
        case .object(let members): !members.isEmpty
        case .namespace: true
        }
    }
}
