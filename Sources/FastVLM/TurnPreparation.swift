internal import Checkpoints
internal import Foundation
internal import Generation
internal import ImageInput
internal import Models
internal import Synchronization
internal import Tensors
internal import Tokenization

/// One turn to answer, as it was asked.
struct Turn: Sendable {
    var text: String
    var images: [ImageSource]
    var options: GenerationOptions
}

/// One turn that the engine can answer: its text as tokens, its images as pixels or as visual tokens that are known.
struct PreparedTurn: Sendable {
    /// Refers to images by their place in `images`, in which none is twice.
    var prompt: Prompt
    var options: GenerationOptions
    var images: [TurnImage] = []
    var durations = ImagePreparation.Durations()
    /// Time that the preparation took, without waiting for other requests.
    var elapsed: Duration = .zero
    fileprivate var claims: [WeightedSemaphore.Claim] = []
    /// Identities that were claimed for images that are not known.
    fileprivate var identities: [Int] = []

    /// How many images were given, the same one several times included.
    fileprivate var given = 0

    /// What is worth knowing about the images' files, with their numbers when there are several.
    var remarks: [String] {
        images.flatMap { image in
            image.remarks.map { given > 1 ? "image \(image.number): \($0)" : $0 }
        }
    }

}

/// An image of a turn.
struct TurnImage: Sendable {
    /// Of its file.
    let bytes: Data
    /// Its first place among the images that were given, from 1.
    let number: Int
    let content: GenerationRequest.Image
    /// What is worth knowing about its file.
    let remarks: [String]
}

/// What requests that are not finished may have at once. Each is claimed once per request, in the order of the
/// declarations, so that no two requests can wait for each other.
struct PreparationLimits: Sendable {
    /// Requests that wait for their turn.
    let waiting: RequestCounter
    /// Bytes of image files that were read.
    let files = WeightedSemaphore(256 << 20)
    /// Requests that are worked on. Those that wait have the bytes of their image files only.
    let running: WeightedSemaphore
    /// Bytes of pictures that are decoded, and of pixels.
    let pixels = WeightedSemaphore(1 << 30)
    /// Requests whose images are being decoded.
    let decodings = WeightedSemaphore(ProcessInfo.processInfo.activeProcessorCount)

    /// A file that is open takes more than its bytes.
    static let leastFile = 1 << 20

    /// - Parameters:
    ///   - running: requests that are worked on at once
    ///   - waiting: requests that may wait beside them
    init(running: Int, waiting: Int) {
        self.running = WeightedSemaphore(running)
        self.waiting = RequestCounter(most: waiting)
    }
}

/// Counts requests up to a bound.
final class RequestCounter: Sendable {
    private let most: Int
    private let count = Mutex(0)

    init(most: Int) { self.most = most }

    /// - Throws: `FastVLMError` with the code `overloaded` when there are as many as there may be.
    func enter() throws {
        try count.withLock { count in
            guard count < most else {
                throw FastVLMError(
                    .system, "too many requests wait already (\(most)); try again later", code: .overloaded)
            }
            count += 1
        }
    }

    func leave() { count.withLock { $0 -= 1 } }
}

/// Prepares turns beside the engine: many at once, within limits. Cancelling the calling task ends it, also while it
/// waits for a pipe or a slow file system.
final class TurnPreparation: Sendable {
    private let images: ImagePreparation
    private let template: ChatTemplate
    private let tokenizer: Tokenizer
    private let network: VisionLanguageNetwork
    private let memory: ImageMemory
    let limits: PreparationLimits
    /// Images that were expected while loading and not asked about yet.
    private let expected: Mutex<[PreparedImage]>

    init(
        images: ImagePreparation, template: ChatTemplate, tokenizer: Tokenizer,
        network: VisionLanguageNetwork,
        memory: ImageMemory, limits: PreparationLimits, expected: [PreparedImage]
    ) {
        self.images = images
        self.template = template
        self.tokenizer = tokenizer
        self.network = network
        self.memory = memory
        self.limits = limits
        self.expected = Mutex(expected)
    }

