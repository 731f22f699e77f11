internal import StructuredOutput
internal import Synchronization
internal import Tokenization

/// Compiles formats of answers for one model, and remembers the last ones: requests come in series.
final class FormatCompiler: Sendable {
    private static let mostRemembered = 16
    /// Larger ones are not remembered.
    private static let largestRemembered = 1 << 20

    private let tokenizer: Tokenizer
    private let vocabulary: Int
    private let state = Mutex(State())

    private struct State {
        /// Made with the first format: many programs never ask for one.
        var trie: TokenTrie?
        /// In the order of their last use.
        var remembered: [(format: AnswerFormat, compiled: CompiledFormat)] = []

        mutating func recall(_ format: AnswerFormat) -> CompiledFormat? {
            guard let place = remembered.firstIndex(where: { $0.format == format }) else { return nil }
            let entry = remembered.remove(at: place)
            remembered.append(entry)
            return entry.compiled
        }
    }

    /// - Parameter vocabulary: ids below it are tokens of the model
    init(_ tokenizer: Tokenizer, vocabulary: Int) {
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
    }

    /// Takes milliseconds, and for the first format some tenths of a second.
    /// - Throws: `StructuredOutputError`.
    func compile(_ format: AnswerFormat) throws -> CompiledFormat {
        if let compiled = state.withLock({ $0.recall(format) }) { return compiled }
        let trie = state.withLock { state in
            let trie = state.trie ?? TokenTrie(tokenizer, below: vocabulary)
            state.trie = trie
            return trie
        }
        let compiled = try CompiledFormat(format, trie)
        if compiled.bytes <= Self.largestRemembered {
            state.withLock { state in
                // Another request may have compiled it meanwhile.
                guard state.recall(format) == nil else { return }
                state.remembered.append((format, compiled))
                if state.remembered.count > Self.mostRemembered { state.remembered.removeFirst() }
            }
        }
        return compiled
    }
}

extension AnswerFormat {
    /// Of what its caller gives.
    var textBytes: Int {
        switch self {
        case .jsonObject: 0
        case .jsonSchema(let text), .regularExpression(let text): text.utf8.count
        case .choice(let choices): choices.reduce(0) { $0 + $1.utf8.count }
        }
    }
}
