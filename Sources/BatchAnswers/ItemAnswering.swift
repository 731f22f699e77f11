package import FastVLM
internal import Foundation
package import MediaFetch
internal import RequestTranslation
internal import SystemFiles
internal import WireFormats

/// Takes an item to its record.
package struct ItemAnswering: Sendable {
    private let model: VisionLanguageModel
    private let modelName: String
    private let folder: String
    private let fetcher: MediaFetcher?
    private let options: GenerationOptions
    private let includesTimings: Bool

    /// - Parameters:
    ///   - modelName: what OpenAI's form calls the model
    ///   - folder: that relative paths of images begin in
    ///   - fetcher: of images whose addresses items name; nil refuses them
    ///   - options: where an item says nothing else
    ///   - includesTimings: whether records hold what differs from run to run
    package init(
        _ model: VisionLanguageModel, named modelName: String, folder: String,
        fetcher: MediaFetcher? = nil, options: GenerationOptions = GenerationOptions(),
        includesTimings: Bool = true
    ) {
        self.model = model
        self.modelName = modelName
        self.folder = folder
        self.fetcher = fetcher
        self.options = options
        self.includesTimings = includesTimings
    }

    /// - Throws: `CancellationError`; whatever else goes wrong is the record's.
    package func record(_ item: BatchItem) async throws -> BatchRecord {
        let start = ContinuousClock.now
        do {
            let request = try item.request.get()
            var options = options
            options.apply(request.parameters)
            options.requestID = item.id?.description ?? "line \(item.line)"
            let messages = try await request.messages(source)
            let answer = try await model.answer(messages: messages, options: options)
            let elapsed = (ContinuousClock.now - start) / .seconds(1)
            var record = try BatchRecord(item, content(answer, options, request.remarks, elapsed))
            record.ignored = request.ignored
            return record
        } catch is CancellationError {
            throw CancellationError()
        } catch let error as MediaFetchError where error.code == .cancelled {
            throw CancellationError()
        } catch {
            var record = try BatchRecord(item, BatchFailure(error))
            if case .success(let request) = item.request { record.ignored = request.ignored }
            return record
        }
    }

    private func content(
        _ answer: Answer, _ options: GenerationOptions, _ remarks: [String], _ elapsed: Double
    ) -> BatchRecord.Content {
        let numbers = AnswerNumbers([answer], queue: max(elapsed - answer.timings.total, 0))
        var usage = numbers.usage
        // How much of a prompt was there already depends on the company.
        if !includesTimings { usage.promptTokensDetails = nil }
        return BatchRecord.Content(
            text: answer.text, finishReason: answer.finishReason.rawValue, usage: usage,
            timings: includesTimings ? ItemTimings(answer.timings) : nil,
            stages: includesTimings ? numbers.timings : nil,
            logprobs: options.logProbabilities.map { _ in model.logProbabilities(answer.tokens) },
            remarks: remarks + answer.remarks, model: modelName,
            created: includesTimings ? Int(Date().timeIntervalSince1970) : 0)
    }

    private func source(_ image: WireFormats.ImageReference) async throws -> ImageSource {
        switch image {
        case .data(let data): return .data(data)
        case .address(let address):
            guard let fetcher else {
                throw BatchFailure(
                    "remote_images_disabled",
                    "addresses are not fetched; give the file itself, or start with --allow-remote-images")
            }
            return .data(Data(try await fetcher.image(at: address)))
        case .file(let name):
            let path = name.hasPrefix("/") ? name : "\(folder)/\(name)"
            // A pipe would hold up the whole batch until somebody writes to it.
            guard FileIdentity.isRegularOrMissing(path) else {
                throw BatchFailure("unreadable_image", "cannot read '\(name)': it is not a regular file")
            }
            return .file(URL(filePath: path))
        }
    }
}

extension ItemTimings {
    init(_ timings: Timings) {
        func rounded(_ seconds: Double) -> Double { (seconds * 1e6).rounded() / 1e6 }
        self.init(
            decodeImage: rounded(timings.decodeImage), preprocess: rounded(timings.preprocess),
            encode: rounded(timings.encode), project: rounded(timings.project),
            prefill: rounded(timings.prefill), timeToFirstToken: rounded(timings.timeToFirstToken),
            total: rounded(timings.total), tokensPerSecond: rounded(timings.tokensPerSecond))
    }
}

extension BatchFailure {
    init(_ error: any Error) {
        switch error {
        case let failure as BatchFailure: self = failure
        case let error as FastVLMError:
            self.init(
                Self.code(error.code), "\(error)", parameter: error.option,
                status: error.kind == .request || error.kind == .image ? 400 : 500)
        case let error as MediaFetchError:
            let details = error.details.isEmpty ? "" : " (\(error.details))"
            self.init(error.code.rawValue, "the address of the image \(error.description)\(details)")
        case let error as RequestError: self.init(error)
        default: self.init("internal_error", "\(error)", status: 500)
        }
    }

    /// The library's codes as the interfaces write codes: `invalidImage` is `invalid_image`.
    private static func code(_ code: FastVLMError.Code) -> String {
        if code == .contextExceeded { return "context_length_exceeded" }
        return code.rawValue.reduce(into: "") { text, character in
            text += character.isUppercase ? "_" + character.lowercased() : String(character)
        }
    }
}