    /// Reads and decodes what a turn needs, and waits until it may be worked on. To be followed by ``release(_:)``.
    /// - Parameter conversation: must be at rest until the turn is over.
    func prepare(_ turn: Turn, in conversation: Conversation) async throws -> PreparedTurn {
        let clock = ContinuousClock()
        let start = clock.now
        // A megabyte of text takes a tenth of a second.
        let prompt =
            turn.text.utf8.count + (turn.options.system?.utf8.count ?? 0) < 1 << 14
            ? try prompt(for: turn, in: conversation)
            : try await offTaskThreads { _ in try self.prompt(for: turn, in: conversation) }
        var request = GenerationRequest(prompt: prompt)
        turn.options.apply(to: &request)
        // Everything about the request that can be refused is refused before images are read.
        try request.validate()
        try checkContext(
            prompt, before: conversation.positions(tokensPerImage: network.tokensPerImage))
        var prepared = PreparedTurn(prompt: prompt, options: turn.options)
        let planned = clock.now - start
        do {
            if turn.images.isEmpty {
                try await awaitTurn(&prepared)
            } else {
                try await addImages(turn.images, to: &prepared)
            }
        } catch {
            release(prepared)
            throw error
        }
        prepared.elapsed = planned + prepared.durations.decode + prepared.durations.preprocess
        return prepared
    }

    /// Pixels of an image that is not part of a turn.
    func pixels(
        of source: ImageSource
    ) async throws -> (pixels: PreparedPixels, durations: ImagePreparation.Durations, turn: PreparedTurn) {
        var prepared = PreparedTurn(prompt: Prompt(elements: []), options: GenerationOptions())
        do {
            let files = try await read([source], for: &prepared)
            try await awaitTurn(&prepared)
            let pixels = try await decode(files, for: &prepared)
            guard let first = pixels.first else { throw CancellationError() }
            return (first, prepared.durations, prepared)
        } catch {
            release(prepared)
            throw error
        }
    }

    /// To be called once the turn is over.
    func release(_ turn: PreparedTurn) {
        for claim in turn.claims { claim.release() }
        for identity in turn.identities { memory.release(identity: identity) }
    }

    func forget() { expected.withLock { $0 = [] } }

    private func awaitTurn(_ prepared: inout PreparedTurn) async throws {
        let place = limits.running.join()
        prepared.claims.append(place)
        try await place.granted()
    }

    // MARK: - Text

    private func prompt(for turn: Turn, in conversation: Conversation) throws -> Prompt {
        guard !turn.text.isEmpty || !turn.images.isEmpty else { throw GenerationError.emptyPrompt }
        let message =
            turn.options.placesImages
            ? try Message.user(placing: turn.text, images: turn.images.indices)
            : Message.user(turn.text, images: turn.images.indices)
        let pieces = template.render(
            next: message, system: turn.options.system, answered: conversation.hasAnswered)
        return try Prompt(
            pieces, tokenizer: tokenizer, template: template,
            startsSequence: !conversation.hasAnswered)
    }

    private func checkContext(_ prompt: Prompt, before: Int) throws {
        let needed = before + prompt.length(tokensPerImage: network.tokensPerImage)
        let limit = network.configuration.maximumSequenceLength
        guard needed <= limit else { throw GenerationError.contextExceeded(needed: needed, limit: limit) }
    }

    // MARK: - Images

