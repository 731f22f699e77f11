import FastVLM
import Foundation
import TestSupport
import Testing

@Suite("What the library says about checkpoints")
struct CheckpointFaceTests {
    /// A copy of a small model that goes away with the test.
    private func withCopy<Result>(
        of folder: String = "tiny-hf", _ body: (URL) async throws -> Result
    ) async throws -> Result {
        let copy = FileManager.default.temporaryDirectory.appending(path: "face-\(UUID())")
        try FileManager.default.copyItem(at: Fixture.url("models/\(folder)"), to: copy)
        defer { try? FileManager.default.removeItem(at: copy) }
        return try await body(copy)
    }

    private func change(_ file: String, in folder: URL, _ body: (inout [String: Any]) throws -> Void) throws {
        let url = folder.appending(path: file)
        var object = try #require(
            try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
        try body(&object)
        try JSONSerialization.data(withJSONObject: object).write(to: url)
    }

    private func load(_ source: ModelSource, _ change: (inout LoadOptions) -> Void = { _ in }) async throws
        -> VisionLanguageModel
    {
        var options = LoadOptions()
        options.precision = .float32
        change(&options)
        return try await VisionLanguageModel(contentsOf: source, options: options)
    }

    private func error(_ body: () async throws -> some Any) async -> FastVLMError? {
        do {
            _ = try await body()
            return nil
        } catch {
            return error as? FastVLMError
        }
    }

    @Test(
        "an address of another scheme is an error, not the local file of its path",
        arguments: ["https", "http", "ftp", "data", "s3"])
    func schemes(scheme: String) async throws {
        // The paths exist here, and would be read.
        let folder = try #require(URL(string: "\(scheme)://host\(Fixture.url("models/tiny-hf").path)"))
        for found in [
            await error { try await load(.directory(folder)) },
            await error { try CheckpointReport(contentsOf: .directory(folder)) },
            await error { try ModelSource.directory(folder).directory() },
            await error {
                try await load(.directory(Fixture.url("models/tiny-hf"))) { $0.adapters = [folder] }
            },
        ] {
            #expect(
                found?.kind == .request && found?.description.contains("\"\(scheme)\"") == true,
                "\(String(describing: found))")
        }
        let model = try await load(.directory(Fixture.url("models/tiny-hf")))
        let image = try #require(
            URL(string: "\(scheme)://host\(Fixture.url("models/images/image-0.png").path)"))
        for found in [
            await error { try await model.answer("What is this?", images: [.file(image)]) },
            await error { try await model.encode(.file(image)) },
        ] {
            #expect(
                found?.kind == .image && found?.description.contains("\"\(scheme)\"") == true,
                "\(String(describing: found))")
        }
        // Without a scheme, as `URL(string:)` makes it of a path, it is a path.
        let bare = try #require(URL(string: Fixture.url("models/tiny-hf").path))
        #expect(try CheckpointReport(contentsOf: .directory(bare)).layers == 2)
    }

    @Test("remarks that change answers are part of what was loaded; others are not")
    func remarks() async throws {
        #expect(try await load(.directory(Fixture.url("models/tiny-hf"))).information.remarks == [])
        try await withCopy { folder in
            try change("config.json", in: folder) { config in
                var text = try #require(config["text_config"] as? [String: Any])
                text["rope_theta"] = 10_000
                config["text_config"] = text
                config["image_token_id"] = 289
            }
            let remarks = try await load(.directory(folder)).information.remarks
            #expect(remarks.count == 1 && remarks.first?.contains("rope_theta") == true, "\(remarks)")
        }
    }

    @Test("faults of the checkpoint are the checkpoint's, found while loading")
    func faults() async throws {
        for positions in [0, 1, 7] {
            try await withCopy { folder in
                try change("config.json", in: folder) { config in
                    var text = try #require(config["text_config"] as? [String: Any])
                    text["max_position_embeddings"] = positions
                    config["text_config"] = text
                }
                #expect(await error { try await load(.directory(folder)) }?.kind == .model)
            }
        }
        // An added token that no row belongs to, which no prompt needs, is told instead.
        try await withCopy { folder in
            try change("tokenizer.json", in: folder) { tokenizer in
                var added = try #require(tokenizer["added_tokens"] as? [[String: Any]])
                added.append([
                    "id": 320, "content": "<beyond>", "special": true, "normalized": false, "lstrip": false,
                    "rstrip": false, "single_word": false,
                ])
                tokenizer["added_tokens"] = added
            }
            let remarks = try await load(.directory(folder)).information.remarks
            #expect(remarks.count == 1 && remarks.first?.contains("320") == true, "\(remarks)")
        }
    }

    @Test("a snapshot of a Hugging Face cache loads by the folder of its repository")
    func cache() async throws {
        let root = FileManager.default.temporaryDirectory.appending(path: "face-\(UUID())/models--a--b")
        defer { try? FileManager.default.removeItem(at: root.deletingLastPathComponent()) }
        let snapshot = root.appending(path: "snapshots/0abc")
        try FileManager.default.createDirectory(
            at: root.appending(path: "snapshots"), withIntermediateDirectories: true)
        try FileManager.default.createDirectory(
            at: root.appending(path: "refs"), withIntermediateDirectories: true)
        try Data("0abc".utf8).write(to: root.appending(path: "refs/main"))
        try FileManager.default.copyItem(at: Fixture.url("models/tiny-hf"), to: snapshot)
        let model = try await load(.directory(root))
        #expect(model.information.directory.lastPathComponent == "0abc")
        #expect(try CheckpointReport(contentsOf: .directory(root)).directory.hasSuffix("0abc"))
    }

    @Test("adapters change answers, each in its turn")
    func adapters() async throws {
        let image = ImageSource.file(Fixture.url("models/images/image-0.png"))
        var options = GenerationOptions()
        options.maximumTokens = 16
        var answers: Set<[Int]> = []
        for names in [[], ["patterns"], ["stable"], ["patterns", "stable"]] {
            let model = try await load(.directory(Fixture.url("models/tiny-hf"))) {
                $0.adapters = names.map { Fixture.url("adapters/\($0)") }
            }
            answers.insert(
                try await model.answer("What is this?", images: [image], options: options).tokens.map(\.id))
        }
        #expect(answers.count == 4)
    }

    @Test("the report has the values of generation_config.json, and loads with wrong ones")
    func report() async throws {
        try await withCopy { folder in
            let url = folder.appending(path: "generation_config.json")
            try Data(
                """
                {"do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05,
                 "eos_token_id": [288, 286]}
                """.utf8
            ).write(to: url)
            let report = try CheckpointReport(contentsOf: .directory(folder))
            #expect(report.endOfSequenceIDs == [286, 288])
            let sampling = try #require(report.sampling)
            #expect(sampling.doSample == true && sampling.temperature == 0.7 && sampling.topP == 0.8)
            #expect(
                sampling.topK == 20 && sampling.repetitionPenalty == 1.05
                    && sampling.file == "generation_config.json")
            for word in [
                "temperature 0.7", "top_p 0.8", "top_k 20", "repetition_penalty 1.05", "ends at 286, 288",
            ] {
                #expect("\(report)".contains(word), "\(report)")
            }
            try Data("{\"temperature\": NaN}".utf8).write(to: url)
            let odd = try CheckpointReport(contentsOf: .directory(folder))
            #expect(odd.sampling == nil && odd.remarks.contains { $0.contains("temperature") })
            _ = try await load(.directory(folder))
        }
    }
}
