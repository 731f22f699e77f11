import Foundation
import ImageInput
import TestSupport
import Testing

@testable import FastVLM

@Suite("Images of any source")
struct ImageSourceTests {
    private let url = Fixture.url("models/images/image-0.png")

    private var options: GenerationOptions {
        var options = GenerationOptions()
        options.maximumTokens = 8
        return options
    }

    private func pixels() throws -> (image: ImageSource, width: Int, height: Int, rgb: Data) {
        let image = try ImageDecoder.decode(try Data(contentsOf: url))
        let rgb = Data(image.pixels)
        return (.pixels(width: image.width, height: image.height, rgb: rgb), image.width, image.height, rgb)
    }

    @Test("Pixels are what a PNG of them is, bit for bit, and remembered as an image is")
    func pixelsEqualFile() async throws {
        let model = try await load()
        let (image, _, _, _) = try pixels()
        let (given, decoded) = (try await model.encode(image), try await model.encode(.file(url)))
        #expect(given.features == decoded.features && given.projected == decoded.projected)
        #expect(given.remarks.isEmpty)
        let expected = try await model.answer("What?", images: [.file(url)], options: options)
        let first = try await model.answer("What?", images: [image, image], options: options)
        let again = try await model.answer("What?", images: [image], options: options)
        #expect(again.text == expected.text && again.timings.encode == 0)
        #expect(first.usage.imageTokens == 18 && first.timings.encode > 0)
        // Formats do not matter to what has none.
        let closed = try await load { $0.imageFormats = [] }
        #expect(try await closed.answer("What?", images: [image], options: options).text == expected.text)
    }

    @Test("Pixels that do not fit, or are beyond a limit, are refused")
    func refusedPixels() async throws {
        let (_, width, height, rgb) = try pixels()
        let model = try await load()
        let small = try await load { $0.maximumSide = max(width, height) - 1 }
        let few = try await load { $0.maximumPixels = width * height - 1 }
        let image = ImageSource.pixels(width: width, height: height, rgb: rgb)
        let file = try await load { $0.maximumFileBytes = 100 }
        let cases: [(VisionLanguageModel, ImageSource, FastVLMError.Code, limit: String?)] = [
            (model, .pixels(width: width, height: height + 1, rgb: rgb), .invalidImage, nil),
            (model, .pixels(width: 0, height: 0, rgb: Data()), .invalidImage, nil),
            (model, .pixels(width: .max, height: 2, rgb: rgb), .invalidImage, nil),
            (model, .pixels(width: -width, height: -height, rgb: rgb), .invalidImage, nil),
            (small, image, .imageTooLarge, "maximumSide"), (few, image, .imageTooLarge, "maximumPixels"),
            (file, .file(url), .imageTooLarge, "maximumFileBytes"),
        ]
        for (model, image, code, limit) in cases {
            let error = await #expect(throws: FastVLMError.self) { try await model.check(image) }
            #expect(error?.code == code && error?.kind == .image && error?.option == limit)
        }
    }

    @Test("An image with a key is neither read nor decoded while it is remembered")
    func keys() async throws {
        let model = try await load { $0.keyValueBytes = 0 }
        let folder = FileManager.default.temporaryDirectory.appending(path: "keys-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let copy = folder.appending(path: "frame.png")
        try FileManager.default.copyItem(at: url, to: copy)
        let frame = ImageSource.file(copy).keyed("frame-1")
        #expect(frame.key == "frame-1" && frame != .file(copy))
        let first = try await model.answer("What?", images: [frame], options: options)
        #expect(first.timings.encode > 0)
        try FileManager.default.removeItem(at: copy)
        let second = try await model.answer("What?", images: [frame, frame], options: options)
        #expect(
            second.timings.encode == 0 && second.timings.decodeImage == 0 && second.usage.imageTokens == 18)
        // The caller's word counts, whatever is given with it.
        let other = ImageSource.data(Data("no image".utf8)).keyed("frame-1")
        let third = try await model.answer("What?", images: [other], options: options)
        #expect(third.text == first.text && third.timings.encode == 0)
        // Another key, and no key, are other images.
        for unknown in [ImageSource.file(copy).keyed("frame-2"), .file(copy)] {
            let error = await #expect(throws: FastVLMError.self) {
                try await model.answer("What?", images: [unknown], options: options)
            }
            #expect(error?.code == .unreadableImage)
        }
        await model.forget()
        let error = await #expect(throws: FastVLMError.self) {
            try await model.answer("What?", images: [frame], options: options)
        }
        #expect(error?.code == .unreadableImage)
    }

    @Test("Images with keys among others in one question stand where they were given")
    func mixed() async throws {
        let other = Fixture.url("models/images/image-1.png")
        let model = try await load()
        let plain = try await load { $0.rememberedImages = 0 }
        let expected = try await plain.answer(
            "What?", images: [.file(other), .file(url), .file(other)], options: options)
        _ = try await model.answer("Known.", images: [.file(url).keyed("a")], options: options)
        let got = try await model.answer(
            "What?", images: [.file(other), .file(url).keyed("a"), .data(Data(contentsOf: other))],
            options: options)
        #expect(got.text == expected.text && got.usage.imageTokens == 27)
    }
}
