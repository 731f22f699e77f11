import Foundation
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Where results go: what is refused, what is never destroyed, and the status of what cannot be written.
@Suite("Outputs of the command line")
struct OutputTests {
    private static func encode(_ image: String, _ output: String, _ more: String...) throws -> Outcome {
        try Program.run(["encode", image, "--model", Program.model, "-o", output] + more)
    }

    private static func mode(_ path: String) -> mode_t {
        var information = stat()
        return lstat(path, &information) == 0 ? information.st_mode & S_IFMT : 0
    }

    @Test("encode refuses devices, pipes, folders and its own inputs, and leaves them as they are")
    func refused() throws {
        try Program.inFolder { folder in
            let path = { (name: String) in folder.appending(path: name).path }
            let picture = try Data(contentsOf: URL(filePath: Program.image))
            try picture.write(to: URL(filePath: path("in.png")))
            try FileManager.default.createDirectory(
                atPath: path("folder"), withIntermediateDirectories: false)
            #expect(mkfifo(path("pipe"), 0o666) == 0)
            #expect(symlink("in.png", path("link")) == 0 && link(path("in.png"), path("hard")) == 0)
            var cases = [
                ("in.png", "file that is read"), ("link", "file that is read"), ("hard", "file that is read"),
                ("pipe", "named pipe"), ("folder", "it is a folder"), ("none/a", "no folder"),
            ]
            // Only root may, and not in every container: a character device that swallows everything.
            if mknod(path("node"), S_IFCHR | 0o666, dev_t(1 << 8 | 5)) == 0 {
                cases.append(("node", "it is a device"))
            }
            for (name, reason) in cases {
                let outcome = try Self.encode(path("in.png"), path(name))
                #expect(outcome.status == 74, "\(name): \(outcome.errors)")
                #expect(outcome.errors.hasPrefix("fastvlm: cannot write") && outcome.errors.contains(reason))
                #expect(outcome.errors.split(separator: "\n").count == 1)
            }
            #expect(try Data(contentsOf: URL(filePath: path("in.png"))) == picture)
            #expect(Self.mode(path("pipe")) == S_IFIFO && Self.mode(path("link")) == S_IFLNK)
            if cases.count == 7 { #expect(Self.mode(path("node")) == S_IFCHR) }
            let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            #expect(names.allSatisfy { !$0.hasPrefix(".") }, "\(names)")
            // The image may come from stdin, and the model's files are inputs as well.
            let script = "$fastvlm encode - --model $model -o in.png < in.png"
            #expect(try Program.shell(script, in: folder).status == 74)
            let weights = URL(filePath: Program.model).appending(path: "model.safetensors")
            let before = try Data(contentsOf: weights)
            #expect(try Self.encode(Program.image, weights.path).status == 74)
            #expect(try Data(contentsOf: weights) == before)
        }
    }

    @Test("encode keeps the files of adapters, and of a model that a cache's folder stands for")
    func resolvedInputs() throws {
        try Program.inFolder { folder in
            let files = FileManager.default
            let cache = folder.appending(path: "models--org--name")
            let snapshot = cache.appending(path: "snapshots/c0ffee")
            let blob = cache.appending(path: "blobs/1")
            for place in ["snapshots", "blobs"] {
                try files.createDirectory(
                    at: cache.appending(path: place), withIntermediateDirectories: true)
            }
            try files.copyItem(at: URL(filePath: Program.model), to: snapshot)
            let weights = snapshot.appending(path: "model.safetensors")
            try files.moveItem(at: weights, to: blob)
            #expect(symlink("../../blobs/1", weights.path) == 0)
            try files.createDirectory(
                at: folder.appending(path: "cached/snapshots"), withIntermediateDirectories: true)
            let places = ["plain", "cached/snapshots/c0ffee"].map { folder.appending(path: $0) }
            for place in places { try files.copyItem(at: Fixture.url("adapters/patterns"), to: place) }
            let inputs = places.flatMap { place in
                ["adapter_model.safetensors", "adapter_config.json"].map { place.appending(path: $0) }
            }
            for output in [weights, blob, snapshot.appending(path: "config.json")] + inputs {
                let before = try Data(contentsOf: output)
                let outcome = try Program.run([
                    "encode", Program.image, "--model", cache.path, "--adapter",
                    folder.appending(path: "plain").path, "--adapter", folder.appending(path: "cached").path,
                    "-o", output.path,
                ])
                #expect(
                    outcome.status == 74 && outcome.errors.contains("file that is read"),
                    "\(output.path): \(outcome.errors)")
                #expect(try Data(contentsOf: output) == before, "\(output.path)")
            }
            #expect(Self.mode(weights.path) == S_IFLNK)
        }
    }

