internal import Checkpoints
package import ImageInput
package import Models
internal import StructuredOutput
package import Tensors
package import Tokenization

/// Runs the networks for several requests at once, step by step: see ``Scheduler`` for what a step is.
///
/// What a request answers does not depend on the other ones. Owns the scratch memory, hence not Sendable: whoever wants to
/// share it puts it into an actor.
package final class GenerationEngine {
    package let network: VisionLanguageNetwork
    package let tokenizer: Tokenizer
    package let pool: BlockPool
    /// Visual tokens that are remembered elsewhere, by the identity of their image.
    package var rememberedTokens: (Int) -> Tensor? = { _ in nil }
    /// Called before the rows of a step are computed; what it throws is the step's failure, as where memory is short.
    package var willCompute: () throws -> Void = {}
    let baseCompute: Compute
    /// For what belongs to several sequences; made anew when there was no memory.
    private var compute: Compute
    var encodingCompute: Compute
    private let workspace = Workspace()
    /// Vocabulary rows that the tokenizer knows: those beyond are padding and never sampled.
    private let usableVocabulary: Int

    /// In the order in which they came.
    var sequences: [GenerationSequence] = []
    private var nextID = 0
    private var stepNumber = 0
    private var scheduler = Scheduler()
    var candidates: [Scheduler.Candidate] = []
    private var plan = Scheduler.Plan()
    private let batch = DecoderBatch()
    private var stepped: [GenerationSequence] = []
    private var tokenIDs: [Int] = []
    let clock = ContinuousClock()
    let encodings: ImageEncodings
    private var scorings: [Scoring] = []

    /// - Parameters:
    ///   - keyValueBytes: most bytes of keys and values, of running sequences and remembered ones; a single sequence may
    ///     take more
    ///   - usableVocabulary: ids below it may be chosen; nil for those that the tokenizer knows
    package init(
        network: VisionLanguageNetwork, tokenizer: Tokenizer, compute: Compute,
        keyValueBytes: Int = 256 << 20, usableVocabulary: Int? = nil
    ) {
        self.network = network
        self.tokenizer = tokenizer
        baseCompute = compute
        self.compute = compute.withCancellation(nil)
        encodingCompute = compute.withCancellation(nil)
        pool = BlockPool(
            network.decoder.keyValueShape, byteLimit: keyValueBytes,
            longestSequence: network.configuration.maximumSequenceLength)
        encodings = ImageEncodings(network)
        self.usableVocabulary = min(
            network.configuration.text.vocabularySize, usableVocabulary ?? tokenizer.vocabularyCount)
    }

    /// Whether answers that have begun halt for images and prompts, to go on together (``Scheduler/Limits``).
    package var prefersThroughput: Bool {
        get { !scheduler.limits.decodesBesideOthers }
        set { scheduler.limits.decodesBesideOthers = !newValue }
    }
    /// The longest sequence that the model was made for.
    package var contextLimit: Int { network.configuration.maximumSequenceLength }
    /// Requests that are not finished.
    package var requestCount: Int { sequences.count + encodings.requestCount + scorings.count }
    /// Sequences with rows in the step that was done last.
    package var sequencesInStep: Int { plan.decoding.count + (plan.prefilling == nil ? 0 : 1) }
    /// Bytes of scratch memory held for the next step.
    package var scratchBytes: Int { workspace.capacityBytes + encodings.scratchBytes }

    // MARK: - Requests

    /// Adds a request, to be worked on by ``step()``.
    /// - Parameters:
    ///   - cancellation: once raised, the request ends with `TensorError.cancelled` at the next step
    ///   - events: called while steps run; `.finished` is the last event
    /// - Throws: `GenerationError` for what can be checked before any work; there are no events then.
    package func add(
        _ request: GenerationRequest, cancellation: Cancellation,
        events: @escaping (GenerationEvent) -> Void
    ) throws(GenerationError) {
        try request.validate(vocabulary: network.configuration.text.vocabularySize)
        let (keys, images) = try layOut(request)
        guard !keys.isEmpty else { throw .emptyPrompt }
        // The last token generated needs no position of its own.
        let remaining = contextLimit - keys.count + 1
        guard remaining > 0 else { throw .contextExceeded(needed: keys.count, limit: contextLimit) }
        // A placeholder for an image means nothing in an answer.
        let sampler = try Sampler(
            request.sampling, history: request.prompt.tokenIDs,
            masked: [network.configuration.imageTokenID].compactMap { $0 }, kernels: baseCompute.sampling)
        let text = try AnswerText(tokenizer, stops: request.stopStrings)
        let constraint = try constraint(for: request, prompt: keys.count)
        sequences.append(
            GenerationSequence(
                id: newID(), request: request, keys: keys, images: images,
                limit: min(request.maximumTokens, remaining), sampler: sampler, constraint: constraint,
                text: text, lease: BlockPool.Lease(pool.shape),
                compute: baseCompute.withCancellation(cancellation),
                cancellation: cancellation, events: events))
    }

    /// Adds an image to be encoded without a prompt.
    /// - Parameter completion: receives the features [tokens, channels] and their projection [tokens, hidden size]
    package func addEncoding(
        _ pixels: PixelTensor, cancellation: Cancellation,
        completion: @escaping (Result<ImageEncodings.Output, any Error>) -> Void
    ) {
        encodings.add(
            .init(id: newID(), pixels: pixels, cancellation: cancellation, completion: completion))
    }

    func add(_ scoring: Scoring) { scorings.append(scoring) }

    /// For what is not an answer.
    var scoringCompute: Compute { baseCompute }

    /// What each position of a request's prompt holds.
    func keys(of request: GenerationRequest) throws(GenerationError) -> [PositionKey] {
        try layOut(request).keys
    }

    private func newID() -> Int {
        defer { nextID += 1 }
        return nextID
    }

    /// What each position of a prompt holds.
    private func layOut(
        _ request: GenerationRequest
    ) throws(GenerationError) -> (keys: [PositionKey], images: [GenerationSequence.Image]) {
        var images = request.images.map { image in
            // Beyond what callers give.
            GenerationSequence.Image(identity: image.identity ?? 1 << 42 | newID(), content: image.content)
        }
        var keys: [PositionKey] = []
        for element in request.prompt.elements {
            switch element {
            case .tokens(let ids):
                guard ids.allSatisfy({ (0..<network.configuration.text.vocabularySize).contains($0) }) else {
                    throw .invalidOption(
                        name: "prompt", expected: "token ids of the vocabulary", got: "an id beyond it")
                }
                keys += ids.map { .token($0) }
            case .image(let index):
                let count = images.indices.contains(index) ? network.positions(of: images[index].content) : 0
                guard (1...PositionKey.largestImage).contains(count) else {
                    throw .invalidOption(
                        name: "prompt", expected: "images that were given", got: "one beyond them")
                }
                let identity = images[index].identity
                keys += (0..<count).map { .image(identity, $0) }
                let last = keys.count - 1
                images[index].positions = (images[index].positions?.lowerBound ?? last + 1 - count)...last
            }
        }
        return (keys, images)
    }

    // MARK: - Steps

    /// Does the next step.
    /// - Returns: whether there is more to do.
    package func step() -> Bool {
        stepNumber += 1
        sweep()
        propose()
        scheduler.plan(candidates, into: &plan)
        countWaiting()
        // An image before the decoder: between two tokens of an answer there is one of the two, not both.
        if let id = plan.encoding { encode(for: id) }
        if !plan.decoding.isEmpty || plan.prefilling != nil { decode() }
        // The scoring that came first gets a chunk of each step; beside answers one as small as of a prompt.
        let rows = sequences.isEmpty ? Int.max : scheduler.limits.rowsBeside
        if let scoring = scorings.first, scoring.step(rows: rows) { scorings.removeFirst() }
        return requestCount > 0
    }

    /// Ends what was cancelled or is late.
    private func sweep() {
        encodings.sweep()
        scorings.removeAll { $0.endIfCancelled() }
        let now = clock.now
        for sequence in sequences {
            if sequence.cancellation.isCancelled {
                finish(sequence, TensorError.cancelled)
            } else if let deadline = sequence.request.deadline, deadline <= now {
                finish(sequence, GenerationError.deadlineExceeded)
            }
        }
    }

    /// Tells the scheduler what everybody needs.
    private func propose() {
        candidates.removeAll(keepingCapacity: true)
        let isBusy = sequences.contains { $0.hasBegun }
        // Of somebody who waits for blocks: whoever came later must not take them.
        var waitingPriority: Int?
        for sequence in sequences {
            if isBusy, !sequence.hasBegun {
                if sequence.preemptedInStep != nil,
                    pool.availablePositions < sequence.keys.count + BlockPool.blockPositions
                {
                    waitingPriority = max(waitingPriority ?? .min, sequence.request.priority)
                    continue
                }
                if let waitingPriority, sequence.request.priority <= waitingPriority { continue }
            }
            sequence.ready =
                sequence.hasBegun
                ? sequence.computed : pool.positions(rememberedOf: sequence.keys.dropLast())
            if sequence.imageToEncode(from: sequence.ready) != nil { findTokens(for: sequence) }
            candidates.append(
                Scheduler.Candidate(
                    id: sequence.id, priority: sequence.request.priority,
                    rows: sequence.keys.count - sequence.ready,
                    needsImage: sequence.imageToEncode(from: sequence.ready) != nil, waited: sequence.waited))
        }
        for request in encodings.requests {
            candidates.append(Scheduler.Candidate(id: request.id, needsImage: true, waited: request.waited))
        }
    }

    private func countWaiting() {
        for sequence in sequences {
            let isServed =
                plan.prefilling == sequence.id || plan.encoding == sequence.id
                || plan.decoding.contains(sequence.id)
            sequence.waited = isServed ? 0 : sequence.waited + 1
        }
        encodings.count(served: plan.encoding)
    }

    /// One row of every sequence that decodes, and rows of one prompt.
    private func decode() {
        stepped.removeAll(keepingCapacity: true)
        for sequence in sequences where plan.decoding.contains(sequence.id) || plan.prefilling == sequence.id
        {
            stepped.append(sequence)
        }
        for sequence in stepped where sequences.contains(where: { $0 === sequence }) {
            do { try makeRoom(for: sequence) } catch { finish(sequence, error) }
        }
        // Who has no room now, and whose image has to be encoded after all, since less was remembered than it seemed.
        stepped.removeAll { !$0.hasBegun || $0.imageToEncode(from: $0.computed) != nil }
        guard !stepped.isEmpty else { return }
        batch.removeAll()
        for sequence in stepped {
            let rows = self.rows(of: sequence)
            let isComplete = sequence.computed + rows == sequence.keys.count
            batch.append(sequence.lease.cache, positions: rows, wanted: isComplete ? 1 : 0)
        }
        do {
            try runBatch()
        } catch {
            compute = baseCompute.withCancellation(nil)
            fail(error)
        }
    }

    private func rows(of sequence: GenerationSequence) -> Int {
        min(sequence.id == plan.prefilling ? plan.rows : 1, sequence.keys.count - sequence.computed)
    }

    /// A prompt that cannot be computed ends alone, whoever decodes goes on without it.
    private func fail(_ error: any Error) {
        let prompt = stepped.filter { $0.id == plan.prefilling }
        // Without one in the batch nobody could go on, and the next step would fail as this one did.
        for sequence in prompt.isEmpty ? stepped : prompt { finish(sequence, error) }
    }

    /// Blocks for the sequence's next rows; whoever came last gives up its own where there are none.
    private func makeRoom(for sequence: GenerationSequence) throws(TensorError) {
        // It has just given up its blocks for one before it.
        if sequence.preemptedInStep == stepNumber { return }
        if !sequence.hasBegun {
            let cached = pool.begin(sequence.lease, sequence.keys.dropLast())
            sequence.hasBegun = true
            sequence.preemptedInStep = nil
            report(cached, in: sequence)
        }
        while try !pool.reserve(sequence.computed + rows(of: sequence), in: sequence.lease) {
            let victim = victim(for: sequence)
            pool.end(victim.lease, victim.keys)
            victim.hasBegun = false
            victim.preemptedInStep = stepNumber
            if victim === sequence { return }
        }
    }

    /// How much of the prompt was there when it was begun first; what a preempted sequence finds later is its own.
    private func report(_ cached: Int, in sequence: GenerationSequence) {
        guard !sequence.hasReported else { return }
        sequence.hasReported = true
        sequence.outcome.cachedPositions = cached
        sequence.outcome.promptPositions = sequence.promptCount - cached
        sequence.outcome.cachedImagePositions = sequence.keys[..<cached].count { $0.tokenID == nil }
        sequence.outcome.imagePositions = sequence.keys[cached...].count { $0.tokenID == nil }
    }

    /// Whoever has blocks and is least urgent, the last of several; never one that is more urgent than `sequence`.
    private func victim(for sequence: GenerationSequence) -> GenerationSequence {
        var victim = sequence
        for other in sequences where other.hasBegun && other.request.priority <= victim.request.priority {
            victim = other
        }
        return victim
    }

    private func runBatch() throws {
        let mark = workspace.mark()
        defer { workspace.release(to: mark) }
        try willCompute()
        let start = clock.now
        for sequence in stepped where sequence.outcome.began == nil { sequence.outcome.began = start }
        let rows = try workspace.matrix(batch.rows, network.configuration.text.hiddenSize)
        var first = 0
        for sequence in stepped {
            let count = self.rows(of: sequence)
            try embed(
                sequence, sequence.computed..<sequence.computed + count, rows.rows(first..<first + count))
            first += count
        }
        let logits = try workspace.matrix(batch.wantedCount, usableVocabulary)
        let alone = stepped.count == 1 ? stepped.first : nil
        let prompt = stepped.first { $0.id == plan.prefilling }
        let layers = network.configuration.text.layers
        let before = prompt?.computed ?? 0
        try network.decoder.forward(
            rows, batch: batch, logits: logits, workspace: workspace, on: alone?.compute ?? compute
        ) { done in
            guard let prompt, prompt.outcome.ids.isEmpty else { return }
            let new = Double(plan.rows) * Double(done) / Double(layers)
            let cached = min(prompt.outcome.cachedPositions, before)
            let share = (Double(before - cached) + new) / Double(max(prompt.promptCount - cached, 1))
            prompt.events(.prefilling(min(share, 1)))
        }
        let end = clock.now
        if let prompt, prompt.outcome.ids.isEmpty { prompt.outcome.durations.prefill += end - start }
        learn(end - start)
        var row = 0
        for sequence in stepped {
            pool.publish(sequence.lease, sequence.keys)
            guard sequence.computed == sequence.keys.count else { continue }
            extend(
                sequence,
                UnsafeMutableBufferPointer(start: logits.row(row).baseAddress, count: usableVocabulary))
            row += 1
        }
    }

    /// So many rows of a prompt go beside sequences that decode as take some 60 ms.
    private func learn(_ duration: Duration) {
        guard batch.rows >= 16 else { return }
        let perRow = duration / batch.rows
        let rows = Int(Duration.milliseconds(60) / max(perRow, .microseconds(1)))
        scheduler.limits.rowsBeside = min(max(rows, 16), 256)
    }

    /// The rows that go into the decoder.
    private func embed(_ sequence: GenerationSequence, _ positions: Range<Int>, _ target: Matrix) throws {
        var place = positions.lowerBound
        while place < positions.upperBound {
            let start = place
            tokenIDs.removeAll(keepingCapacity: true)
            if let (identity, index) = sequence.keys[place].imagePart {
                while place < positions.upperBound, sequence.keys[place].imagePart?.identity == identity,
                    sequence.keys[place].imagePart?.index == index + place - start
                {
                    place += 1
                }
                guard let tokens = sequence.visualTokens(of: identity) else {
                    throw GenerationError.invalidOption(
                        name: "prompt", expected: "an image that was encoded", got: "one that was not")
                }
                target.rows(start - positions.lowerBound..<place - positions.lowerBound)
                    .copy(tokens, from: index)
            } else {
                while place < positions.upperBound, let id = sequence.keys[place].tokenID {
                    tokenIDs.append(id)
                    place += 1
                }
                network.decoder.embed(
                    tokenIDs, into: target.rows(start - positions.lowerBound..<place - positions.lowerBound),
                    on: compute)
            }
        }
    }
}

