import Foundation
import Generation
import TestSupport
import Testing

@Suite("Stop strings")
struct StopMatcherTests {
    /// Feeds `pieces` and returns all that was shown, and whether a stop ended it.
    private func shown(_ pieces: [String], stops: [String]) throws -> (String, Bool) {
        var matcher = try StopMatcher(stops)
        var text = ""
        for piece in pieces {
            let (part, stopped) = matcher.append(piece)
            text += part
            if stopped { return (text, true) }
        }
        return (text + matcher.finish(), false)
    }

    @Test("A stop string split over pieces is found and never shown")
    func split() throws {
        #expect(try shown(["Hello ", "S", "TO", "P world"], stops: ["STOP"]) == ("Hello ", true))
    }

    @Test("A beginning that does not become a stop string is shown after all")
    func falseStart() throws {
        #expect(try shown(["a ST", "OR", "e"], stops: ["STOP"]) == ("a STORe", false))
        #expect(try shown(["ends with STO"], stops: ["STOP"]) == ("ends with STO", false))
    }

    @Test("The earliest of several stop strings wins")
    func earliest() throws {
        #expect(try shown(["one two three"], stops: ["three", "two"]) == ("one ", true))
    }

    @Test("Overlapping beginnings do not lose the stop string")
    func overlap() throws {
        #expect(try shown(["a", "a", "a", "b", "c"], stops: ["aab"]) == ("a", true))
    }

    @Test("Random pieces of random text give what a search of the whole text gives")
    func random() throws {
        var random = SeededGenerator()
        for _ in 0..<500 {
            let letters = (0..<40).map { _ in ["a", "b", "é", "👍"].randomElement(using: &random) ?? "a" }
            let stop = (0..<3).map { _ in ["a", "b", "é"].randomElement(using: &random) ?? "a" }.joined()
            let text = letters.joined()
            let expected = text.range(of: stop).map { String(text[..<$0.lowerBound]) } ?? text
            #expect(try shown(letters, stops: [stop]).0 == expected, "\(text) stop \(stop)")
        }
    }

    @Test("An empty stop string is refused")
    func empty() {
        #expect(throws: GenerationError.self) { try StopMatcher(["a", ""]) }
        // They are looked for after every token.
        #expect(throws: GenerationError.self) { try StopMatcher(Array(repeating: "a", count: 65)) }
        #expect(throws: GenerationError.self) { try StopMatcher([String(repeating: "a", count: 4097)]) }
        #expect(throws: Never.self) {
            try StopMatcher(Array(repeating: String(repeating: "a", count: 4096), count: 64))
        }
    }
}
