import Foundation
import Testing

@testable import CommandInput

@Suite("The Tab key")
struct LineCompletionTests {
    /// Completes a line in which § is a folder with these entries; those that end in a slash are folders.
    private static func complete(_ line: String, _ names: [String]) throws -> LineCompletion {
        let folder = FileManager.default.temporaryDirectory.appending(path: "complete-\(UUID())")
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for name in names {
            let file = folder.appending(path: name)
            if name.hasSuffix("/") {
                try FileManager.default.createDirectory(at: file, withIntermediateDirectories: true)
            } else {
                try Data().write(to: file)
            }
        }
        return LineCompletion(line.replacing("§", with: folder.path + "/"))
    }

    @Test(
        "One possibility is written out",
        arguments: [
            ("/image §ca", ["cat.jpg", "dog.jpg"], "t.jpg"), ("/image §", ["only.png"], "only.png"),
            ("/image §pi", ["pictures/"], "ctures/"), ("/image §a", ["a b.jpg"], " b.jpg"),
            ("/image '§a", ["a b.jpg"], " b.jpg'"), ("/image \"§a", ["a b.jpg"], " b.jpg\""),
            ("/image §x\\ ", ["x y z.jpg"], "y\\ z.jpg"), ("/image §é", ["équipe.png"], "quipe.png"),
            ("/image §c", ["cat.jpg", "cat.txt"], "at.jpg"), ("/image §n", ["notes.txt"], "otes.txt"),
            ("/image §.h", [".hidden.jpg", "h.jpg"], "idden.jpg"),
        ])
    func one(line: String, names: [String], insertion: String) throws {
        let completion = try Self.complete(line, names)
        #expect(completion.insertion == insertion && completion.choices.isEmpty)
    }

    @Test("Several are written as far as they agree, then listed")
    func several() throws {
        let names = ["cat.jpg", "cats/", "catalogue.png", "dog.jpg"]
        #expect(try Self.complete("/image §c", names).insertion == "at")
        let completion = try Self.complete("/image §cat", names)
        #expect(completion.insertion.isEmpty)
        #expect(completion.choices == ["cat.jpg", "catalogue.png", "cats/"])
        #expect(
            try Self.complete("/image §", [".hidden.jpg", "a.jpg", "b.jpg"]).choices == ["a.jpg", "b.jpg"])
    }

    @Test(
        "Nothing is where there is nothing to complete",
        arguments: ["", "What", "/image §x", "/image '§'", "/none"])
    func nothing(line: String) throws {
        let completion = try Self.complete(line, ["a.jpg"])
        #expect(completion.insertion.isEmpty && completion.choices.isEmpty)
    }

    @Test("Commands")
    func commands() throws {
        #expect(try Self.complete("/i", []).insertion == "mage ")
        #expect(
            try Self.complete("/", []).choices == ["/drop", "/image ", "/quit", "/reset", "/resolution "])
    }
}
