import Foundation
import TestSupport
import Testing

/// What the flags of a request change, seen from outside.
@Suite("Flags of the command line")
struct CommandLineFlagTests {
    private func describe(_ arguments: [String]) throws -> Outcome {
        let base = [
            "describe", "--model", Program.model, "--precision", "float32", "--json", "--max-tokens", "8",
        ]
        let outcome = try Program.run(base + arguments)
        #expect(outcome.status == 0, "\(outcome.errors)")
        return outcome
    }

    private func tokens(_ arguments: [String]) throws -> [Int] {
        try #require(
            try describe([Program.image, "What is this?"] + arguments).object()["token_ids"] as? [Int])
    }

    /// The features file that `encode` writes.
    private func features(_ image: URL, _ arguments: [String] = []) throws -> Data {
        let file = image.deletingLastPathComponent().appending(path: "\(UUID()).safetensors")
        let outcome = try Program.run(
            ["encode", image.path, "--model", Program.model, "-o", file.path] + arguments)
        #expect(outcome.status == 0, "\(outcome.errors)")
        return try Data(contentsOf: file)
    }

    @Test("--ignore-orientation reads a rotated photograph as it is stored")
    func ignoreOrientation() throws {
        let plain = try Self.photograph()
        // An EXIF segment with orientation 3, half a turn, after the two bytes that begin a JPEG.
        let tiff: [UInt8] = [
            0x4D, 0x4D, 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0,
        ]
        let segment: [UInt8] =
            [0xFF, 0xE1, 0, UInt8(2 + 6 + tiff.count)] + Array("Exif".utf8) + [0, 0] + tiff
        try Program.inFolder { folder in
            let (stored, turned) = (
                folder.appending(path: "stored.jpg"), folder.appending(path: "turned.jpg")
            )
            try plain.write(to: stored)
            try (plain.prefix(2) + segment + plain.dropFirst(2)).write(to: turned)
            let expected = try features(stored)
            #expect(try features(turned, ["--ignore-orientation"]) == expected)
            #expect(try features(turned) != expected)
        }
    }

    @Test("--geometry replaces the checkpoint's way to a square")
    func geometry() throws {
        try Program.inFolder { folder in
            let wide = folder.appending(path: "wide.ppm")
            let (width, height) = (60, 33)
            let pixels = (0..<width * height * 3).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
            try (Data("P6 \(width) \(height) 255\n".utf8) + pixels).write(to: wide)
            let (chosen, crop, pad) = (
                try features(wide), try features(wide, ["--geometry", "crop"]),
                try features(wide, ["--geometry", "pad"])
            )
            #expect(chosen == crop)  // Hugging Face layout
            #expect(crop != pad)
        }
    }

    @Test("--template and --system change the prompt by what they say")
    func prompts() throws {
        let text = ["--prompt", "Hello"]
        let count = { (arguments: [String]) in try describe(text + arguments).usage("prompt_tokens") }
        let usual = try count([])
        #expect(try count(["--template", "plain"]) < usual)
        let lengths = try ["x", "a much longer system prompt than the other one"].map { system in
            let ids = try Program.run(["tokenize", system, "--model", Program.model, "--json"]).object()[
                "token_ids"]
            return (try #require(ids as? [Int]).count, try count(["--system", system]))
        }
        #expect(lengths[1].1 - lengths[0].1 == lengths[1].0 - lengths[0].0)
        let unknown = try Program.run(["describe", "--model", Program.model, "--template", "none"] + text)
        #expect(unknown.status == 64 || unknown.status == 69)
        #expect(unknown.errors.contains("none") && unknown.output.isEmpty)
    }

    @Test("--stop ends the answer before the text, --stop-id before the token")
    func stops() throws {
        let whole = try #require(try describe([Program.image, "What?"]).object()["text"] as? String)
        let characters = Array(whole)
        try #require(characters.count > 4)
        let stop = String(characters[2...3])
        let stopped = try describe([Program.image, "What?", "--stop", stop]).object()
        let text = try #require(stopped["text"] as? String)
        #expect(whole.hasPrefix(text) && !text.contains(stop))
        #expect(stopped["finish_reason"] as? String == "stop")
        let ids = try tokens([])
        let end = try #require(ids.firstIndex { $0 != ids[0] })
        let shortened = try tokens(["--stop-id", String(ids[end])])
        #expect(Array(shortened.prefix(end)) == Array(ids.prefix(end)) && shortened.count <= end + 1)
    }

    @Test("--seed makes sampling reproducible, and another seed gives another answer")
    func seeds() throws {
        let sampled = { (seed: Int) in try tokens(["--temperature", "2", "--seed", String(seed)]) }
        let first = try sampled(1)
        #expect(try sampled(1) == first)
        #expect(try (2...5).contains { try sampled($0) != first })
    }

    @Test("chat: /image brings a new image, /reset forgets, unknown words are named")
    func chatCommands() throws {
        let other = Fixture.url("models/images/image-1.png").path
        let lines = [
            "What is this?", "/jump", "/image \(other)", "And this?", "/reset",
            "Who are you?", "/reset", "/image \(Program.image)", "What is this?",
        ]
        let outcome = try Program.run(
            ["chat", Program.image, "--model", Program.model, "--max-tokens", "4", "--json"],
            input: Data(lines.joined(separator: "\n").utf8))
        #expect(outcome.status == 0)
        #expect(outcome.text.split(separator: "\n").count == 4)
        #expect(try outcome.usage("image_tokens", line: 0) == 9)
        #expect(try outcome.usage("cached_tokens", line: 0) == 0)
        #expect(try outcome.usage("image_tokens", line: 1) == 9)
        #expect(try outcome.usage("cached_tokens", line: 1) > 9)
        #expect(try outcome.usage("image_tokens", line: 2) == 0)
        #expect(try outcome.usage("cached_tokens", line: 2) == 0)
        #expect(try outcome.usage("image_tokens", line: 3) == 9)
        #expect(try outcome.usage("cached_tokens", line: 3) == 0)
        // The answer is that of a new program.
        let alone = try Program.run(
            ["chat", "--model", Program.model, "--max-tokens", "4", "--json"],
            input: Data("Who are you?".utf8))
        let ids = try #require(try alone.object()["token_ids"] as? [Int])
        #expect(try outcome.object(2)["token_ids"] as? [Int] == ids)
        #expect(outcome.errors.contains("/jump"))
    }

    @Test(
        "No command gives one letter to two flags",
        arguments: ["describe", "chat", "encode", "bench", "quantize"])
    func letters(command: String) throws {
        let help = try Program.run([command, "--help"]).text
        let letters = help.split(separator: "\n").compactMap { line in
            line.wholeMatch(of: #/  -([a-zA-Z]), --.*/#).map { String($0.1) }
        }
        #expect(letters.contains("h") && letters.count == Set(letters).count, "\(letters)")
    }

    /// The bytes of a JPEG.
    private static func photograph() throws -> Data {
        struct File: Decodable {
            let name: String
            let file: Data
        }
        let files = try JSONDecoder().decode([File].self, from: Fixture.data("images/decode.json"))
        return try #require(files.first { $0.name == "jpeg-444" }).file
    }

    @Test("a number below 0 needs no '=' to be told its range")
    func negativeNumbers() throws {
        let describe = ["describe", "--model", Program.model, Program.image, "What?"]
        for (arguments, option, reason) in [
            (describe, "--temperature", "temperature must be 0 or a positive"),
            (describe, "--top-p", "top"), (describe, "--min-p", "min"),
            (describe, "--repetition-penalty", "repetition penalty"), (describe, "--top-k", "top"),
            (describe, "-n", "max tokens must be at least 1"),
            (describe + ["--json"], "--logprobs", "20"), (describe, "-t", "between 1 and 512"),
            (describe, "--max-side", "between 1 and"), (describe, "--fetch-seconds", "between 1 and"),
            (describe, "--seed", "'-1' is invalid"), (["info"], "--threads", "between 1 and 512"),
            (["bench"], "--repeats", "between 1 and"), (["bench"], "--warm-up", "between 0 and"),
        ] {
            let outcome = try Program.run(arguments + [option, "-1"])
            #expect(outcome.status == 64, "\(option): \(outcome.status)")
            #expect(
                outcome.errors.contains(reason) && !outcome.errors.contains("Missing"),
                "\(option): \(outcome.errors)")
        }
        for penalty in ["frequency", "presence"] {
            let outcome = try Program.run(describe + ["--\(penalty)-penalty", "-2.5"])
            #expect(outcome.status == 64)
            #expect(outcome.errors.contains("\(penalty) penalty must be between -2 and 2"))
        }
    }
}
