#if os(Linux)
    import FastVLM
    import FastVLMEmbedded
    import Foundation
    import TestSupport
    import Testing

    /// `make soak` (THOUSANDS=10): what a server holds after thousands of requests of all kinds.
    @Suite("Soak", .enabled(if: ProcessInfo.processInfo.environment["FASTVLM_SOAK"] != nil))
    struct SoakTests {
        /// Most megabytes that a process may grow by between the first thousand requests and the last.
        private static let bound = 16.0

        private static var thousands: Int {
            max(ProcessInfo.processInfo.environment["FASTVLM_SOAK"].flatMap(Int.init) ?? 10, 2)
        }

        private static var residentMegabytes: Double {
            let pages =
                (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?
                .split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0
            return pages * Double(sysconf(Int32(_SC_PAGESIZE))) / 1e6
        }

        private static func images() throws -> [URL] {
            let samples = Fixture.root.deletingLastPathComponent().deletingLastPathComponent()
                .appending(path: "Samples")
            return try FileManager.default.contentsOfDirectory(at: samples, includingPropertiesForKeys: nil)
                .filter { ["jpg", "png", "webp"].contains($0.pathExtension) }
                .sorted { $0.path < $1.path }
        }

        @Test("Thousands of requests of mixed kinds hold no more than the first thousand")
        func requests() async throws {
            var options = LoadOptions()
            options.precision = .int8
            options.keyValueBytes = 16 << 20
            options.rememberedImages = 4
            let model = try await VisionLanguageModel(contentsOf: .embedded, options: options)
            let images = try Self.images()
            try #require(images.count > 8)
            var measured: [Double] = []
            for thousand in 0..<Self.thousands {
                await withTaskGroup(of: Void.self) { group in
                    for worker in 0..<16 {
                        group.addTask {
                            var random = SystemNumbers(state: UInt64(thousand * 16 + worker))
                            for _ in 0..<63 { await Self.request(model, images, &random) }
                        }
                    }
                }
                measured.append(Self.residentMegabytes)
                print("\((thousand + 1) * 1008) requests: \(Int(Self.residentMegabytes)) MB resident")
            }
            let growth = (measured.last ?? 0) - (measured.first ?? 0)
            print("growth after the first thousand: \(growth) MB")
            #expect(growth <= Self.bound)
        }

        private static func request(
            _ model: VisionLanguageModel, _ images: [URL], _ random: inout SystemNumbers
        ) async {
            var options = GenerationOptions()
            options.maximumTokens = 1 + Int(random.next() % 24)
            if random.next() % 3 == 0 {
                options.temperature = 0.8
                options.seed = random.next()
            }
            let picture = images[Int(random.next() % UInt64(images.count))]
            let words = String(repeating: "word ", count: Int(random.next() % 60))
            switch random.next() % 8 {
            case 0: _ = try? await model.answer("\(words)What is this?", options: options)
            case 1:
                let chat = model.chat()
                _ = try? await chat.answer("What is this?", images: [.file(picture)], options: options)
                _ = try? await chat.answer("\(words)And why?", options: options)
            case 2:
                // Left in the middle.
                do {
                    for try await _ in model.stream(
                        "Tell me.", images: [.file(picture)], options: options)
                    { break }
                } catch {}
            case 3:
                options.timeLimit = .milliseconds(Int64(random.next() % 40))
                _ = try? await model.answer(words, images: [.file(picture)], options: options)
            case 4:
                let task = Task { [options] in
                    try await model.answer("What?", images: [.file(picture)], options: options)
                }
                try? await Task.sleep(for: .milliseconds(Int64(random.next() % 30)))
                task.cancel()
                _ = try? await task.value
            case 5:
                _ = try? await model.answer(
                    "Broken", images: [.data(Data("no image".utf8))], options: options)
            default: _ = try? await model.answer("\(words)?", images: [.file(picture)], options: options)
            }
        }
    }

    private struct SystemNumbers {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
    }
#endif
