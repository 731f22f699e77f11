import FastVLM
import Foundation
import TestSupport
import Testing

@Suite("Options and remarks of images")
struct ImageOptionTests {
    private struct Case: Decodable {
        let name: String
        let file: Data
    }

    private func file(_ name: String, in fixture: String = "decode") throws -> Data {
        let cases = try JSONDecoder().decode([Case].self, from: Fixture.data("images/\(fixture).json"))
        return try #require(cases.first { $0.name == name }?.file)
    }

    private func load(_ change: (inout LoadOptions) -> Void = { _ in }) async throws -> VisionLanguageModel {
        var options = LoadOptions()
        options.precision = .float32
        change(&options)
        return try await VisionLanguageModel(
            contentsOf: .directory(Fixture.url("models/tiny-hf")), options: options)
    }

    @Test("What is worth telling about an image's file comes with the answer, also when it is remembered")
    func remarks() async throws {
        let whole = try file("jpeg-420")
        let cut = Data(whole.dropLast(2))
        let expected = ["JPEG: the end marker is missing, but no pixel is"]
        var options = GenerationOptions()
        options.maximumTokens = 2
        let model = try await load { $0.expectedImages = [.data(cut)] }
        #expect(try await model.answer("What?", images: [.data(cut)], options: options).remarks == expected)
        #expect(try await model.answer("And?", images: [.data(cut)], options: options).remarks == expected)
        #expect(try await model.answer("What?", images: [.data(whole)], options: options).remarks.isEmpty)
        let both = try await model.answer("What?", images: [.data(whole), .data(cut)], options: options)
        #expect(both.remarks == ["image 2: " + expected[0]])
        let encoded = try await model.encode(.data(cut))
        #expect(encoded.remarks == expected)
        #expect(try await model.encode(.data(whole)).features == encoded.features)
    }

    @Test("Missing rows are an error of the image, and grey with a remark where that is allowed")
    func truncated() async throws {
        let whole = try file("png-colour2-depth8")
        let half = whole.prefix(whole.count / 2)
        await #expect {
            _ = try await load().encode(.data(half))
        } throws: { error in
            (error as? FastVLMError)?.kind == .image
        }
        let encoded = try await load { $0.allowsTruncatedImages = true }.encode(.data(half))
        #expect(encoded.remarks.count == 1 && encoded.remarks[0].contains("the rest is grey"))
    }

    @Test("Background, depth and profile options change what the encoder sees, and the default is a person's")
    func options() async throws {
        let transparent = try file("png-rgba", in: "defaults")
        let deep = try file("png-grey16", in: "defaults")
        let wide = try file("jpeg-p3", in: "defaults")
        func features(_ data: Data, _ change: (inout LoadOptions) -> Void = { _ in }) async throws -> [Float]
        {
            try await load(change).encode(.data(data)).features
        }
        let white = try await features(transparent)
        #expect(try await features(transparent) { $0.background = .white } == white)
        #expect(try await features(transparent) { $0.background = .black } != white)
        #expect(try await features(transparent) { $0.background = .drop } != white)
        #expect(try await features(deep) { $0.usesReferenceDepth = true } != features(deep))
        #expect(try await features(wide) { $0.ignoresColorProfiles = true } != features(wide))
    }

    @Test("A background is named by a word or by its colour")
    func backgrounds() {
        #expect(ImageBackground("white") == .white)
        #expect(ImageBackground("Black") == .black)
        #expect(ImageBackground("drop") == .drop)
        #expect(ImageBackground("#1e90FF") == .color(red: 0x1E, green: 0x90, blue: 0xFF))
        for text in ["", "#", "#12345", "#1234567", "#12345g", "#+12345", "1e90ff", "grey"] {
            #expect(ImageBackground(text) == nil, "\(text)")
        }
    }
}
