import Foundation
import SystemFiles
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

@Suite("Output files")
struct OutputFileTests {
    private static func write(_ text: String, to name: String, inputs: [FileIdentity] = []) throws {
        try OutputFile(name, inputs: inputs).write { (writer) throws(OutputError) in
            try writer.write(Array(text.utf8))
        }
    }

    private static func mode(_ path: String) -> UInt32 {
        var information = stat()
        return lstat(path, &information) == 0 ? UInt32(information.st_mode) : 0
    }

    @Test("appear and are replaced as a whole; a replaced file keeps its permissions")
    func written() throws {
        try Scratch.folder { folder in
            let path = "\(folder)/a"
            try Self.write("one", to: path)
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "one")
            let mask = umask(0)
            umask(mask)
            #expect(Self.mode(path) & 0o7777 == 0o666 & ~UInt32(mask))
            chmod(path, 0o640)
            try Self.write("two", to: path)
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "two")
            #expect(Self.mode(path) & 0o7777 == 0o640)
            // As long as a name may be.
            let long = "\(folder)/\(String(repeating: "n", count: 255))"
            try Self.write("three", to: long)
            #expect(try Scratch.names(folder) == ["a", String(repeating: "n", count: 255)])
        }
    }

    @Test("are as private while they are written as what they replace", arguments: [0o600, 0o640, 0o444])
    func privacy(mode: UInt32) throws {
        try Scratch.folder { folder in
            let path = "\(folder)/a"
            try Self.write("old", to: path)
            chmod(path, mode_t(mode))
            guard access(path, W_OK) == 0 else { return }
            var meanwhile: [UInt32] = []
            try OutputFile(path).write { (writer) throws(OutputError) in
                try writer.write([1])
                let names = (try? Scratch.names(folder)) ?? []
                meanwhile = names.filter { $0 != "a" }.map { Self.mode("\(folder)/\($0)") & 0o7777 }
            }
            #expect(meanwhile == [mode & 0o600])
            #expect(Self.mode(path) & 0o7777 == mode)
        }
    }

    @Test(
        "that are mount points are refused before the work", .enabled(if: geteuid() == 0, "mount needs root"))
    func mountPoint() throws {
        #if os(Linux)
            try Scratch.folder { folder in
                // A backslash and a space are written in another way in the table of mounts.
                let (source, target) = ("\(folder)/source", "\(folder)/a \\b")
                try Self.write("text", to: source)
                try Self.write("under", to: target)
                // A container may forbid even root to mount.
                guard mount(source, target, "", UInt(MS_BIND), nil) == 0 else { return }
                defer { umount(target) }
                let error = #expect(throws: OutputError.self) { try OutputFile(target) }
                #expect(error?.description.contains("mount point; mount its folder, or") == true)
                #expect(try Scratch.names(folder).count == 2)
            }
        #endif
    }

    @Test("stay as they were when writing fails, and leave nothing beside them")
    func failed() throws {
        try Scratch.folder { folder in
            let path = "\(folder)/a"
            try Self.write("old", to: path)
            #expect(throws: OutputError.cancelled) {
                try OutputFile(path).write(isCancelled: { true }) { (writer) throws(OutputError) in
                    try writer.write([1, 2, 3])
                }
            }
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "old")
            #expect(try Scratch.names(folder) == ["a"])
        }
    }

    @Test("behind symbolic links: the target is replaced or made, the link stays")
    func links() throws {
        try Scratch.folder { folder in
            mkdir("\(folder)/real", 0o777)
            try Self.write("old", to: "\(folder)/real/a")
            for (link, target) in [("one", "real/a"), ("two", "one"), ("new", "real/b")] {
                symlink(target, "\(folder)/\(link)")
            }
            try Self.write("2", to: "\(folder)/two")
            try Self.write("3", to: "\(folder)/new")
            #expect(try String(contentsOfFile: "\(folder)/real/a", encoding: .utf8) == "2")
            #expect(try String(contentsOfFile: "\(folder)/real/b", encoding: .utf8) == "3")
            for link in ["one", "two", "new"] {
                #expect(Self.mode("\(folder)/\(link)") & UInt32(S_IFMT) == UInt32(S_IFLNK), "\(link)")
            }
            #expect(try Scratch.names("\(folder)/real") == ["a", "b"])
            symlink("circle", "\(folder)/circle")
            #expect(throws: OutputError.self) { try OutputFile("\(folder)/circle") }
        }
    }

    @Test("that are not files are refused before anything is written, and stay what they are")
    func refused() throws {
        try Scratch.folder { folder in
            mkdir("\(folder)/folder", 0o777)
            mkfifo("\(folder)/pipe", 0o666)
            symlink("pipe", "\(folder)/link")
            let socket = try Scratch.socket("\(folder)/socket")
            defer { close(socket) }
            try Self.write("text", to: "\(folder)/text")
            for (name, reason) in [
                ("folder", "it is a folder"), ("pipe", "named pipe"), ("link", "named pipe"),
                ("socket", "not a regular file"), ("none/a", "there is no folder"),
                ("text/a", "not a folder"),
                ("new/", "slash"), ("", "it is a folder"),
            ] {
                let error = #expect(throws: OutputError.self, "\(name)") {
                    try OutputFile("\(folder)/\(name)")
                }
                let text = error.map { "\($0)" } ?? ""
                #expect(text.contains(reason) && text.contains("; "), "\(text)")
                #expect(text.components(separatedBy: "\(folder)/\(name)'").count == 2, "named once: \(text)")
            }
            #expect(throws: OutputError.self) { try OutputFile("") }
            #expect(Self.mode("\(folder)/pipe") & UInt32(S_IFMT) == UInt32(S_IFIFO))
            #expect(try Scratch.names(folder) == ["folder", "link", "pipe", "socket", "text"])
        }
    }

    @Test("on devices are refused, but for the null device", .enabled(if: geteuid() == 0, "mknod needs root"))
    func devices() throws {
        try Scratch.folder { folder in
            // /dev/zero, a loop device, /dev/null. A container may forbid even root to make them.
            guard mknod("\(folder)/zero", S_IFCHR | 0o666, makedev(1, 5)) == 0,
                mknod("\(folder)/block", S_IFBLK | 0o666, makedev(7, 200)) == 0,
                mknod("\(folder)/null", S_IFCHR | 0o666, makedev(1, 3)) == 0
            else { return }
            symlink("zero", "\(folder)/link")
            for name in ["zero", "block", "link"] {
                let error = #expect(throws: OutputError.self) { try OutputFile("\(folder)/\(name)") }
                #expect(error?.description.contains("device") == true)
            }
            try Self.write("text", to: "\(folder)/null")
            #expect(Self.mode("\(folder)/null") & UInt32(S_IFMT) == UInt32(S_IFCHR))
            #expect(Self.mode("\(folder)/zero") & UInt32(S_IFMT) == UInt32(S_IFCHR))
            #expect(try Scratch.names(folder) == ["block", "link", "null", "zero"])
        }
    }

    @Test("that are an input are refused, whatever links lead to it")
    func inputs() throws {
        try Scratch.folder { folder in
            let path = "\(folder)/in.jpg"
            try Self.write("picture", to: path)
            symlink("in.jpg", "\(folder)/symbolic")
            link(path, "\(folder)/hard")
            let input = try #require(FileIdentity(path: path))
            for name in ["in.jpg", "./in.jpg", "symbolic", "hard"] {
                let error = #expect(throws: OutputError.self) {
                    try OutputFile("\(folder)/\(name)", inputs: [input])
                }
                #expect(error?.description.contains("the file that is read") == true)
            }
            #expect(FileIdentity.contents(ofFolder: folder).contains(input))
        }
    }

    @Test("that nobody may write are refused with the system's reason")
    func permissions() throws {
        #if os(Linux)
            // Not even root makes files here.
            #expect(throws: OutputError.self) { try OutputFile("/proc/a") }
        #endif
        guard geteuid() != 0 else { return }
        try Scratch.folder { folder in
            try Self.write("old", to: "\(folder)/a")
            chmod("\(folder)/a", 0o444)
            let protected = #expect(throws: OutputError.self) { try OutputFile("\(folder)/a") }
            #expect(protected?.description.contains("permission denied; check its permissions") == true)
            chmod(folder, 0o555)
            let closed = #expect(throws: OutputError.self) { try OutputFile("\(folder)/b") }
            #expect(closed?.description.contains("no permission to make files in") == true)
            chmod(folder, 0o755)
        }
    }

    @Test("that are streams of the process are written to, and refused where they are only read")
    func streams() throws {
        let pipe = Pipe()
        try Self.write("text", to: "/dev/fd/\(pipe.fileHandleForWriting.fileDescriptor)")
        try pipe.fileHandleForWriting.close()
        #expect(try pipe.fileHandleForReading.readToEnd() == Data("text".utf8))
        let error = #expect(throws: OutputError.self) {
            try OutputFile("/dev/fd/\(pipe.fileHandleForReading.fileDescriptor)")
        }
        #expect(error?.description.contains("reading only") == true)
        #expect(throws: OutputError.self) { try OutputFile("/dev/fd/9999") }
        #expect(try OutputFile("/dev/stdout", isText: true).isStandardOutput)
        #expect(try OutputFile("-", isText: true).isStandardOutput)
        // The features of an image on a terminal help nobody.
        var (terminal, side): (Int32, Int32) = (-1, -1)
        try #require(openpty(&terminal, &side, nil, nil, nil) == 0)
        defer {
            close(terminal)
            close(side)
        }
        #expect(throws: OutputError.self) { try OutputFile("/dev/fd/\(side)") }
        try Self.write("text", to: "/dev/null")
    }

    @Test(
        "The system's reasons are words with advice",
        arguments: [ENOENT, EACCES, EMFILE, ENOSPC, EFBIG, ENFILE])
    func reasons(code: Int32) {
        let reason = SystemReason(code)
        #expect(!reason.description.isEmpty && reason.description.first?.isUppercase == false)
        #expect(reason.advice != nil)
        #expect(reason.isExhaustion == [EMFILE, ENFILE].contains(code))
        #expect((reason.advice == "check its permissions") == (code == EACCES))
    }
}

/// `makedev` is a macro.
private func makedev(_ major: UInt64, _ minor: UInt64) -> dev_t { dev_t(major << 8 | minor & 0xFF) }
