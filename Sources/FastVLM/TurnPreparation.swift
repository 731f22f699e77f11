internal import Checkpoints
internal import Foundation
internal import Generation
internal import ImageInput
internal import Models
internal import StructuredOutput
internal import Synchronization
internal import Tensors
internal import Tokenization

/// One turn to answer, as it was asked.
struct Turn: Sendable {
    enum Content: Sendable {
        case question(String, images: [ImageSource])
        /// The last one is to be answered.
        case messages([Message])
    }

    var content: Content
    var options: GenerationOptions

    func messages() throws(GenerationError) -> [Message] {
        switch content {
        case .messages(let messages): return messages
        case .question(let text, let images):
            guard options.placesImages else { return [.user(text, images: images)] }
            return [try Message(parts: images, placedIn: text)]
        }
    }
}

/// One turn that the engine can answer: its text as tokens, its images as pixels or as visual tokens that are known.
struct PreparedTurn: Sendable {
    /// Refers to images by their place in `images`, in which none is twice.
    var prompt: Prompt
    var options: GenerationOptions
    /// What the answer is held to.
    var format: CompiledFormat?
    let admission: PreparationLimits.Admission
    var images: [TurnImage] = []
    /// The form of an image that the conversation had alone so far, where the turn's images change it.
    var first: GenerationRequest.Image?
    /// Whether an image of the turn is the only one of the conversation.
    var isAlone = true
    var durations = ImagePreparation.Durations()
    /// Time that the preparation took, without waiting for other requests.
    var elapsed: Duration = .zero
    fileprivate var claims: [WeightedSemaphore.Claim] = []
    /// Identities that were claimed for images that are not known.
    fileprivate var identities: [Int] = []

    /// Where each image that was given is among those that differ.
    fileprivate var places: [Int] = []
    /// How many images were given, the same one several times included.
    fileprivate var given: Int { places.count }

    /// What is worth knowing about the images' files, with their numbers when there are several.
    var remarks: [String] {
        images.flatMap { image in
            image.remarks.map { given > 1 ? "image \(image.number): \($0)" : $0 }
        }
    }

}

/// An image of a turn.
struct TurnImage: Sendable {
    let name: ImageName
    /// Its first place among the images that were given, from 1.
    let number: Int
    let content: GenerationRequest.Image
    /// What is worth knowing about its file.
    let remarks: [String]
    /// Its form among others, where it is encoded in another one.
    var amongOthers: PixelTensor?
}

