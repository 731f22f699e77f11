/// The pre-tokenisation patterns this library knows, as configurations of one hand-written scanner.
///
/// All have the shape `contractions | word | number | other | white space`; a regular expression engine is
/// not needed, and the scan is linear in the length of the text.
struct SplitPattern: Sendable, Equatable {
    /// What a word is.
    enum Words {
        /// GPT-2: letters; a word, number or punctuation takes one leading space.
        case spaced
        /// Qwen2, Llama 3: letters behind any one leading scalar that is no letter, number or line break.
        /// Contractions ignore case, punctuation takes the line breaks after it, and white space is cut after
        /// line breaks.
        case led
        /// Tekken, o200k: as `led`, but a word ends where capitals follow small letters, marks belong to it,
        /// and punctuation also takes slashes after it.
        case cased
    }

    var words: Words
    /// Longest run of numbers in one piece: 1 for Qwen2, 3 for Llama 3, unbounded for GPT-2.
    var longestNumber: Int
    /// A contraction stays with the word before it (o200k).
    var joinsContractions = false

    var isModern: Bool { words != .spaced }

    /// Qwen2, Qwen2.5, Qwen3.
    static let qwen2 = SplitPattern(words: .led, longestNumber: 1)
    /// Llama 3, SmolLM3, Phi-4, cl100k.
    static let llama3 = SplitPattern(words: .led, longestNumber: 3)
    /// GPT-2, Phi-1.5 and 2, and `ByteLevel` pre-tokenizers with `use_regex`.
    static let gpt2 = SplitPattern(words: .spaced, longestNumber: .max)
    /// Mistral's Tekken.
    static let tekken = SplitPattern(words: .cased, longestNumber: 1)
    /// o200k, Phi-4-mini.
    static let o200k = SplitPattern(words: .cased, longestNumber: 3, joinsContractions: true)

    static let all = [Self.qwen2, .llama3, .gpt2, .tekken, .o200k]

    /// The regular expression as tokenizer.json files write it.
    var regex: String {
        let number = longestNumber == 1 ? #"\p{N}"# : #"\p{N}{1,\#(longestNumber)}"#
        let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
        let space = #"|\s*[\r\n]+|\s+(?!\S)|\s+"#
        switch words {
        case .spaced:
            return #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
        case .led:
            return contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|"# + number
                + #"| ?[^\s\p{L}\p{N}]+[\r\n]*"# + space
        case .cased:
            let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
            let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
            let lead = #"[^\r\n\p{L}\p{N}]?"#
            let end = joinsContractions ? contractions + "?|" : "|"
            return lead + upper + "*" + lower + "+" + end + lead + upper + "+" + lower + "*" + end + number
                + #"| ?[^\s\p{L}\p{N}]+[\r\n/]*"# + space
        }
    }

    /// The pattern whose regular expression is `regex`, or nil.
    init?(regex: String) {
        // Scalars, not characters: string equality would accept canonically equivalent text.
        guard let pattern = Self.all.first(where: { $0.regex.utf8.elementsEqual(regex.utf8) }) else {
            return nil
        }
        self = pattern
    }

    private init(words: Words, longestNumber: Int, joinsContractions: Bool = false) {
        self.words = words
        self.longestNumber = longestNumber
        self.joinsContractions = joinsContractions
    }
}

/// Cuts valid UTF-8 into the pieces of a `SplitPattern`, one call of `next()` each.
struct SplitScanner {
    private let bytes: UnsafeBufferPointer<UInt8>
    private let pattern: SplitPattern
    private let properties: ScalarProperties
    private var position = 0

    /// - Parameter bytes: valid UTF-8 that outlives the scanner.
    init(_ bytes: UnsafeBufferPointer<UInt8>, pattern: SplitPattern, properties: ScalarProperties) {
        self.bytes = bytes
        self.pattern = pattern
        self.properties = properties
    }

    /// A scalar, its class and the position behind it.
    private struct Step {
        var value: UInt32
        var kind: ScalarClass
        var end: Int
        var isLineBreak: Bool { value == 0x0A || value == 0x0D }
    }

    @inline(__always)
    private func step(_ position: Int) -> Step? {
        guard position < bytes.count else { return nil }
        let scalar = DecodedScalar(bytes, at: position)
        return Step(
            value: scalar.value, kind: properties.scalarClass(scalar.value), end: position + scalar.length)
    }

    /// The end of the run of `kind` that starts at `position`, at most `limit` scalars long.
    @inline(__always)
    private func run(of kind: ScalarClass, from position: Int, limit: Int = .max) -> Int {
        var end = position
        var count = 0
        while count < limit, let next = step(end), next.kind == kind {
            end = next.end
            count += 1
        }
        return end
    }

