import Foundation
import SystemFiles
import Testing
import WireFormats

@testable import BatchAnswers

@Suite("Items of a batch")
struct SourceTests {
    private func items(
        _ text: String, limit: Int = 1 << 20, shard: Shard? = nil
    ) async throws -> [BatchItem] {
        try await withSource(text, limit: limit, question: "?", shard: shard) { try $0.all().items }
    }

    @Test("Every line is an item, or an error in its place; empty lines are nothing")
    func lines() async throws {
        let long = String(repeating: "a", count: 200)
        let items = try await items(
            """
            \u{FEFF}{"id":"a"}

            {"id":7}\r
            no json
            {}
            {"id":[]}
            {"id":"\(long)"}
            {"id":"a","question":"again"}
            {"custom_id":"c","body":{}}
            """, limit: 100)
        #expect(items.map(\.line) == [1, 3, 4, 5, 6, 7, 8, 9])
        #expect(
            items.map(\.id) == [.text("a"), .number(7), nil, .number(5), nil, nil, nil, .text("c")])
        #expect(
            items.map(\.failure?.code) == [
                nil, nil, "invalid_request", nil, "invalid_request", "line_too_long", "duplicate_id",
                "invalid_request",
            ])
        #expect(items.last?.form == .openAI && items[0].form == .plain)
    }

    @Test("The same id as number and text is the same; two that only look alike are not")
    func duplicates() async throws {
        let items = try await items(
            "{\"id\":7}\n{\"id\":\"7\"}\n{\"id\":\"\u{E9}\"}\n{\"id\":\"e\u{301}\"}\n")
        #expect(items.map(\.failure?.code) == [nil, "duplicate_id", nil, nil])
    }

    @Test("Shards have every item once, the same in every run, whatever is added to the input")
    func shards() async throws {
        func text(_ count: Int) -> String {
            (0..<count).map { $0 % 7 == 3 ? "bad line \($0)\n" : "{\"id\":\"item-\($0)\"}\n" }.joined()
        }
        let all = try await items(text(400)).map(\.name)
        var parts: [[String]] = []
        for number in 1...5 {
            let shard = try #require(Shard("\(number)/5"))
            let part = try await items(text(400), shard: shard).map(\.name)
            #expect(part.count > 50, "\(part.count)")
            #expect(try await items(text(500), shard: shard).map(\.name).starts(with: part))
            parts.append(part)
        }
        #expect(parts.flatMap { $0 }.count == 400 && Set(parts.flatMap { $0 }) == Set(all))
        // Of a version to the next, too: a run that is resumed must find its own.
        #expect(ItemKey.id("item-0").stableHash == 0x8A77_CA50_18EB_CB38)
        #expect(try await items(text(400), shard: Shard("1/1")).map(\.name) == all)
        for wrong in ["", "1", "0/2", "3/2", "1/0", "1/2/3", "a/b", "-1/2", "1/", "1/1000001"] {
            #expect(Shard(wrong) == nil, "\(wrong)")
        }
    }

    @Test("Images of a folder, by their paths in the order of bytes, with one question")
    func folder() async throws {
        try await Scratch.folder { folder in
            for name in [
                "b.png", "a/z.JPG", "a.jpg", "B.webp", "notes.txt", ".c.png", "a/.d/e.png", "a/b/c.gif",
            ] {
                let url = URL(filePath: "\(folder)/\(name)")
                try FileManager.default.createDirectory(
                    at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
                try Data().write(to: url)
            }
            try FileManager.default.createSymbolicLink(
                atPath: "\(folder)/a/loop", withDestinationPath: folder)
            let images = try ImageFolder(folder, endings: ["png", "jpg", "webp", "gif"])
            #expect(images.names == ["B.webp", "a.jpg", "a/b/c.gif", "a/z.JPG", "b.png"])
            let source = BatchSource(.images(images, question: "What?"))
            #expect(source.size == 5)
            let items = try source.all().items
            #expect(items.map(\.name) == images.names && items.map(\.end) == [1, 2, 3, 4, 5])
            let request = try items[1].request.get()
            #expect(request.messages == [ChatMessage(.user, [.image(.file("a.jpg")), .text("\nWhat?")])])
            #expect(throws: BoundedFile.ReadError.self) {
                try ImageFolder("\(folder)/none", endings: ["png"])
            }
        }
    }
}

@Suite("The output of an earlier run")
struct FinishedItemsTests {
    private let input = """
        {"id":"a","question":"?"}
        bad
        {"id":"b"}
        {"id":"a"}
        {"custom_id":"c","body":{"messages":[{"role":"user","content":"x"}]}}
        {"custom_id":"d","body":{}}
        {"question":"x"}

        """

    private func records() async throws -> [BatchRecord] {
        try await withSource(input) { try $0.all().items.map(BatchRecord.made) }
    }

    private func withFile(_ bytes: Data, _ body: (LineFile, String) async throws -> Void) async throws {
        try await Scratch.folder { folder in
            let path = "\(folder)/out.jsonl"
            try bytes.write(to: URL(filePath: path))
            try await body(try LineFile(path, keeping: true), path)
        }
    }

    @Test("What it has is not answered again, errors and lines without an id included")
    func skipped() async throws {
        let records = try await records()
        #expect(records.map(\.hasFailed) == [false, true, true, true, false, true, false])
        for count in 0...records.count {
            let bytes = records.prefix(count).reduce(Data()) { $0 + $1.line }
            try await withFile(bytes) { file, path in
                let finished = try FinishedItems(of: file)
                #expect(finished.count == count)
                #expect(finished.failed == records.prefix(count).count(where: \.hasFailed))
                let rest = try await withSource(input, finished: finished) { try $0.all() }
                #expect(rest.skipped == count && rest.items.count == records.count - count)
                #expect(try Data(contentsOf: URL(filePath: path)) == bytes)
            }
        }
    }

    @Test("A half line is cut off wherever it ends, and computed again")
    func halfLine() async throws {
        let records = try await records()
        let first = records[0].line
        for record in records.dropFirst() {
            for length in [1, 3, 6, 12, 20, record.line.count - 2, record.line.count - 1] {
                try await withFile(first + record.line.prefix(length)) { file, path in
                    let finished = try FinishedItems(of: file)
                    #expect(finished.count == 1, "\(length)")
                    #expect(try Data(contentsOf: URL(filePath: path)) == first)
                }
            }
        }
    }

    @Test(
        "A file that is no such output is refused, and stays as it is",
        arguments: [
            "hello", "hello\n", "{\"id\":1}\n", "{\"id\":1}", "{\"id\":1,\"name\":\"x\"}\n", "[]\n", "\n",
            "{\"a\":1}\n", "{\"id\":\"a\",\"question\":\"?\"}\n", "\0\0\0", "{\"line\":1,\"text\":\"a\"}\n",
            "{\"id\":\"a\",\"line\":\"1\",\"text\":\"a\"}\n", "{ \"id\"", "{\"id\":\"a\",\"line\":1}\n",
        ])
    func refused(_ text: String) async throws {
        for before in [Data(), try await records()[0].line] {
            let bytes = before + Data(text.utf8)
            try await withFile(bytes) { file, path in
                #expect(throws: OutputError.self) { try FinishedItems(of: file) }
                let left = try Data(contentsOf: URL(filePath: path))
                #expect(left == bytes)
            }
        }
    }
}
