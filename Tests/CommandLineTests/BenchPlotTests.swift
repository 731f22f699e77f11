import Foundation
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// `fastvlm bench --plot`, as a person would run it: with the embedded model and a small image.
@Suite("Plots of bench")
struct BenchPlotTests {
    private static let quick = [
        "bench", "--resolutions", "64", "--precisions", "float32,int8", "--repeats", "2", "--tokens", "2",
        "--text-tokens", "4", "--threads", "1",
    ]
    /// A measurement that would be reported in place of the error.
    private static func refused(_ plot: String, _ further: String...) throws -> Outcome {
        try Program.run(quick + ["--plot", plot] + further)
    }

    /// The text of every element of a picture, as an XML parser reads it.
    private struct Shown {
        private let texts: [String]

        init(_ svg: URL) throws {
            texts = try Markup(Data(contentsOf: svg)).elements.map(\.text)
        }

        func has(_ text: String) -> Bool { texts.contains(text) }
        func has(prefix: String) -> Bool { texts.contains { $0.hasPrefix(prefix) } }
    }

    @Test("The picture shows every measurement and, with --profile, a roofline per precision")
    func picture() throws {
        try Program.inFolder { folder in
            let file = folder.appending(path: "speed.SVG")
            let outcome = try Program.run(Self.quick + ["--profile", "--json", "--plot", file.path])
            #expect(outcome.status == 0, "\(outcome.errors)")
            let shown = try Shown(file)
            for text in [
                "fastvlm-small", "Time to first token", "Decoding", "64²", "float32", "int8",
                "Roofline, float32", "Roofline, int8",
            ] {
                #expect(shown.has(text), "\(text)")
            }
            #expect(shown.has(prefix: "memory: "))
            // Every operation of the report is a point, whose tip begins with its kind and shape.
            let lines = try outcome.text.split(separator: "\n").indices.map { try outcome.object($0) }
            let operations = lines.filter { $0["type"] as? String == "operation" }
            #expect(Set(operations.compactMap { $0["stage"] as? String }) == ["encode", "prefill", "decode"])
            for operation in operations {
                let kind = try #require(operation["kind"] as? String)
                let shape = try #require(operation["shape"] as? String)
                #expect(shown.has(prefix: "\(kind) \(shape): "), "\(kind) \(shape)")
                for key in ["operations", "bytes", "seconds", "share_of_time", "arithmetic"] {
                    #expect(operation[key] != nil, "\(key)")
                }
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["speed.SVG"])
        }
    }

    @Test("Without --profile there is no roofline; an older file is replaced")
    func replaced() throws {
        try Program.inFolder { folder in
            let file = folder.appending(path: "speed.svg")
            try Data("older".utf8).write(to: file)
            #expect(try Program.run(Self.quick + ["--plot", file.path]).status == 0)
            let shown = try Shown(file)
            #expect(shown.has("Decoding") && !shown.has(prefix: "Roofline"))
        }
    }

    @Test("The model's own files are refused, by whatever name")
    func inputs() throws {
        try Program.inFolder { folder in
            let model = folder.appending(path: "model")
            try FileManager.default.copyItem(at: URL(filePath: Program.model), to: model)
            let weights = model.appending(path: "model.safetensors")
            let before = try Data(contentsOf: weights)
            let (link, hard) = (folder.appending(path: "link.svg"), folder.appending(path: "hard.svg"))
            try FileManager.default.createSymbolicLink(at: link, withDestinationURL: weights)
            try FileManager.default.linkItem(at: weights, to: hard)
            for plot in [link, hard] {
                let outcome = try Self.refused(plot.path, "--model", model.path)
                #expect(
                    outcome.status == 74 && outcome.errors.contains("file that is read"), "\(outcome.errors)")
                #expect(outcome.output.isEmpty)
            }
            #expect(try Data(contentsOf: weights) == before)
        }
    }

    @Test("Other endings, folders that are none and contradictions are refused before anything is measured")
    func refusals() throws {
        try Program.inFolder { folder in
            try FileManager.default.createDirectory(
                at: folder.appending(path: "folder.svg"), withIntermediateDirectories: false)
            try Data("text".utf8).write(to: folder.appending(path: "file"))
            for (name, reason, status) in [
                ("plot.gif", ".svg", Int32(64)), ("plot", ".svg", 64), ("", ".svg", 64),
                ("none/plot.svg", "no folder", 74), ("file/plot.svg", "not a folder", 74),
                ("folder.svg", "is a folder", 74),
            ] {
                let outcome = try Self.refused(name.isEmpty ? "" : folder.appending(path: name).path)
                #expect(outcome.status == status, "\(name)")
                #expect(outcome.errors.contains(reason), "\(outcome.errors)")
                #expect(outcome.output.isEmpty, "\(name)")
            }
            let rounds = try Self.refused(folder.appending(path: "a.svg").path, "--rounds-from-stdin")
            #expect(rounds.status == 64 && rounds.errors.contains("--rounds-from-stdin"))
            #expect(
                Set(try FileManager.default.contentsOfDirectory(atPath: folder.path)) == [
                    "folder.svg", "file",
                ])
        }
    }

    @Test(
        "A name that ends in .png becomes a PNG file",
        .enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/rsvg-convert")))
    func png() throws {
        try Program.inFolder { folder in
            let file = folder.appending(path: "speed.png")
            let outcome = try Program.run(Self.quick + ["--plot", file.path])
            #expect(outcome.status == 0, "\(outcome.errors)")
            let bytes = [UInt8](try Data(contentsOf: file))
            #expect(bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 13, 10, 26, 10]))
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["speed.png"])
        }
    }

    @Test("Without the program that draws PNG, that is said before anything is measured")
    func noConverter() throws {
        try Program.inFolder { folder in
            let outcome = try Program.run(
                Self.quick + ["--plot", folder.appending(path: "speed.png").path],
                environment: ["PATH": folder.path])
            #expect(outcome.status == 64 && outcome.output.isEmpty)
            #expect(outcome.errors.contains("librsvg2-bin"), "\(outcome.errors)")
        }
    }

    @Test("Pipes and what a link leads to: refused and followed before and after measuring")
    func otherFiles() throws {
        try Program.inFolder { folder in
            let (pipe, link) = (folder.appending(path: "pipe.svg"), folder.appending(path: "link.svg"))
            #expect(mkfifo(pipe.path, 0o666) == 0)
            let outcome = try Self.refused(pipe.path)
            #expect(outcome.status == 74 && outcome.errors.contains("named pipe") && outcome.output.isEmpty)
            #expect(symlink("real.svg", link.path) == 0)
            #expect(try Program.run(Self.quick + ["--plot", link.path]).status == 0)
            #expect(try Shown(folder.appending(path: "real.svg")).has("Decoding"))
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link.path) == "real.svg")
        }
    }

    @Test("With '-' the picture goes to stdout and the report to stderr")
    func stream() throws {
        let outcome = try Program.run(Self.quick + ["--plot", "-"])
        #expect(outcome.status == 0 && outcome.errors.contains("tokens/s"))
        #expect(try Markup(outcome.output).elements.contains { $0.text == "Decoding" })
    }

    #if os(Linux)
        @Test("A folder that takes no files exits with 74 and says so")
        func unwritable() throws {
            // Nobody can create files in /proc, not even root.
            let outcome = try Self.refused("/proc/plot.svg")
            #expect(outcome.status == 74)
            #expect(outcome.errors.contains("cannot write") && outcome.errors.contains("/proc/plot.svg"))
        }
    #endif
}