    /// The next piece as a byte range, or nil at the end of the text.
    mutating func next() -> Range<Int>? {
        guard let first = step(position) else { return nil }
        let start = position
        if pattern.words == .cased {
            position =
                casedWord(first, from: start) ?? number(first) ?? other(first) ?? whiteSpace(from: start)
        } else {
            position =
                contraction(first) ?? word(first) ?? number(first) ?? other(first)
                ?? whiteSpace(from: start)
        }
        return start..<position
    }

    private func contraction(_ first: Step) -> Int? {
        guard first.value == 0x27, let second = step(first.end), let letter = folded(second.value) else {
            return nil
        }
        switch letter {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return second.end
        case UInt8(ascii: "r"), UInt8(ascii: "v"), UInt8(ascii: "l"):
            guard let third = step(second.end) else { return nil }
            let wanted = letter == UInt8(ascii: "l") ? UInt8(ascii: "l") : UInt8(ascii: "e")
            return folded(third.value) == wanted ? third.end : nil
        default: return nil
        }
    }

    /// The lower-case ASCII letter that a scalar matches: itself in GPT-2, by simple case folding otherwise
    /// (of the letters used only s has a partner outside ASCII, the long s).
    private func folded(_ value: UInt32) -> UInt8? {
        if value == 0x17F { return pattern.isModern ? UInt8(ascii: "s") : nil }
        guard value < 0x80 else { return nil }
        let byte = UInt8(value)
        let isUpper = byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")
        return isUpper && pattern.isModern ? byte | 0x20 : byte
    }

    private func word(_ first: Step) -> Int? {
        if first.kind == .letter { return run(of: .letter, from: first.end) }
        let mayLead =
            pattern.isModern ? first.kind != .number && !first.isLineBreak : first.value == 0x20
        guard mayLead, let second = step(first.end), second.kind == .letter else { return nil }
        return run(of: .letter, from: second.end)
    }

    /// `lead? upper* lower+` or else `lead? upper+ lower*`, where letters without case and marks are both.
    private func casedWord(_ first: Step, from start: Int) -> Int? {
        let mayLead = first.kind != .letter && first.kind != .number && !first.isLineBreak
        let end =
            (mayLead ? endingSmall(from: first.end) : nil) ?? endingSmall(from: start)
            ?? (mayLead ? capitals(from: first.end) : nil) ?? capitals(from: start)
        guard pattern.joinsContractions, let end, let apostrophe = step(end) else { return end }
        return contraction(apostrophe) ?? end
    }

    /// The end of `upper* lower+` from `start`: the capitals give back what the small letters need.
    private func endingSmall(from start: Int) -> Int? {
        var end = start
        var lastEither: Int?
        while let next = step(end) {
            let letterCase = properties.letterCase(next.value, next.kind)
            if letterCase == .lower { return run(from: end) { $0 == .lower || $0 == .either } }
            guard letterCase == .upper || letterCase == .either else { break }
            end = next.end
            if letterCase == .either { lastEither = end }
        }
        return lastEither
    }

    /// The end of `upper+`; small letters after it would have been found before.
    private func capitals(from start: Int) -> Int? {
        let end = run(from: start) { $0 == .upper || $0 == .either }
        return end > start ? end : nil
    }

    private func run(from start: Int, of belongs: (LetterCase) -> Bool) -> Int {
        var end = start
        while let next = step(end), belongs(properties.letterCase(next.value, next.kind)) { end = next.end }
        return end
    }

    private func number(_ first: Step) -> Int? {
        if first.kind == .number {
            return run(of: .number, from: first.end, limit: pattern.longestNumber - 1)
        }
        guard !pattern.isModern, first.value == 0x20, let second = step(first.end), second.kind == .number
        else {
            return nil
        }
        return run(of: .number, from: second.end)
    }

    private func other(_ first: Step) -> Int? {
        var end = first.end
        if first.kind == .space {
            guard first.value == 0x20, let second = step(end), second.kind == .other else { return nil }
            end = second.end
        }
        end = run(of: .other, from: end)
        let takesSlash = pattern.words == .cased
        while pattern.isModern, let next = step(end), next.isLineBreak || (takesSlash && next.value == 0x2F) {
            end = next.end
        }
        return end
    }

    /// `\s*[\r\n]+` (modern), else `\s+(?!\S)`, else `\s+`.
    private func whiteSpace(from start: Int) -> Int {
        var end = start
        var lastScalar = start
        var lineBreakEnd: Int?
        while let next = step(end), next.kind == .space {
            lastScalar = end
            end = next.end
            if next.isLineBreak { lineBreakEnd = end }
        }
        if pattern.isModern, let lineBreakEnd { return lineBreakEnd }
        // Before other text the last white space is left for what follows, unless it is all there is.
        return end == bytes.count || lastScalar == start ? end : lastScalar
    }
}
