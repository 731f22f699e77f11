import Foundation
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// What quantize leaves behind when it does not come to its end.
@Suite("Unfinished quantisations")
struct QuantizeOutputTests {
    /// Large enough to be interrupted.
    private static let model = Fixture.root.deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Models/fastvlm-small").path

    /// Sends a signal while the folder is being written. A machine that is so busy that the work ends first gets
    /// another try.
    private static func interrupted(_ signal: Int32, in folder: URL) throws -> (
        status: Int32, bySignal: Bool
    )? {
        let partial = folder.appending(path: ".out.fastvlm-partial").path
        for _ in 0..<50 {
            let process = try Program.start(
                ["quantize", model, "-o", folder.appending(path: "out").path, "-t", "1"],
                environment: ["FASTVLM_ISA": "scalar"])
            while process.isRunning, access(partial, F_OK) != 0 { usleep(500) }
            kill(process.processIdentifier, signal)
            process.waitUntilExit()
            if access(folder.appending(path: "out").path, F_OK) != 0 {
                return (process.terminationStatus, process.terminationReason == .uncaughtSignal)
            }
            try FileManager.default.removeItem(at: folder.appending(path: "out"))
        }
        return nil
    }

    @Test("SIGTERM and SIGINT leave nothing", arguments: [SIGTERM, SIGINT])
    func terminated(signal: Int32) throws {
        try Program.inFolder { folder in
            let ended = try #require(try Self.interrupted(signal, in: folder))
            #expect(ended.status == 128 + signal && !ended.bySignal)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
        }
    }

    @Test("What SIGKILL leaves is no checkpoint, and the next run replaces it")
    func killed() throws {
        try Program.inFolder { folder in
            _ = try #require(try Self.interrupted(SIGKILL, in: folder))
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder.path) == [".out.fastvlm-partial"])
            let outcome = try Program.run([
                "quantize", Program.model, "-o", folder.appending(path: "out").path,
            ])
            #expect(outcome.status == 0, "\(outcome.errors)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["out"])
            let names = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/out")
            #expect(names.contains("model.safetensors") && names.contains("config.json"))
            #expect(!names.contains("unfinished"))
        }
    }

    @Test("Places that cannot be are refused with 74 before packing, and nothing there is touched")
    func refused() throws {
        try Program.inFolder { folder in
            let path = { (name: String) in folder.appending(path: name).path }
            try FileManager.default.copyItem(atPath: Program.model, toPath: path("model"))
            try Data("mine".utf8).write(to: URL(filePath: path("file")))
            for (name, reason) in [
                ("none/out", "no folder"), ("file", "a file, not a folder"), ("file/out", "not a folder"),
                ("model", "not empty"), ("model/out", "inside the checkpoint"),
            ] {
                let outcome = try Program.run(["quantize", path("model"), "-o", path(name)])
                #expect(outcome.status == 74 && outcome.errors.contains(reason), "\(name): \(outcome.errors)")
            }
            #expect(
                try Set(FileManager.default.contentsOfDirectory(atPath: folder.path)) == ["model", "file"])
            #expect(try String(contentsOfFile: path("file"), encoding: .utf8) == "mine")
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: path("model")).count
                    == FileManager.default.contentsOfDirectory(atPath: Program.model).count)
        }
    }

    @Test("A failed write leaves nothing")
    func failedWrite() throws {
        try Program.inFolder { folder in
            let outcome = try Program.shell("ulimit -f 8; exec $fastvlm quantize $model -o out", in: folder)
            #expect(outcome.status == 74 && outcome.errors.contains("file too large"), "\(outcome.errors)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
        }
    }

    #if os(Linux)
        @Test("A disk without room is seen before packing", .enabled(if: geteuid() == 0, "mount needs root"))
        func room() throws {
            try Program.inFolder { folder in
                // A container may forbid even root to mount.
                guard mount("none", folder.path, "tmpfs", 0, "size=64k") == 0 else { return }
                defer { umount(folder.path) }
                let outcome = try Program.run(
                    ["quantize", Self.model, "-o", folder.appending(path: "out").path],
                    environment: ["FASTVLM_ISA": "scalar"])
                #expect(outcome.status == 74 && outcome.errors.contains("are needed"), "\(outcome.errors)")
                #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
            }
        }
    #endif
}
