import ArgumentParser
import Benchmarking
import Checkpoints
import FastVLM
import Foundation
import Tensors

/// The scores of ids that another program gives: what comparisons with references drive (Evaluation/verify_real.py).
/// Not shown in the help: for a text, `model.score` and its command are the thing.
struct Logits: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write the scores of token ids.",
        discussion: """
            Says on stdout, as a line of JSON, the rows of the vocabulary, then answers each line of stdin. {"ids": [1, 2]} \
            is a text: the scores after each of its ids follow as float32 numbers, little-endian, row by row. \
            {"ids": [1, 2], "tokens": 16} is a prompt: a line {"ids": […]} with the likeliest tokens after it follows.
            """,
        shouldDisplay: false)

    @OptionGroup var from: SourceOptions

    @Option(help: "float32, bfloat16, int8 or int4.")
    var precision = "bfloat16"

    @Option(
        name: .shortAndLong, parsing: .unconditional, help: "Worker threads (default: see `fastvlm info`).")
    var threads: Int?

    private struct Ready: Encodable {
        var vocabulary: Int
        var threads: Int
        var instructionSet: String
    }

    private struct Job: Decodable {
        var ids: [Int]
        var tokens: Int?
    }

    private struct Reply: Encodable {
        var ids: [Int]
    }

    func validate() throws {
        try check("--threads", threads ?? 1, in: LoadOptions.possibleThreads)
        _ = try parsedPrecision()
    }

    func run() async throws {
        try await running {
            try await offTaskThreads { cancellation in try answer(cancellation) }
        }
    }

    private func parsedPrecision() throws -> Precision {
        guard let value = Precision(rawValue: precision) else {
            throw ValidationError("--precision: there is no '\(precision)'.")
        }
        return value
    }

    private func answer(_ cancellation: Cancellation) throws {
        let compute: Compute
        let subject: BenchSubject
        let bench: Workbench
        do {
            compute = try Compute(threads: threads)
            subject = try BenchSubject(synthetic: nil, source: from.source())
            bench = try subject.loaded(parsedPrecision(), compute)
        } catch let error as FastVLMError {
            throw error
        } catch let error as CommandFailure {
            throw error
        } catch {
            throw CommandFailure(.model, "\(error)")
        }
        let vocabulary = subject.configuration.text.vocabularySize
        try Terminal.json(
            Ready(
                vocabulary: vocabulary, threads: compute.threads,
                instructionSet: compute.instructionSet.rawValue))
        while let line = Terminal.line() {
            try cancellation.check()
            let job = try Self.job(line, vocabulary: vocabulary, subject)
            if let tokens = job.tokens {
                try Terminal.json(Reply(ids: bench.greedy(job.ids, tokens: tokens)))
            } else {
                try bench.logits(job.ids) { logits in
                    for row in 0..<logits.rows {
                        try Terminal.answer(UnsafeRawBufferPointer(logits.row(row)))
                    }
                }
            }
        }
    }

    private static func job(_ line: String, vocabulary: Int, _ subject: BenchSubject) throws -> Job {
        guard let job = try? JSONDecoder().decode(Job.self, from: Data(line.utf8)) else {
            throw CommandFailure(.usage, "a line of stdin is no object with \"ids\": '\(line.prefix(80))'")
        }
        guard !job.ids.isEmpty, job.ids.allSatisfy({ (0..<vocabulary).contains($0) }) else {
            throw CommandFailure(.usage, "ids must be from 0 to \(vocabulary - 1), and at least one")
        }
        guard (1...100_000).contains(job.tokens ?? 1) else {
            throw CommandFailure(.usage, "tokens must be from 1 to 100000, got \(job.tokens ?? 0)")
        }
        do {
            try subject.checkLength(job.ids.count + (job.tokens ?? 0), "ids and new tokens")
        } catch {
            throw CommandFailure(.usage, "\(error)")
        }
        return job
    }
}
