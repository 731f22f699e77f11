import ArgumentParser
import Benchmarking
import Foundation
import Tensors

/// Which single item a driver asks for.
struct RoundOptions: ParsableArguments {
    enum Kind: String, ExpressibleByArgument, CaseIterable { case encoder, prefill, decode, peak }

    @Option(help: "encoder, prefill, decode, or peak for the machine's ceilings.")
    var item = Kind.encoder

    @Option(parsing: .unconditional, help: "Image side, for the encoder.")
    var resolution = 1024

    @Option(parsing: .unconditional, help: "Prompt length, for prefill.")
    var positions = 286

    @Option(parsing: .unconditional, help: "Positions before the first token, for decode.")
    var context = 286

    @Option(help: "float32, bfloat16, int8 or int4.")
    var precision = Precision.bfloat16

    func validate() throws {
        try check("--resolution", resolution, in: 64...4096)
        try check("--positions", positions, in: 1...8192)
        try check("--context", context, in: 1...8192)
        guard resolution.isMultiple(of: 64) else {
            throw ValidationError("--resolution must be a multiple of 64, got \(resolution).")
        }
    }
}

/// Loads once, says so, then runs the item once per line of stdin: a process that others can be measured in turns
/// with. Between lines it sleeps.
struct Rounds: Sendable {
    let options: RoundOptions
    let bench: Bench

    private struct Ready: Encodable {
        var peer = "fastvlm"
        var version = FastVLMCommand.configuration.version
        var item: String
        var precision: Precision
        var threads: Int
        var ready = true
        var settings: [String: String]
    }

    private struct Round: Encodable {
        var seconds: Double
        var tokens: Int?
        var tokensPerSecond: Double?
        /// Giga-operations per second, and gigabytes per second for `memoryRead`.
        var peaks: [String: Double]?
    }

    func run() throws {
        let compute = try bench.makeCompute()
        let work = try prepared(compute)
        for _ in 0..<bench.warmUp where options.item != .peak { _ = try work() }
        try line(
            Ready(
                item: options.item.rawValue, precision: options.precision, threads: compute.threads,
                settings: ["instructionSet": compute.instructionSet.rawValue]))
        while Terminal.line() != nil {
            try Task.checkCancellation()
            try line(work())
        }
    }

    private func prepared(_ compute: Compute) throws -> () throws -> Round {
        let precision = options.precision
        guard options.item != .peak else {
            return {
                let start = ContinuousClock.now
                let ceilings = try Ceilings(compute)
                var peaks = ["memoryRead": ceilings.bytes / 1e9]
                for (arithmetic, rate) in ceilings.operations { peaks[arithmetic.rawValue] = rate / 1e9 }
                return Round(seconds: (ContinuousClock.now - start) / .seconds(1), peaks: peaks)
            }
        }
        let subject = try bench.subject(orElse: .half)
        let tokens = bench.tokens
        switch options.item {
        case .prefill: try subject.checkLength(options.positions, "--positions")
        case .decode:
            try subject.checkLength(options.context + tokens, "--context and \(tokens) new tokens")
        case .encoder, .peak: break
        }
        let workbench = try bench.load(subject, precision, compute)
        let item: Workbench.Item =
            switch options.item {
            case .prefill: .prefill(positions: options.positions)
            case .decode: .decode(context: options.context, tokens: tokens)
            case .encoder, .peak: .encoder(side: options.resolution)
            }
        let isDecoding = options.item == .decode
        return {
            let seconds = try workbench.run(item) / .seconds(1)
            return Round(
                seconds: seconds, tokens: isDecoding ? tokens : nil,
                tokensPerSecond: isDecoding ? Double(tokens) / seconds : nil)
        }
    }

    /// Keys as they are, unlike everywhere else: the drivers and the peers agreed on them.
    private func line(_ value: some Encodable) throws {
        try Terminal.answer(String(decoding: JSONEncoder().encode(value), as: UTF8.self), terminator: "\n")
    }
}
