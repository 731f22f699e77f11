import FastVLM
import FastVLMEmbedded
import Foundation
import Testing

@Suite("Image formats are the caller's choice")
struct ImageFormatTests {
    /// A BMP of one green pixel: a format that every build has and none of the web's.
    private static let bitmap = Data(
        Array("BM".utf8) + [
            58, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 24, 0,
        ]
            + [UInt8](repeating: 0, count: 24) + [0, 128, 0, 0])

    @Test("the web's formats are the default, others are refused until they are asked for")
    func choice() async throws {
        #expect(LoadOptions().imageFormats == [.jpeg, .png, .webp, .portableAnymap])
        let careful = try await VisionLanguageModel(contentsOf: .embedded)
        let error = await #expect(throws: FastVLMError.self) {
            _ = try await careful.answer("What is this?", images: [.data(Self.bitmap)])
        }
        #expect(error.map { "\($0)" }?.contains("add .bmp to LoadOptions.imageFormats") == true)
        var options = LoadOptions()
        options.imageFormats = LoadOptions.ImageFormat.built
        let open = try await VisionLanguageModel(contentsOf: .embedded, options: options)
        let answer = try await open.answer("What is this?", images: [.data(Self.bitmap)])
        #expect(!answer.text.isEmpty)
    }

    @Test("what is built holds the web's formats, and every format has endings of its own")
    func built() {
        #expect(LoadOptions.ImageFormat.built.isSuperset(of: LoadOptions.ImageFormat.web))
        #expect(LoadOptions.ImageFormat.built.contains(.bmp))
        let endings = LoadOptions.ImageFormat.allCases.flatMap(\.fileExtensions)
        #expect(Set(endings).count == endings.count)
        for ending in ["gif", "bmp", "tif", "tiff", "heic", "heif", "avif", "jpg", "png", "webp", "pbm"] {
            #expect(endings.contains(ending), "\(ending)")
        }
    }
}
