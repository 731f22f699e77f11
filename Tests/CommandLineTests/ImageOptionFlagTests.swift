import Foundation
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

@Suite("Image options of the program")
struct ImageOptionFlagTests {
    private struct Case: Decodable {
        let name: String
        let file: Data
    }

    private func file(_ name: String, in fixture: String = "decode") throws -> Data {
        let cases = try JSONDecoder().decode([Case].self, from: Fixture.data("images/\(fixture).json"))
        return try #require(cases.first { $0.name == name }?.file)
    }

    private func encode(_ data: Data, _ flags: String...) throws -> (outcome: Outcome, features: Data?) {
        try Program.inFolder { folder in
            let output = folder.appending(path: "features.safetensors")
            let outcome = try Program.run(
                ["encode", "-", "-o", output.path, "--model", Program.model] + flags, input: data)
            return (outcome, try? Data(contentsOf: output))
        }
    }

    @Test("A remark about an image is a note on stderr, unless --quiet, and part of the JSON")
    func notes() throws {
        let cut = try file("jpeg-420").dropLast(2)
        let text = "JPEG: the end marker is missing, but no pixel is"
        let arguments = ["describe", "-", "What?", "--model", Program.model, "--max-tokens", "2"]
        let plain = try Program.run(arguments, input: cut)
        #expect(plain.status == 0 && plain.errors.contains("note: \(text)"))
        let quiet = try Program.run(arguments + ["--quiet"], input: cut)
        #expect(quiet.status == 0 && quiet.errors.isEmpty)
        let json = try Program.run(arguments + ["--json"], input: cut)
        #expect(try json.object()["remarks"] as? [String] == [text])
        #expect(try encode(cut).outcome.errors.contains("note: \(text)"))
    }

    @Test("--background, --reference-depth, --ignore-profile and --allow-truncated reach the decoder")
    func flags() throws {
        let transparent = try file("png-rgba", in: "defaults")
        let white = try #require(try encode(transparent).features)
        #expect(try encode(transparent, "--background", "#FFFFFF").features == white)
        for background in ["black", "#1e90ff", "drop"] {
            let found = try #require(try encode(transparent, "--background", background).features)
            #expect(found != white, "\(background)")
        }
        #expect(try encode(transparent, "--background", "plaid").outcome.status == 64)
        let deep = try file("png-grey16", in: "defaults")
        #expect(try encode(deep, "--reference-depth").features != encode(deep).features)
        let wide = try file("jpeg-p3", in: "defaults")
        #expect(try encode(wide, "--ignore-profile").features != encode(wide).features)
        let half = try file("png-colour2-depth8").prefix(300)
        #expect(try encode(half).outcome.status == 65)
        let allowed = try encode(half, "--allow-truncated")
        #expect(allowed.outcome.status == 0 && allowed.outcome.errors.contains("the rest is grey"))
    }

    #if os(Linux)
        /// Peak memory of a run of the program, in KiB.
        private func peak(_ arguments: [String]) throws -> Int {
            let path = try Program.url().path
            let words = ([path] + arguments).map { strdup($0) } + [nil]
            defer { for word in words { free(word) } }
            var process: pid_t = 0
            try #require(posix_spawn(&process, path, nil, nil, words, environ) == 0)
            var usage = rusage()
            var status: Int32 = 0
            try #require(wait4(process, &status, 0, &usage) == process)
            #expect(status == 0)
            return usage.ru_maxrss
        }

        private struct Strip: Decodable {
            let file: Data
            let width: Int
            let height: Int
        }

        @Test("A JPEG of 200 megapixels takes a few tens of megabytes more than a small one")
        func memory() throws {
            let strip = try JSONDecoder().decode(Strip.self, from: Fixture.data("images/strip.json"))
            let large = try Fixture.tallJPEG(strip.file, height: strip.height, repeats: 800)
            try Program.inFolder { folder in
                let small = folder.appending(path: "small.jpg")
                let file = folder.appending(path: "large.jpg")
                try strip.file.write(to: small)
                try Data(large).write(to: file)
                let output = folder.appending(path: "x.safetensors").path
                let model = ["-o", output, "--model", Program.model, "--quiet"]
                let base = try peak(["encode", small.path] + model)
                let taken = try peak(["encode", file.path] + model)
                // As a whole it would be 614 MB.
                #expect(taken - base < 60 << 10, "\(base) KiB, then \(taken) KiB")
            }
        }
    #endif
}
