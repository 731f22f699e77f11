import Testing

@testable import CommandInput

@Suite("Question or image")
struct QuestionTests {
    private static func none(_: String) -> Bool { false }

    @Test(
        "What looks like a path or ends like an image is an image, also when it is not there",
        arguments: [
            "-", "missing.gif", "b.JPG", "photo.heic", "x.avif", "a.tiff", "my photo.png", "a b c.webp",
            "photos/b",
            "/tmp/picture", "./a", "../a", "~/a", "~/my pictures/a", "~root/a", "/tmp/my picture", "C:\\a",
            "photos\\b", ".hidden", "notes.txt", "model.safetensors", "scan.pdf", "a/b.c", "'my photo.jpg'",
            "\"a.png\"", "missing.gif ", "data:image/png;base64,AA==", "https://a.org/b", "file:///a",
            "http://x",
        ])
    func images(argument: String) {
        #expect(Question.isImage(argument, exists: Self.none))
    }

    @Test(
        "All else is the question",
        arguments: [
            "What is this?", "What is 3/4?", "and/or?", "3/4?", "Is it a cat/dog?", "What is 3/4", "Describe",
            "Why?",
            "Describe the left/right half", "Is this b.jpg?", "Read the text in notes.txt", "U.S.", "v2.0",
            "3.5",
            "Count to 10.", "What does https://a.org show?", "https://a.org is on the sign, is it?",
            "data: what",
            "这是什么？", "yes/no?", "Who wrote .gitignore?", "Is it a .png or a .jpg image?",
            "...what is it?",
        ])
    func questions(argument: String) {
        #expect(!Question.isImage(argument, exists: Self.none))
    }

    @Test("What is there is an image, whatever it is called")
    func existing() {
        #expect(Question.isImage("What is this?") { $0 == "What is this?" })
        #expect(Question.isImage("Describe") { _ in true })
    }

    @Test("Names that were taken for options", arguments: ["-x.jpg", "--photo.png", "-a.HEIC"])
    func options(argument: String) {
        #expect(Question.isFileTakenForOption(argument))
        #expect(!Question.isFileTakenForOption("--model=\(argument)"))
        #expect(!Question.isFileTakenForOption("-q") && !Question.isFileTakenForOption("--no-such-option"))
        #expect(!Question.isFileTakenForOption("-") && !Question.isFileTakenForOption("x.jpg"))
    }
}
