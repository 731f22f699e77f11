import Foundation
import SystemFiles
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

@Suite("Lines are read one by one, and written whole")
struct LineTests {
    private func read(_ text: String, limit: Int = 1 << 20) throws -> [LineReader.Line] {
        try Scratch.folder { folder in
            let path = "\(folder)/lines"
            try Data(text.utf8).write(to: URL(filePath: path))
            let descriptor = open(path, O_RDONLY)
            defer { close(descriptor) }
            var reader = LineReader(descriptor: descriptor, limit: limit)
            var lines: [LineReader.Line] = []
            while let line = try reader.next() { lines.append(line) }
            #expect(try reader.next() == nil)
            return lines
        }
    }

    private func texts(_ lines: [LineReader.Line]) -> [String?] {
        lines.map { $0.bytes.map { String(decoding: $0, as: UTF8.self) } }
    }

    @Test("Numbers, ends of lines, empty lines, and a last line without an end")
    func lines() throws {
        let lines = try read("one\r\n\ntwo\nthree")
        #expect(texts(lines) == ["one", "", "two", "three"])
        #expect(lines.map(\.number) == [1, 2, 3, 4] && lines.map(\.end) == [5, 6, 10, 15])
        #expect(lines.map(\.isWhole) == [true, true, true, false])
        #expect(try read("").isEmpty)
        #expect(texts(try read("\n")) == [""])
        #expect(texts(try read("a\r")) == ["a\r"])
    }

    @Test("A line beyond the limit is none, and those behind it are as ever", arguments: [7, 300_000])
    func limit(_ limit: Int) throws {
        let fits = String(repeating: "a", count: limit)
        let lines = try read("\(fits)\r\n\(fits)b\n\(fits)\(fits)\nc\n\(fits)\n\(fits)d", limit: limit)
        #expect(texts(lines) == [fits, nil, nil, "c", fits, nil])
        #expect(lines.map(\.number) == [1, 2, 3, 4, 5, 6])
        #expect(lines.last?.end == 6 * limit + 9 && lines.last?.isWhole == false)
    }

    @Test("Waiting for a pipe ends with the cancellation")
    func cancelled() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        var reader = LineReader(descriptor: ends[0], limit: 100)
        #expect("a\nb".utf8.withContiguousStorageIfAvailable { write(ends[1], $0.baseAddress, 3) } == 3)
        #expect(try reader.next()?.bytes == Array("a".utf8))
        var looks = 0
        #expect(throws: CancellationError.self) {
            _ = try reader.next {
                looks += 1
                return looks > 2
            }
        }
        #expect(looks == 3)
    }

    private func append(_ text: String, to file: LineFile) throws {
        try Array(text.utf8).withUnsafeBytes { try file.append($0) }
    }

    @Test("A file grows by lines, keeps what it has, and can be cut")
    func growing() throws {
        try Scratch.folder { folder in
            let path = "\(folder)/out"
            do {
                let file = try LineFile(path, keeping: false)
                try append("one\n", to: file)
                try append("two\nhal", to: file)
                try file.synchronize()
            }
            #expect(throws: OutputError.self) { try LineFile(path, keeping: false) }
            let file = try LineFile(path, keeping: true)
            var reader = try file.lines(limit: 100)
            var end = 0
            while let line = try reader.next(), line.isWhole { end = line.end }
            try file.cut(to: end)
            try append("three\n", to: file)
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "one\ntwo\nthree\n")
        }
    }

    @Test("One writer at a time; a new file that stays empty can be taken away")
    func lock() throws {
        try Scratch.folder { folder in
            let path = "\(folder)/out"
            do {
                let file = try LineFile(path, keeping: true)
                let reason = #expect(throws: OutputError.self) { try LineFile(path, keeping: true) }
                #expect(reason?.description.contains("another process") == true)
                file.discardIfUnused()
                #expect(try Scratch.names(folder).isEmpty)
            }
            try Data("a\n".utf8).write(to: URL(filePath: path))
            try LineFile(path, keeping: true).discardIfUnused()
            #expect(try Scratch.names(folder) == ["out"])
        }
    }

    @Test("Folders, pipes, sockets, and what is read itself are refused and stay")
    func refused() throws {
        try Scratch.folder { folder in
            let path = "\(folder)/in"
            try Data("a\n".utf8).write(to: URL(filePath: path))
            let input = try #require(FileIdentity(path: path))
            #expect(throws: OutputError.self) { try LineFile(path, inputs: [input], keeping: true) }
            #expect(mkfifo("\(folder)/pipe", 0o600) == 0)
            for name in [folder, "\(folder)/pipe", "", "\(folder)/none/out", "/dev/zero"] {
                #expect(throws: OutputError.self, "\(name)") { try LineFile(name, keeping: true) }
            }
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "a\n")
            try append("a\n", to: try LineFile("/dev/null", keeping: false))
        }
    }

    @Test("A folder's entries say which are folders; a link to one is none")
    func entries() throws {
        try Scratch.folder { folder in
            try FileManager.default.createDirectory(
                atPath: "\(folder)/a", withIntermediateDirectories: true)
            try Data().write(to: URL(filePath: "\(folder)/b"))
            try FileManager.default.createSymbolicLink(
                atPath: "\(folder)/c", withDestinationPath: "\(folder)/a")
            let entries = try BoundedFile.entries(inFolder: folder).sorted { $0.name < $1.name }
            #expect(entries.map(\.name) == ["a", "b", "c"])
            #expect(entries.map(\.isFolder) == [true, false, false])
        }
    }
}
