import Foundation
import TestSupport
import Testing

@testable import Tokenization

struct ScalarClassTests {
    @Test("scalar classes are those of Unicode 16, whatever Unicode the runtime has")
    func unicode16() {
        let classes = ScalarProperties.shared
        var different: [String] = []
        for value in UInt32(0)..<0x110000 {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let properties = scalar.properties
            guard let age = properties.age, age.major <= 16 else {
                if classes.scalarClass(value) != .other { different.append(String(value, radix: 16)) }
                continue
            }
            let expected: ScalarClass =
                switch properties.generalCategory {
                case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
                    .letter
                case .decimalNumber, .letterNumber, .otherNumber: .number
                default: properties.isWhitespace ? .space : .other
                }
            if classes.scalarClass(value) != expected { different.append(String(value, radix: 16)) }
        }
        #expect(different.isEmpty, "\(different.count): \(different.prefix(20))")
    }
}

struct CanonicalCompositionTests {
    static func normalized(_ text: String) -> [UInt32] {
        Array(text.utf8).withUnsafeBufferPointer { bytes in
            scalars(String(decoding: CanonicalComposition.normalize(bytes), as: UTF8.self))
        }
    }

    static func isUnchanged(_ text: String) -> Bool {
        !Array(text.utf8).withUnsafeBufferPointer { CanonicalComposition.mayChange($0, properties: .shared) }
    }

    @Test("each scalar normalises as Foundation does, and is left alone only when it may be")
    func everyScalar() {
        var different: [String] = []
        for value in UInt32(0)..<0x30000 {
            // Beyond Unicode 9 the combining classes of `tokenizers` end; U+11938 composes since Unicode 13.
            guard let scalar = Unicode.Scalar(value), let age = scalar.properties.age, age.major <= 9 else {
                continue
            }
            let text = String(scalar)
            let expected = scalars(text.precomposedStringWithCanonicalMapping)
            if Self.normalized(text) != expected { different.append(String(value, radix: 16)) }
            if Self.isUnchanged(text), expected != [value] {
                different.append("quick \(String(value, radix: 16))")
            }
        }
        #expect(different.isEmpty, "\(different.count): \(different.prefix(20))")
    }

    @Test("Hangul syllables with a trailing consonant stay whole between marks")
    func hangul() {
        #expect(Self.normalized("\u{AC01}\u{308}e\u{301}") == [0xAC01, 0x308, 0xE9])
        #expect(Self.normalized("\u{AC00}\u{11A8}\u{11A8}") == [0xAC01, 0x11A8])
    }

    @Test("strings of marks and letters normalise as Foundation does, with the quick check agreeing")
    func randomStrings() {
        var generator = SeededGenerator()
        let marks =
            (0x300...0x345).compactMap { Unicode.Scalar($0) } + ["\u{5B0}", "\u{93C}", "\u{94D}", "\u{3099}"]
        let bases: [Unicode.Scalar] =
            ["a", "e", "o", "U", "s", "\u{E4}", "\u{1EA1}", "\u{1100}", "\u{1161}"]
            + ["\u{AC00}", "\u{304B}", "\u{9C7}", "\u{9BE}", "\u{9D7}", "\u{2126}", "\u{212B}", "\u{958}"]
        // No trailing Hangul consonants: Foundation on Linux takes U+AC01 apart and not together again.
        for _ in 0..<4_000 {
            var text = String.UnicodeScalarView()
            for _ in 0..<Int.random(in: 1...9, using: &generator) {
                let pool = Bool.random(using: &generator) ? marks : bases
                if let scalar = pool.randomElement(using: &generator) { text.append(scalar) }
            }
            let string = String(text)
            let expected = scalars(string.precomposedStringWithCanonicalMapping)
            #expect(Self.normalized(string) == expected, "\(scalars(string).map { String($0, radix: 16) })")
            if Self.isUnchanged(string) { #expect(expected == scalars(string)) }
        }
    }
}