    @Test("Arguments that are no UTF-8 are shown with the usual sign, and refused where they name an adapter")
    func foreignBytes() throws {
        for command in [
            "tokenize $'a\\xff' --model $model --json", "describe $image --model $model --adapter $'a\\xff'",
            "describe $image --model $model --template $'a\\xff'",
            "describe $image --model $model $'--a\\xff'",
        ] {
            let outcome = try Program.shell("exec $fastvlm \(command)")
            let text = outcome.text + outcome.errors
            #expect(text.contains("a\u{FFFD}"), "\(command): \(text)")
            #expect(!text.unicodeScalars.contains { $0.value >= 0x10_0000 }, "\(command): \(text)")
            #expect(command.hasPrefix("tokenize") == (outcome.status == 0))
            if command.contains("--adapter") { #expect(text.contains("not UTF-8") && outcome.status == 69) }
        }
        // The model sees the same text: with the sign as with the byte.
        let prompts = try ["\\xff", "\\xef\\xbf\\xbd"].map { byte in
            try Program.shell(
                "exec $fastvlm describe $image --model $model --system $'be \(byte)' --stop $'z\(byte)' -n 1 --json"
            ).usage("prompt_tokens")
        }
        #expect(prompts[0] == prompts[1])
    }

    @Test("encode follows a link, writes to stdout with '-', and discards to /dev/null")
    func streams() throws {
        try Program.inFolder { folder in
            let (file, link) = (folder.appending(path: "a"), folder.appending(path: "link"))
            #expect(try Self.encode(Program.image, file.path).status == 0)
            let expected = try Data(contentsOf: file)
            #expect(symlink("b", link.path) == 0)
            #expect(try Self.encode(Program.image, link.path).status == 0)
            #expect(try Data(contentsOf: folder.appending(path: "b")) == expected)
            #expect(Self.mode(link.path) == S_IFLNK)
            for name in ["-", "/dev/stdout", "/dev/fd/1"] {
                let outcome = try Self.encode(Program.image, name)
                #expect(outcome.status == 0 && outcome.output == expected, "\(name)")
                #expect(outcome.errors.contains("9 tokens"))
            }
            let both = try Self.encode(Program.image, "-", "--json")
            #expect(both.status == 64 && both.output.isEmpty)
            #expect(try Self.encode(Program.image, "/dev/null").status == 0)
            #expect(Self.mode("/dev/null") == S_IFCHR)
        }
    }

    @Test("A failed write keeps the older file and leaves nothing beside it")
    func failedWrite() throws {
        try Program.inFolder { folder in
            try Data("older".utf8).write(to: folder.appending(path: "a"))
            let outcome = try Program.shell(
                "ulimit -f 4; exec $fastvlm encode $image --model $model -o a", in: folder)
            #expect(outcome.status == 74 && outcome.errors.contains("file too large"), "\(outcome.errors)")
            #expect(try Data(contentsOf: folder.appending(path: "a")) == Data("older".utf8))
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a"])
        }
    }

    #if os(Linux)
        @Test(
            "Texts that were asked for and cannot be written end with 74",
            arguments: [
                "--help", "--version", "describe --help", "help chat", "--generate-completion-script bash",
                "info", "inspect $model", "tokenize word --model $model", "describe $image --model $model -q",
                "encode $image --model $model -o - -q", "bench --model $model --repeats 1 --tokens 1",
            ])
        func fullStream(command: String) throws {
            for stream in ["> /dev/full", ">&-"] {
                let outcome = try Program.shell("exec $fastvlm \(command) \(stream)")
                #expect(outcome.status == 74, "\(command) \(stream)")
                #expect(outcome.errors.contains("cannot write"), "\(outcome.errors)")
            }
        }

        @Test("A stdout that is closed does not become the next file that is opened")
        func closedStream() throws {
            try Program.inFolder { folder in
                #expect(try Self.encode(Program.image, folder.appending(path: "a").path).status == 0)
                let outcome = try Program.shell(
                    "exec $fastvlm encode $image --model $model -o b --json >&-", in: folder)
                #expect(outcome.status == 74)
                #expect(
                    try Data(contentsOf: folder.appending(path: "a"))
                        == Data(contentsOf: folder.appending(path: "b")))
            }
        }
    #endif

    @Test("A reader that goes away ends the program by SIGPIPE, without a word")
    func readerGone() throws {
        let pipe = Pipe()
        try pipe.fileHandleForReading.close()
        let process = Process()
        process.executableURL = try Program.url()
        process.arguments = ["describe", Program.image, "--model", Program.model, "-q"]
        let errors = Pipe()
        process.standardOutput = pipe
        process.standardError = errors
        try process.run()
        let text = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        #expect(process.terminationReason == .uncaughtSignal && process.terminationStatus == SIGPIPE)
        #expect(text.isEmpty)
    }

    @Test("Too few open files are the machine's fault, named as such", arguments: 4...10)
    func openFiles(limit: Int) throws {
        let outcome = try Program.shell("ulimit -n \(limit); exec $fastvlm describe $image --model $model -q")
        #expect(outcome.signal == nil, "\(limit): \(outcome.errors)")
        if outcome.status != 0 {
            #expect(outcome.status == 70, "\(limit): \(outcome.errors)")
            #expect(outcome.errors.contains("open files") || outcome.errors.contains("more files"))
            #expect(outcome.errors.contains("ulimit -n") && !outcome.errors.contains("permissions"))
        }
    }

    @Test(
        "A path that is wrong is named once, with the system's reason in words",
        arguments: [
            ["describe", "/nonexistent/a.jpg", "--model", Program.model],
            ["describe", Program.image, "--model", "/nonexistent/model"],
            ["encode", Program.image, "--model", Program.model, "-o", "/nonexistent/a"],
            ["quantize", Program.model, "-o", "/nonexistent/a/b"], ["describe", Program.model],
        ])
    func pathsOnce(arguments: [String]) throws {
        let outcome = try Program.run(arguments)
        #expect([65, 69, 74].contains(outcome.status))
        #expect(!outcome.errors.contains("Error Domain") && !outcome.errors.contains("NSCocoa"))
        let path = try #require(arguments.last { $0.contains("nonexistent") } ?? arguments.last)
        #expect(outcome.errors.components(separatedBy: path).count == 2, "\(outcome.errors)")
    }
}