extension GenerationEngine {
    /// Runs one request to its end, and whatever else was added beside it.
    /// - Parameter events: all but the last one
    /// - Throws: `GenerationError`, `TensorError`.
    package func generate(
        _ request: GenerationRequest, cancellation: Cancellation = Cancellation(),
        events: @escaping (GenerationEvent) -> Void = { _ in }
    ) throws -> GenerationOutcome {
        var result: (outcome: GenerationOutcome, error: (any Error)?)?
        try add(request, cancellation: cancellation) { event in
            if case .finished(let outcome, let error) = event {
                result = (outcome, error)
            } else {
                events(event)
            }
        }
        while result == nil, step() {}
        if let error = result?.error { throw error }
        return result?.outcome ?? GenerationOutcome()
    }

    /// Encodes one image into new tensors: features [tokens, channels] and projected tokens [tokens, hidden].
    /// - Throws: `TensorError`.
    package func encode(
        _ pixels: PixelTensor, cancellation: Cancellation = Cancellation()
    ) throws -> ImageEncodings.Output {
        var result: Result<ImageEncodings.Output, any Error>?
        addEncoding(pixels, cancellation: cancellation) { result = $0 }
        while result == nil, step() {}
        guard let result else { throw TensorError.cancelled }
        return try result.get()
    }
}
