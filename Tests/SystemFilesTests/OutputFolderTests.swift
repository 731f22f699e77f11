import Foundation
import SystemFiles
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

@Suite("Output folders")
struct OutputFolderTests {
    private static func write(_ name: String, to folder: OutputFolder) throws {
        try folder.write(name) { (writer) throws(OutputError) in try writer.write(Array(name.utf8)) }
    }

    /// What a killed writer leaves in `folder`.
    private static func leftover(_ folder: String, names: String = "a\n") throws -> String {
        let path = "\(folder)/.out.fastvlm-partial"
        mkdir(path, 0o777)
        let heading = "fastvlm quantize did not finish this folder; it may be deleted.\n"
        try (heading + names).write(toFile: "\(path)/unfinished", atomically: false, encoding: .utf8)
        try "a".write(toFile: "\(path)/a", atomically: false, encoding: .utf8)
        return path
    }

    private static func refusal(_ name: String, source: String = "/nonexistent") -> String {
        let error = #expect(throws: OutputError.self) { try OutputFolder(name, source: source) }
        return error.map { "\($0)" } ?? ""
    }

    @Test("have their name only when they are complete", arguments: [false, true])
    func finished(exists: Bool) throws {
        try Scratch.folder { folder in
            let path = "\(folder)/out"
            if exists { mkdir(path, 0o700) }
            let output = try OutputFolder("\(path)/", source: folder + "-other")
            try Self.write("a", to: output)
            try Self.write("b", to: output)
            #expect(exists ? try Scratch.names(path).isEmpty : access(path, F_OK) != 0)
            try output.finish()
            #expect(try Scratch.names(path) == ["a", "b"])
            #expect(try Scratch.names(folder) == ["out"])
            if exists {
                var information = stat()
                #expect(stat(path, &information) == 0 && information.st_mode & 0o777 == 0o700)
            }
        }
    }