/// Prepares turns beside the engine: many at once, within limits. Cancelling the calling task ends it, also while it
/// waits for a pipe or a slow file system.
final class TurnPreparation: Sendable {
    private let images: ImagePreparation
    private let template: ChatTemplate
    let tokenizer: Tokenizer
    private let network: VisionLanguageNetwork
    private let memory: ImageMemory
    private let formats: FormatCompiler
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
        formats = FormatCompiler(tokenizer, vocabulary: network.configuration.text.vocabularySize)
        self.limits = limits
        self.expected = Mutex(expected)
    }

    /// Reads and decodes what a turn needs, and waits until it may be worked on. To be followed by ``release(_:)``.
    /// - Parameters:
    ///   - conversation: must be at rest until the turn is over
    ///   - admission: of the request; what the turn itself gives is counted already
    ///   - queued: receives the turn's place among those that wait to be worked on, 1 for the next one
    func prepare(
        _ turn: Turn, in conversation: Conversation, admission: PreparationLimits.Admission,
        queued: @escaping @Sendable (Int) -> Void = { _ in }
    ) async throws -> PreparedTurn {
        let clock = ContinuousClock()
        let start = clock.now
        let history = conversation.hasAnswered ? [] : conversation.history
        try admission.bring(history.reduce(0) { $0 + $1.bytes })
        let messages = history + (try turn.messages())
        // A megabyte of text takes a tenth of a second.
        let bytes = messages.reduce(turn.options.system?.utf8.count ?? 0) { $0 + $1.textBytes }
        let prompt =
            bytes < 1 << 14
            ? try prompt(of: messages, system: turn.options.system, in: conversation)
            : try await offTaskThreads { _ in
                try self.prompt(of: messages, system: turn.options.system, in: conversation)
            }
        let sources = messages.flatMap(\.images)
        var request = GenerationRequest(prompt: prompt)
        turn.options.apply(to: &request)
        // Everything about the request that can be refused is refused before images are read.
        try request.validate(vocabulary: network.configuration.text.vocabularySize)
        try checkContext(
            prompt, before: conversation.positions(tokensPerImage: network.tokensPerImage))
        let format = try await compiled(turn.options.format, for: request)
        var prepared = PreparedTurn(
            prompt: prompt, options: turn.options, format: format, admission: admission)
        prepared.isAlone = conversation.imageCount + sources.count == 1
        if !sources.isEmpty, let pixels = conversation.amongOthers {
            prepared.first = .init(.pixels(pixels), identity: memory.newIdentity())
        }
        let planned = clock.now - start
        do {
            if sources.isEmpty {
                try await awaitTurn(&prepared, queued)
            } else {
                try await addImages(sources, to: &prepared, queued)
            }
        } catch {
            release(prepared)
            throw error
        }
        prepared.elapsed = planned + prepared.durations.decode + prepared.durations.preprocess
        return prepared
    }

    private func compiled(
        _ format: AnswerFormat?, for request: GenerationRequest
    ) async throws -> CompiledFormat? {
        guard let format else { return nil }
        let compiled = try await offTaskThreads { [formats] _ in try formats.compile(format) }
        try request.checkRoom(forAnswer: compiled.shortestAnswer)
        return compiled
    }

    /// A conversation that ends with an answer, its images as of ``prepare(_:in:admission:queued:)``. To be followed by
    /// ``release(_:)``.
    /// - Returns: the whole conversation, and the position at which the answer begins.
    func prepareAnswered(
        _ messages: [Message], _ options: GenerationOptions, admission: PreparationLimits.Admission
    ) async throws -> (turn: PreparedTurn, first: Int) {
        let (prompt, whole) = try await offTaskThreads { [template, tokenizer] _ in
            let pieces = try template.renderAnswered(Message.turns(messages, system: options.system))
            func prompt(_ pieces: [ChatTemplate.Piece]) throws -> Prompt {
                try Prompt(pieces, tokenizer: tokenizer, template: template, startsSequence: true)
            }
            return (try prompt(pieces.prompt), try prompt(pieces.whole))
        }
        try checkContext(whole, before: 0)
        var prepared = PreparedTurn(prompt: whole, options: options, admission: admission)
        let sources = messages.flatMap(\.images)
        prepared.isAlone = sources.count == 1
        do {
            if sources.isEmpty {
                try await awaitTurn(&prepared) { _ in }
            } else {
                try await addImages(sources, to: &prepared) { _ in }
            }
        } catch {
            release(prepared)
            throw error
        }
        // The prompt's images by their place among those that differ.
        let places = prepared.places
        let images = prepared.images
        let length = prompt.commonLength(with: whole) { index in
            guard places.indices.contains(index) else { return network.tokensPerImage }
            return network.positions(of: images[places[index]].content.content)
        }
        return (prepared, length)
    }

    /// Pixels of an image that is not part of a turn.
    /// - Parameter isEncoded: whether the engine will work on it, for which it waits
    func pixels(
        of source: ImageSource, isEncoded: Bool, admission: PreparationLimits.Admission
    ) async throws -> (pixels: PreparedPixels, durations: ImagePreparation.Durations, turn: PreparedTurn) {
        var prepared = PreparedTurn(
            prompt: Prompt(elements: []), options: GenerationOptions(), admission: admission)
        do {
            let files = try await read([source], for: &prepared)
            if isEncoded { try await awaitTurn(&prepared) { _ in } }
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

    private func awaitTurn(
        _ prepared: inout PreparedTurn, _ queued: @escaping @Sendable (Int) -> Void
    ) async throws {
        let place = limits.running.join(priority: prepared.options.priority, moved: queued)
        prepared.claims.append(place)
        try await place.granted()
    }

    // MARK: - Text

    /// - Parameter system: where the messages do not begin with a system prompt
    func prompt(
        of messages: [Message], system: String?, in conversation: Conversation? = nil
    ) throws(GenerationError) -> Prompt {
        let turns = try Message.turns(messages, system: conversation?.hasAnswered == true ? nil : system)
        guard conversation?.hasAnswered == true else {
            return try Prompt(
                template.render(turns), tokenizer: tokenizer, template: template, startsSequence: true)
        }
        guard turns.count == 1, let turn = turns.first, turn.role == .user else {
            throw .invalidConversation(reason: "a conversation goes on with one turn of the user's")
        }
        return try Prompt(
            template.render(next: turn, system: nil, answered: true), tokenizer: tokenizer,
            template: template,
            startsSequence: false)
    }

    private func checkContext(_ prompt: Prompt, before: Int) throws {
        let needed = before + prompt.length(tokensPerImage: network.tokensPerImage)
        let limit = network.configuration.maximumSequenceLength
        guard needed <= limit else { throw GenerationError.contextExceeded(needed: needed, limit: limit) }
    }

    /// Positions of each image of a conversation. Reads a file only where its size matters.
    func positions(of sources: [ImageSource]) throws -> [Int] {
        let configuration = network.configuration
        guard images.preprocessor.cutsTiles, let source = sources.first, sources.count == 1 else {
            let count = configuration.visualTokens(nil)
            return sources.map { _ in count }
        }
        var durations = ImagePreparation.Durations()
        let sides = try images.sides(
            images.read(source, durations: &durations, cancellation: Cancellation()))
        let arrangement = configuration.preprocessing.arrangement(height: sides.height, width: sides.width)
        return [configuration.visualTokens(arrangement)]
    }

    // MARK: - Images

    /// An image of a turn, before its pixels.
    private struct Given {
        let name: ImageName
        /// nil where the image is known by its key.
        let bytes: ImageBytes?
        var known: ImageMemory.Known?
    }

    /// Reads, recognises and decodes the images of a turn, each that occurs several times once.
    private func addImages(
        _ sources: [ImageSource], to prepared: inout PreparedTurn,
        _ queued: @escaping @Sendable (Int) -> Void
    ) async throws {
        let (given, places) = try await find(sources, for: &prepared)
        prepared.prompt = prepared.prompt.replacingImages { places.indices.contains($0) ? places[$0] : $0 }
        prepared.places = places
        try await awaitTurn(&prepared, queued)
        let images = given.map { image in
            var image = image
            image.known = image.known ?? memory.find(image.name)
            return image
        }
        let pixels = try await decode(
            images.compactMap { $0.known == nil ? $0.bytes : nil }, for: &prepared)
        var decoded = pixels.makeIterator()
        for (place, image) in images.enumerated() {
            let number = 1 + (places.firstIndex(of: place) ?? place)
            let pixels = image.known == nil ? decoded.next() : nil
            let identity = pixels.map { _ in memory.claimIdentity(of: image.name) }
            if let identity { prepared.identities.append(identity) }
            // Once more: it may have been encoded for another request meanwhile, whose identity is given up by now.
            if let known = image.known ?? memory.find(image.name) {
                prepared.images.append(
                    TurnImage(
                        name: image.name, number: number,
                        content: .init(.encoded(known.tokens), identity: known.identity),
                        remarks: known.remarks, amongOthers: known.amongOthers))
            } else if let pixels, let identity {
                prepared.images.append(
                    TurnImage(
                        name: image.name, number: number,
                        content: .init(.pixels(pixels.pixels), identity: identity),
                        remarks: pixels.remarks, amongOthers: pixels.amongOthers))
            }
        }
    }

    /// The different images among sources, and the place of each source among them. Reads what has to be read: two files
    /// may hold the same bytes, and one that is known by its key is not opened.
    private func find(
        _ sources: [ImageSource], for prepared: inout PreparedTurn
    ) async throws -> (images: [Given], places: [Int]) {
        var known: [String: ImageMemory.Known] = [:]
        var unread: [ImageSource] = []
        var placeOfUnread: [ImageSource: Int] = [:]
        for source in sources {
            if let key = source.key {
                if known[key] == nil { known[key] = memory.find(form(.key(key), in: prepared)) }
                if known[key] != nil { continue }
            }
            if placeOfUnread[source] == nil {
                placeOfUnread[source] = unread.count
                unread.append(source)
            }
        }
        let read = unread.isEmpty ? [] : try await read(unread, for: &prepared)
        var images: [Given] = []
        var placeOfName: [ImageName: Int] = [:]
        let places = sources.map { [prepared] source in
            let bytes = placeOfUnread[source].map { read[$0] }
            // Whatever has no key was read.
            let name = form(
                source.key.map(ImageName.key) ?? .bytes(bytes ?? ImageBytes(data: Data())), in: prepared)
            if let place = placeOfName[name] { return place }
            placeOfName[name] = images.count
            images.append(Given(name: name, bytes: bytes, known: source.key.flatMap { known[$0] }))
            return images.count - 1
        }
        return (images, places)
    }

    /// The name of what an image is encoded to.
    private func form(_ name: ImageName, in turn: PreparedTurn) -> ImageName {
        images.preprocessor.cutsTiles && !turn.isAlone ? .amongOthers(name) : name
    }

    /// The bytes of images, in order: files and pipes are read, and counted among what requests bring.
    private func read(
        _ sources: [ImageSource], for prepared: inout PreparedTurn
    ) async throws -> [ImageBytes] {
        let images = images
        guard sources.contains(where: \.isFile) else {
            return try sources.map {
                try images.read($0, durations: &prepared.durations, cancellation: Cancellation())
            }
        }
        let admission = prepared.admission
        // A file server may be slow to answer even this.
        let most = images.limits.fileBytes
        let size = try await onOwnThread { _ in
            // What is larger than the limit is refused by reading, and its size may be anything.
            sources.reduce(0) {
                $0 + ($1.fileBytes.map { min(max($0, PreparationLimits.leastFile), most) } ?? 0)
            }
        }
        if size > 0 {
            let claim = limits.bytes.join(size, priority: prepared.options.priority)
            prepared.claims.append(claim)
            try await claim.granted()
        }
        let (files, durations) = try await onOwnThread { cancellation in
            var durations = ImagePreparation.Durations()
            let files = try sources.map {
                try images.read($0, durations: &durations, cancellation: cancellation) { count in
                    try admission.bring(count)
                }
            }
            return (files, durations)
        }
        prepared.durations.decode += durations.decode
        return files
    }

    /// The pixels of files, in order.
    private func decode(
        _ files: [ImageBytes], for prepared: inout PreparedTurn
    ) async throws -> [PreparedPixels] {
        guard !files.isEmpty else { return [] }
        let isAlone = prepared.isAlone
        let ready = files.map { takeExpected($0, isAlone: isAlone) }
        let images = images
        let missing = zip(files, ready).filter { $0.1 == nil }.map(\.0)
        var decoded: [PreparedPixels] = []
        if !missing.isEmpty {
            let needed = try missing.map { try images.memory($0, isAlone: isAlone) }
            let pixelBytes = needed.reduce(0) { $0 + $1.pixels }
            let largest = needed.map(\.decoding).max() ?? 0
            let memory = limits.pixels.join(
                pixelBytes + largest, priority: prepared.options.priority)
            prepared.claims.append(memory)
            try await memory.granted()
            let turn = limits.decodings.join(priority: prepared.options.priority)
            defer { turn.release() }
            try await turn.granted()
            let durations: ImagePreparation.Durations
            (decoded, durations) = try await offTaskThreads { cancellation in
                var durations = ImagePreparation.Durations()
                let pixels = try missing.map {
                    try images.prepare(
                        $0, isAlone: isAlone, durations: &durations, cancellation: cancellation)
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

    private func takeExpected(_ bytes: ImageBytes, isAlone: Bool) -> PreparedPixels? {
        expected.withLock { expected in
            guard let place = expected.firstIndex(where: { $0.bytes == bytes }) else { return nil }
            let prepared = expected.remove(at: place).prepared
            guard !isAlone, let pixels = prepared.amongOthers else { return prepared }
            return PreparedPixels(pixels: pixels, remarks: prepared.remarks)
        }
    }
}

extension ImageSource {
    fileprivate var isFile: Bool {
        if case .file = content { true } else { false }
    }

    /// Of a regular file.
    fileprivate var fileBytes: Int? {
        if case .file(let url) = content { ImageFile(path: url.path).size } else { nil }
    }
}
