import Foundation

/// Random numbers of a test, the same in every run: they begin with the name of the test that makes the generator.
///
/// `make test-random` runs the tests with other numbers: it sets the environment variable `FASTVLM_TEST_SEED` to a
/// number that it prints, and `make test-random SEED=<number>` repeats such a run. Tests use no other source of
/// random numbers; `make lint` looks for them.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    /// What the numbers of all tests of this run begin with. Failure messages may name it.
    public static let runSeed: UInt64 = {
        let text = ProcessInfo.processInfo.environment["FASTVLM_TEST_SEED"] ?? ""
        guard let seed = UInt64(text) else { return 1 }
        FileHandle.standardError.write(
            Data("random numbers of tests: seed \(seed), repeat with make test-random SEED=\(seed)\n".utf8))
        return seed
    }()

    private var state: UInt64

    /// - Parameter place: tells apart generators of one test that must give different numbers.
    public init(_ place: String = "", fileID: String = #fileID, function: String = #function) {
        self.init(runSeed: Self.runSeed, place: "\(fileID) \(function) \(place)")
    }

    /// The numbers of a place in a run with another seed.
    public init(runSeed: UInt64, place: String) {
        // FNV-1a: the standard library's hash differs from process to process.
        state = place.utf8.reduce(0xCBF2_9CE4_8422_2325 ^ runSeed &* 0x9E37_79B9_7F4A_7C15) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01B3
        }
    }

    /// SplitMix64.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