    @Test("that are not finished leave nothing, and an empty folder as it was")
    func unfinished() throws {
        try Scratch.folder { folder in
            mkdir("\(folder)/out", 0o777)
            do {
                let output = try OutputFolder("\(folder)/out", source: "/nonexistent")
                try Self.write("a", to: output)
                #expect(throws: OutputError.cancelled) {
                    try output.write("b", isCancelled: { true }) { (writer) throws(OutputError) in
                        try writer.write([1])
                    }
                }
            }
            #expect(try Scratch.names(folder) == ["out"] && Scratch.names("\(folder)/out").isEmpty)
        }
    }

    @Test("that a killed writer left are replaced")
    func leftovers() throws {
        for names in ["a\n", "a\nb\n", "a\nnever-made\nhalf"] {
            try Scratch.folder { folder in
                _ = try Self.leftover(folder, names: names)
                let output = try OutputFolder("\(folder)/out", source: "/nonexistent")
                try Self.write("c", to: output)
                try output.finish()
                #expect(try Scratch.names("\(folder)/out") == ["c"] && Scratch.names(folder) == ["out"])
            }
        }
    }

    @Test("Leftovers that hold other files, and folders of others, are left alone")
    func foreign() throws {
        try Scratch.folder { folder in
            let path = try Self.leftover(folder)
            try "mine".write(toFile: "\(path)/notes.txt", atomically: false, encoding: .utf8)
            #expect(Self.refusal("\(folder)/out").contains("holds other files"))
            #expect(try Scratch.names(path) == ["notes.txt"])
            try "mine".write(toFile: "\(path)/unfinished", atomically: false, encoding: .utf8)
            #expect(Self.refusal("\(folder)/out").contains("not of this program"))
            #expect(try Scratch.names(path) == ["notes.txt", "unfinished"])
        }
        // A marker that names what is not in the folder.
        try Scratch.folder { folder in
            try "mine".write(toFile: "\(folder)/mine", atomically: false, encoding: .utf8)
            _ = try Self.leftover(folder, names: "../mine\n..\na\n")
            _ = try OutputFolder("\(folder)/out", source: "/nonexistent")
            #expect(try Scratch.names(folder) == ["mine"])
        }
    }

    @Test("Links in the place of leftovers, and in them, are not followed")
    func links() throws {
        for isInner in [false, true] {
            try Scratch.folder { folder in
                let path = try Self.leftover(folder)
                let other = "\(folder)/other"
                if isInner {
                    #expect(rename("\(path)/unfinished", other) == 0)
                    symlink(other, "\(path)/unfinished")
                    #expect(Self.refusal("\(folder)/out").contains("in the way"))
                    #expect(try Scratch.names(path) == ["a", "unfinished"])
                } else {
                    #expect(rename(path, other) == 0)
                    symlink(other, path)
                    #expect(Self.refusal("\(folder)/out").contains("not of this program"))
                    #expect(try Scratch.names(other) == ["a", "unfinished"])
                }
            }
        }
    }

    @Test("of long names that begin alike are written at the same time", arguments: ["n", "模", "🏳️‍🌈"])
    func longNames(character: String) throws {
        try Scratch.folder { folder in
            // As long as a name may be.
            let long = String(repeating: character, count: 254 / character.utf8.count)
            let paths = ["1", "2"].map { "\(folder)/\(long)\($0)" }
            let outputs = try paths.map { try OutputFolder($0, source: "/nonexistent") }
            let partial = try Scratch.names(folder)
            #expect(partial.count == 2 && partial.allSatisfy { $0.utf8.count <= 143 }, "\(partial)")
            for output in outputs {
                try Self.write("a", to: output)
                try output.finish()
            }
            #expect(try paths.allSatisfy { try Scratch.names($0) == ["a"] })
        }
    }

    @Test("are written by one process at a time")
    func locked() throws {
        try Scratch.folder { folder in
            let first = try OutputFolder("\(folder)/out", source: "/nonexistent")
            #expect(Self.refusal("\(folder)/out").contains("another process is writing it"))
            try Self.write("a", to: first)
            try first.finish()
            #expect(Self.refusal("\(folder)/out").contains("not empty"))
            #expect(try Scratch.names("\(folder)/out") == ["a"])
        }
    }

    @Test("are refused before any work where they cannot be")
    func refused() throws {
        try Scratch.folder { folder in
            try "text".write(toFile: "\(folder)/text", atomically: false, encoding: .utf8)
            mkdir("\(folder)/model", 0o777)
            symlink("model", "\(folder)/link")
            for (name, reason) in [
                ("text", "a file, not a folder"), ("none/out", "there is no folder"),
                ("text/out", "not a folder"),
                ("model/out", "inside the checkpoint"), ("link/out", "inside the checkpoint"),
            ] {
                let text = Self.refusal("\(folder)/\(name)", source: "\(folder)/model")
                #expect(text.contains(reason) && text.contains("; "), "\(name): \(text)")
            }
            #expect(!Self.refusal("").isEmpty)
            #expect(try Scratch.names(folder) == ["link", "model", "text"])
            // A name that begins alike is another folder.
            _ = try OutputFolder("\(folder)/model-int8", source: "\(folder)/model")
        }
        #if os(Linux)
            #expect(!Self.refusal("/proc/out").isEmpty)
        #endif
    }

    @Test(
        "on a full disk are refused; a mount point is not replaced",
        .enabled(if: geteuid() == 0, "mount needs root"))
    func room() throws {
        #if os(Linux)
            try Scratch.folder { folder in
                let disk = "\(folder)/small disk"
                mkdir(disk, 0o777)
                // A container may forbid even root to mount.
                guard mount("none", disk, "tmpfs", 0, "size=64k") == 0 else { return }
                defer { umount(disk) }
                #expect(Self.refusal(disk).contains("mount point"))
                let output = try OutputFolder("\(disk)/out", source: "/nonexistent")
                try output.checkRoom(for: 30_000)
                let error = #expect(throws: OutputError.self) { try output.checkRoom(for: 100_000_000) }
                #expect(error?.description.contains("100 MB are needed") == true)
                let full = #expect(throws: OutputError.self) {
                    try output.write("a") { (writer) throws(OutputError) in
                        try writer.write([UInt8](repeating: 1, count: 1 << 20))
                    }
                }
                #expect(full?.description.contains("no space left on device; make room") == true)
            }
        #endif
    }
}
