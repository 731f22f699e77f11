/// The pre-tokenisation patterns this library knows, as configurations of one hand-written scanner.
///
/// All have the shape `contractions | word | number | other | white space`; a regular expression engine is
/// not needed, and the scan is linear in the length of the text.
struct SplitPattern: Sendable, Equatable {
    /// Longest run of numbers in one piece: 1 for Qwen2, 3 for Llama 3, unbounded for GPT-2.
    var longestNumber: Int
    /// Qwen2 and Llama 3 ignore case in contractions, let a word take any one leading scalar that is no
    /// letter, number or line break, let punctuation take the line breaks after it, and cut white space after
    /// line breaks. GPT-2 does none of this; there a word, number or punctuation takes one leading space.
    var isModern: Bool

    /// Qwen2, Qwen2.5.
    static let qwen2 = SplitPattern(longestNumber: 1, isModern: true)
    /// Llama 3, cl100k.
    static let llama3 = SplitPattern(longestNumber: 3, isModern: true)
    /// GPT-2, and `ByteLevel` pre-tokenizers with `use_regex`.
    static let gpt2 = SplitPattern(longestNumber: .max, isModern: false)

    /// The regular expression as tokenizer.json files write it.
    var regex: String {
        guard isModern else {
            return #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
        }
        let number = longestNumber == 1 ? #"\p{N}"# : #"\p{N}{1,\#(longestNumber)}"#
        return #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + number
            + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    }

    /// The pattern whose regular expression is `regex`, or nil.
    init?(regex: String) {
        let known = [Self.qwen2, .llama3, .gpt2]
        // Scalars, not characters: string equality would accept canonically equivalent text.
        guard let pattern = known.first(where: { $0.regex.utf8.elementsEqual(regex.utf8) }) else {
            return nil
        }
        self = pattern
    }

    private init(longestNumber: Int, isModern: Bool) {
        self.longestNumber = longestNumber
        self.isModern = isModern
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
        position =
            contraction(first) ?? word(first) ?? number(first) ?? other(first)
            ?? whiteSpace(from: start)
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
        while pattern.isModern, let next = step(end), next.isLineBreak { end = next.end }
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
