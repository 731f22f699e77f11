package import Tokenization

/// An answer's format, ready to be held to: its grammar, and the vocabulary that answers are written in.
package struct CompiledFormat: Sendable {
    /// Choices and bytes of all of them.
    private static let mostChoices = 4096
    private static let longestChoices = 1 << 16

    let grammar: Grammar
    /// Memory that it takes, about.
    package var bytes: Int { 128 * grammar.nodes.count }
    let trie: TokenTrie
    /// Fewest tokens of an answer, apart from one that ends it.
    package let shortestAnswer: Int

    /// Takes milliseconds for a usual schema, and a bounded time for any other one.
    /// - Throws: `StructuredOutputError`.
    package init(_ format: AnswerFormat, _ trie: TokenTrie) throws(StructuredOutputError) {
        grammar = try Self.grammar(format)
        self.trie = trie
        let table = ConfigurationTable(grammar)
        let start = table.start
        guard let plan = trie.fewestTokens(for: table.shortestCompletion(of: start), atStart: true) else {
            throw .noToken
        }
        // An answer without text looks like one that failed.
        guard !plan.isEmpty || !table.isComplete(start) else { throw .unsatisfiable }
        shortestAnswer = plan.count
    }

    private static func grammar(_ format: AnswerFormat) throws(StructuredOutputError) -> Grammar {
        switch format {
        case .jsonObject: return try SchemaCompiler.anyObject()
        case .jsonSchema(let schema): return try SchemaCompiler.grammar(schema: schema)
        case .choice(let choices): return try grammar(choices)
        case .regularExpression(let pattern):
            let expression = try RegularExpression(parsing: pattern, matchesWhole: true)
            var builder = GrammarBuilder()
            let start = try ByteAutomaton(expression, .utf8).add(to: &builder, then: builder.end)
            return try builder.grammar(start: start)
        }
    }

    /// What can be said about a format without a model.
    static func check(_ format: AnswerFormat) throws(StructuredOutputError) { _ = try grammar(format) }

    private static func grammar(_ choices: [String]) throws(StructuredOutputError) -> Grammar {
        guard !choices.isEmpty else { throw .choices(reason: "the list is empty") }
        guard !choices.contains("") else { throw .choices(reason: "one of them is empty") }
        guard choices.count <= mostChoices else { throw .tooLarge(what: "choices", limit: mostChoices) }
        guard choices.reduce(0, { $0 + $1.utf8.count }) <= longestChoices else {
            throw .tooLarge(what: "bytes in choices", limit: longestChoices)
        }
        var builder = GrammarBuilder()
        var places: [Int] = []
        for choice in choices { places.append(try builder.text(choice, then: builder.end)) }
        let start = try builder.split(places)
        return try builder.grammar(start: start)
    }
}

extension TokenTrie {
    /// The fewest tokens that write these bytes.
    /// - Parameters:
    ///   - atStart: whether the text begins with them, where decoding may take spaces away
    ///   - excluded: tokens that may not be used
    /// - Returns: nil where tokens for some of the bytes are missing.
    func fewestTokens(
        for text: [UInt8], atStart: Bool, excluding excluded: Set<Int> = []
    ) -> [Int]? {
        var text = text
        if atStart, text.first == 0x20 { text = Array(repeating: 0x20, count: strippedSpaces) + text }
        // From each place on: how many, and which comes first.
        var best: [(count: Int, token: Int, length: Int)?] = Array(repeating: nil, count: text.count + 1)
        best[text.count] = (0, 0, 0)
        for first in text.indices.reversed() {
            var (node, place): (Int?, Int) = (nil, first)
            while place < text.count, let next = child(of: node, text[place]) {
                (node, place) = (next, place + 1)
                guard let rest = best[place], rest.count + 1 < best[first]?.count ?? .max,
                    let token = tokens(at: next).first(where: { !excluded.contains(Int($0)) })
                else { continue }
                best[first] = (rest.count + 1, Int(token), place - first)
            }
        }
        var (result, place): ([Int], Int) = ([], 0)
        while place < text.count {
            guard let step = best[place] else { return nil }
            result.append(step.token)
            place += step.length
        }
        return result
    }
}