    /// Reads, recognises and decodes the images of a turn, each that occurs several times once.
    private func addImages(_ sources: [ImageSource], to prepared: inout PreparedTurn) async throws {
        var distinct: [ImageSource] = []
        var placeOfSource: [ImageSource: Int] = [:]
        for source in sources where placeOfSource[source] == nil {
            placeOfSource[source] = distinct.count
            distinct.append(source)
        }
        var files: [Data] = []
        // Two files may hold the same bytes.
        var placeOfFile: [Data: Int] = [:]
        var placeOfDistinct: [Int] = []
        for bytes in try await read(distinct, for: &prepared) {
            let place = placeOfFile[bytes] ?? files.count
            if place == files.count {
                placeOfFile[bytes] = place
                files.append(bytes)
            }
            placeOfDistinct.append(place)
        }
        prepared.prompt = prepared.prompt.replacingImages { index in
            sources.indices.contains(index)
                ? placeOfSource[sources[index]].map { placeOfDistinct[$0] } ?? index : index
        }
        let numbers = files.indices.map { file in
            1 + (sources.firstIndex { placeOfSource[$0].map { placeOfDistinct[$0] } == file } ?? file)
        }
        prepared.given = sources.count
        try await awaitTurn(&prepared)
        let known = files.map { memory.find($0) }
        let pixels = try await decode(
            zip(files, known).filter { $0.1 == nil }.map(\.0), for: &prepared)
        var decoded = pixels.makeIterator()
        for (number, (bytes, known)) in zip(numbers, zip(files, known)) {
            if let known {
                prepared.images.append(
                    TurnImage(
                        bytes: bytes, number: number,
                        content: .init(.encoded(known.tokens), identity: known.identity),
                        remarks: known.remarks))
            } else if let pixels = decoded.next() {
                let identity = memory.claimIdentity(of: bytes)
                prepared.identities.append(identity)
                prepared.images.append(
                    TurnImage(
                        bytes: bytes, number: number,
                        content: .init(.pixels(pixels.pixels), identity: identity),
                        remarks: pixels.remarks))
            }
        }
    }

    /// The bytes of files, in order.
    private func read(_ sources: [ImageSource], for prepared: inout PreparedTurn) async throws -> [Data] {
        let images = images
        guard sources.contains(where: \.isFile) else {
            return try sources.map {
                try images.read($0, durations: &prepared.durations, cancellation: Cancellation())
            }
        }
        // A file server may be slow to answer even this.
        let most = images.limits.fileBytes
        let size = try await onOwnThread { _ in
            // What is larger than the limit is refused by reading, and its size may be anything.
            sources.reduce(0) {
                $0 + ($1.fileBytes.map { min(max($0, PreparationLimits.leastFile), most) } ?? 0)
            }
        }
        let claim = limits.files.join(size)
        prepared.claims.append(claim)
        try await claim.granted()
        let (files, durations) = try await onOwnThread { cancellation in
            var durations = ImagePreparation.Durations()
            let files = try sources.map {
                try images.read($0, durations: &durations, cancellation: cancellation)
            }
            return (files, durations)
        }
        prepared.durations.decode += durations.decode
        return files
    }

    /// The pixels of files, in order.
    private func decode(_ files: [Data], for prepared: inout PreparedTurn) async throws -> [PreparedPixels] {
        guard !files.isEmpty else { return [] }
        let ready = files.map(takeExpected)
        let images = images
        let missing = zip(files, ready).filter { $0.1 == nil }.map(\.0)
        var decoded: [PreparedPixels] = []
        if !missing.isEmpty {
            let pixelBytes = missing.count * images.pixelBytes
            let largest = try missing.map { try images.decodingBytes($0) }.max() ?? 0
            let memory = limits.pixels.join(pixelBytes + largest)
            prepared.claims.append(memory)
            try await memory.granted()
            let turn = limits.decodings.join()
            defer { turn.release() }
            try await turn.granted()
            let durations: ImagePreparation.Durations
            (decoded, durations) = try await offTaskThreads { cancellation in
                var durations = ImagePreparation.Durations()
                let pixels = try missing.map {
                    try images.prepare($0, durations: &durations, cancellation: cancellation)
                }
                return (pixels, durations)
            }
            memory.reduce(to: pixelBytes)
            prepared.durations.decode += durations.decode
            prepared.durations.preprocess += durations.preprocess
        }
        var others = decoded.makeIterator()
        return ready.compactMap { $0 ?? others.next() }
    }

    private func takeExpected(_ bytes: Data) -> PreparedPixels? {
        expected.withLock { expected in
            guard let place = expected.firstIndex(where: { $0.bytes == bytes }) else { return nil }
            return expected.remove(at: place).prepared
        }
    }
}

extension ImageSource {
    fileprivate var isFile: Bool {
        if case .file = self { true } else { false }
    }

    /// Of a regular file.
    fileprivate var fileBytes: Int? {
        if case .file(let url) = self { ImageFile(path: url.path).size } else { nil }
    }
}
