import Foundation
import Generation

/// Times how long a token takes to choose, which comes on top of every decoding step.
struct SamplingBench {
    let vocabulary: Int
    let repeats: Int

    /// A way of sampling, at temperature 1 but for the first.
    static let ways: [(name: String, options: SamplingOptions)] = [
        ("greedy", way { $0.temperature = 0 }), ("whole vocabulary", way { _ in }),
        ("top-k 50", way { $0.topK = 50 }),
        ("top-p 0.9", way { $0.topP = 0.9 }),
        (
            "top-k 50, top-p 0.9",
            way {
                $0.topK = 50
                $0.topP = 0.9
            }
        ),
    ]

    private static func way(_ change: (inout SamplingOptions) -> Void) -> SamplingOptions {
        var options = SamplingOptions()
        options.temperature = 1
        options.seed = 1
        change(&options)
        return options
    }

    /// Seconds of each repeat. The scores are spread like a language model's: a normal distribution of deviation 3, so
    /// that most tokens are far below the best but not without mass.
    func seconds(_ options: SamplingOptions) throws -> [Double] {
        var state: UInt64 = 1
        let scores = (0..<vocabulary).map { _ in
            (0..<12).reduce(Float(-18)) { sum, _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return sum + Float(state >> 40) * 0x3p-24
            }
        }
        var sampler = try Sampler(options, history: [Int]())
        let clock = ContinuousClock()
        return try (0..<repeats).map { _ in
            var copy = scores
            let start = clock.now
            let token = copy.withUnsafeMutableBufferPointer { sampler.next($0) }
            let duration = clock.now - start
            guard token != nil else { throw CancellationError() }
            return duration / .seconds(1)
        }
    }
}
