import AllocationCounter
import Generation
import ImageInput
import Models
import Tensors
import TestSupport
import Testing
import Tokenization

@Suite("Several requests at once")
struct EngineTests {
    /// Requests of all kinds: with and without images, the same one, the same beginning, sampled, of several lengths.
    private func requests(_ model: TinyModel) throws -> [GenerationRequest] {
        let expected = try ExpectedModel.read("tiny")
        var requests = expected.cases.prefix(4).map(model.request)
        // The same beginning as the first, and the same image as another one.
        var same = requests[0]
        same.prompt = Prompt(elements: same.prompt.elements + [.tokens([9, 8, 7])])
        requests.append(same)
        var image = GenerationRequest(
            prompt: Prompt(elements: [.tokens([4, 4]), .image(1), .tokens([80, 3])]), images: model.images)
        image.sampling.temperature = 0.9
        image.sampling.seed = 11
        requests.append(image)
        image.prompt = Prompt(elements: [.image(1), .image(0), .tokens([17])])
        requests.append(image)
        requests.append(GenerationRequest(prompt: Prompt(elements: [.tokens((0..<100).map { $0 % 250 })])))
        for index in requests.indices {
            requests[index].maximumTokens = 12 + 5 * index
            for place in requests[index].images.indices { requests[index].images[place].identity = place }
        }
        return requests
    }

    private func engine(_ model: TinyModel, keyValueBytes: Int = 256 << 20) -> GenerationEngine {
        GenerationEngine(
            network: model.network, tokenizer: model.engine.tokenizer, compute: model.compute,
            keyValueBytes: keyValueBytes)
    }

    /// Answers of requests that are added at the given steps.
    /// - Parameter piece: told of every piece, with the place of its request
    private func run(
        _ requests: [GenerationRequest], on engine: GenerationEngine,
        piece: @escaping (Int, GeneratedPiece) -> Void = { _, _ in }, at steps: (Int) -> Int
    ) throws -> [[Int]] {
        var answers = requests.map { _ in [Int]() }
        var left = requests.count
        var step = 0
        while left > 0 {
            for (index, request) in requests.enumerated() where steps(index) == step {
                try engine.add(request, cancellation: Cancellation()) { event in
                    if case .piece(let new) = event { piece(index, new) }
                    guard case .finished(let outcome, let error) = event else { return }
                    #expect(error == nil)
                    answers[index] = outcome.ids
                    left -= 1
                }
            }
            _ = engine.step()
            step += 1
            if step > 10_000 { break }
        }
        #expect(engine.requestCount == 0)
        return answers
    }

    private static let combinations = InstructionSet.available.flatMap { set in
        Precision.allCases.map { (set, $0) }
    }

    @Test("An answer does not depend on its company, nor on when the others come", arguments: combinations)
    func company(set: InstructionSet, precision: Precision) throws {
        let model = try TinyModel("tiny-hf", precision: precision, instructionSet: set)
        let requests = try requests(model)
        let alone = try requests.map { try engine(model, keyValueBytes: 0).generate($0).ids }
        #expect(Set(alone).count > 4)
        #expect(try run(requests, on: engine(model)) { _ in 0 } == alone, "\(set) \(precision), at once")
        #expect(
            try run(requests, on: engine(model)) { ($0 * 5) % 11 } == alone, "\(set) \(precision), one by one"
        )
    }

    /// What a step chose, and with which bits. Kernels that no machine here has are not in `combinations`: for them,
    /// `make verify-avx512` and `verify-neon` check that every row has the same bits alone and among others
    /// (KernelCheck/check_invariance.c), which is what this rests on; whole answers do not run there.
    @Test(
        "Answers in company have the same probabilities, bit for bit, on any threads", arguments: combinations
    )
    func companyOnThreads(set: InstructionSet, precision: Precision) throws {
        var expected: (ids: [[Int]], bits: [[UInt64]])?
        for threads in [2, 1, 3, 5] {
            let model = try TinyModel(
                "tiny-hf", precision: precision, instructionSet: set, threads: threads)
            var requests = try requests(model)
            for index in requests.indices { requests[index].probabilities = 3 }
            for arrival: (Int) -> Int in [{ _ in 0 }, { ($0 * 5) % 11 }] {
                var bits = requests.map { _ in [UInt64]() }
                let ids = try run(
                    requests, on: engine(model),
                    piece: { index, piece in
                        let chosen = [piece.probability].compactMap { $0 } + piece.alternatives
                        bits[index] += chosen.map { UInt64(Double($0.logProbability).bitPattern) }
                    }, at: arrival)
                let first = expected ?? (ids, bits)
                expected = first
                #expect(ids == first.ids && bits == first.bits, "\(set) \(precision), \(threads) threads")
                #expect(bits.allSatisfy { $0.count > 12 })
            }
        }
    }

    @Test("A short question is answered while a long answer goes on")
    func short() throws {
        let model = try TinyModel("tiny-hf", precision: .int8)
        let engine = engine(model)
        var long = GenerationRequest(prompt: Prompt(elements: [.tokens([5, 17, 42])]))
        long.maximumTokens = 250
        long.ignoresEndOfSequence = true
        var isLongOver = false
        var pieces = 0
        try engine.add(long, cancellation: Cancellation()) { event in
            if case .piece = event { pieces += 1 }
            if case .finished = event { isLongOver = true }
        }
        while pieces < 10 { _ = engine.step() }
        var short = GenerationRequest(
            prompt: Prompt(elements: [.image(0), .tokens([1, 2, 3])]), images: model.images)
        short.maximumTokens = 5
        var steps = 0
        var isShortOver = false
        try engine.add(short, cancellation: Cancellation()) { event in
            if case .finished = event { isShortOver = true }
        }
        while !isShortOver, steps < 1_000 {
            _ = engine.step()
            steps += 1
        }
        // The image's slices, one step for the prompt, one for each token; a token of the long answer in every step.
        #expect(!isLongOver && pieces >= 10 + 5 && pieces <= 10 + steps)
        while engine.step() {}
        #expect(isLongOver)
    }

    @Test("Requests that give up their blocks for others answer the same", arguments: 0...14)
    func preemption(blocks: Int) throws {
        let model = try TinyModel("tiny-hf", precision: .int8)
        let requests = try requests(model)
        let alone = try requests.map { try engine(model, keyValueBytes: 0).generate($0).ids }
        // From room for one sequence at a time to room for all of them.
        let bytes = blocks * model.network.decoder.keyValueShape.bytesPerBlock
        for arrival: (Int) -> Int in [{ _ in 0 }, { $0 }, { 40 - 5 * $0 }] {
            let engine = engine(model, keyValueBytes: bytes)
            #expect(try run(requests, on: engine, at: arrival) == alone)
            #expect(engine.pool.byteCount <= bytes)
        }
    }

    @Test("A request that gives up its blocks at the end of one goes on when there is room")
    func preemptedAtBorder() throws {
        let model = try TinyModel("tiny-hf", precision: .int8)
        func request(_ first: Int, count: Int, tokens: Int) -> GenerationRequest {
            var request = GenerationRequest(
                prompt: Prompt(elements: [.tokens((0..<count).map { ($0 * 3 + first) % 250 })]))
            request.maximumTokens = tokens
            request.ignoresEndOfSequence = true
            return request
        }
        let requests = [request(0, count: 161, tokens: 30), request(7, count: 180, tokens: 60)]
        let alone = try requests.map { try engine(model).generate($0).ids }
        let tight = engine(model, keyValueBytes: 12 * model.network.decoder.keyValueShape.bytesPerBlock)
        #expect(try run(requests, on: tight) { _ in 0 } == alone)
        // Several that each take the whole context, where there is room for none.
        let long = [0, 40, 80].map { request($0, count: 295, tokens: 5) }
        let expected = try long.map { try engine(model).generate($0).ids }
        #expect(try run(long, on: engine(model, keyValueBytes: 0)) { _ in 0 } == expected)
    }

    @Test("Where steps fail from some moment on, every one of them ends somebody, also when blocks are short")
    func failingSteps() throws {
        let model = try TinyModel("tiny-hf", precision: .int8)
        let requests = try requests(model)
        let alone = try requests.map { try engine(model, keyValueBytes: 0).generate($0).ids }
        for blocks in [4, 9, 13] {
            for moment in 0..<60 {
                let engine = engine(
                    model, keyValueBytes: blocks * model.network.decoder.keyValueShape.bytesPerBlock)
                var computed = 0
                engine.willCompute = {
                    computed += 1
                    if computed > moment { throw TensorError.allocationFailed(bytes: 1) }
                }
                var ended = 0
                for (index, request) in requests.enumerated() {
                    try engine.add(request, cancellation: Cancellation()) { event in
                        guard case .finished(let outcome, let error) = event else { return }
                        ended += 1
                        // Who failed has the beginning of its answer.
                        #expect(outcome.ids == Array(alone[index].prefix(outcome.ids.count)))
                        #expect(error == nil ? outcome.ids == alone[index] : error is TensorError)
                    }
                }
                for _ in 0..<500 where engine.step() {}
                #expect(ended == requests.count && computed <= moment + requests.count)
                // Nobody's blocks are left behind, and the engine goes on.
                engine.willCompute = {}
                #expect(try engine.generate(requests[0]).ids == alone[0], "\(blocks) blocks, step \(moment)")
            }
        }
    }

    @Test("An image whose cached positions are pushed out before they are used is encoded after all")
    func evictedImage() throws {
        let model = try TinyModel("tiny-hf", precision: .int8)
        func request(_ text: [Int], identity: Int?) -> GenerationRequest {
            var request = GenerationRequest(
                prompt: Prompt(elements: (identity == nil ? [] : [.image(0)]) + [.tokens(text)]),
                images: [model.images[1]])
            request.images[0].identity = identity
            request.maximumTokens = 8
            request.ignoresEndOfSequence = true
            return request
        }
        let about = request([4, 5, 6], identity: 3)
        let filler = (0..<3).map { number in
            request((0..<90).map { ($0 * 5 + number) % 250 }, identity: nil)
        }
        let expected = try ([about] + filler).map { try engine(model).generate($0).ids }
        for blocks in 1...8 {
            let engine = engine(
                model, keyValueBytes: blocks * model.network.decoder.keyValueShape.bytesPerBlock)
            _ = try engine.generate(about)
            // The engine is given the image as pixels again, and the blocks that hold it are the next to go.
            #expect(
                try run(filler + [about], on: engine) { _ in 0 } == Array(expected.dropFirst()) + [
                    expected[0]
                ])
        }
    }

    @Test("The urgent request keeps its blocks, whoever came first")
    func urgent() throws {
        let model = try TinyModel("tiny-hf", precision: .int8)
        let engine = engine(model, keyValueBytes: 8 * model.network.decoder.keyValueShape.bytesPerBlock)
        var order: [Int] = []
        for (number, priority) in [0, Int.min, 5].enumerated() {
            var request = GenerationRequest(
                prompt: Prompt(elements: [.tokens((0..<100).map { ($0 + 30 * number) % 250 })]))
            request.maximumTokens = 40
            request.ignoresEndOfSequence = true
            request.priority = priority
            try engine.add(request, cancellation: Cancellation()) { event in
                if case .finished(_, nil) = event { order.append(number) }
            }
        }
        for _ in 0..<10_000 where engine.step() {}
        #expect(order.first == 2 && order.count == 3)
    }

    @Test("An image that several requests are about is encoded once, and everybody has its tokens")
    func sharedImage() throws {
        let model = try TinyModel("tiny-hf", precision: .float32)
        let log = OperationLog()
        let engine = GenerationEngine(
            network: model.network, tokenizer: model.engine.tokenizer,
            compute: model.compute.recording(to: log))
        var encoded = 0
        var answers: [[Int]] = []
        for number in 0..<5 {
            var request = GenerationRequest(
                prompt: Prompt(elements: [.tokens([number]), .image(0), .tokens([3])]),
                images: [model.images[2]])
            request.images[0].identity = 77
            request.maximumTokens = 5
            try engine.add(request, cancellation: Cancellation()) { event in
                if case .encoded = event { encoded += 1 }
                if case .finished(let outcome, _) = event { answers.append(outcome.ids) }
            }
        }
        while engine.step() {}
        #expect(encoded == 5 && answers.count == 5)
        #expect(log.entries.filter { $0.kind == .stem }.reduce(0) { $0 + $1.calls } == 1)
    }

    /// Moments of a request at which it is cancelled.
    enum Moment: CaseIterable { case waiting, encoding, prefilling, decoding, lastToken }

    @Test(
        "Cancelled at any moment, a request ends at the next step and nobody else notices",
        arguments: Moment.allCases)
    func cancelled(moment: Moment) throws {
        let model = try TinyModel("tiny-hf", precision: .int8)
        let engine = engine(model)
        var other = GenerationRequest(prompt: Prompt(elements: [.tokens([5, 17, 42])]))
        other.maximumTokens = 40
        let expected = try self.engine(model).generate(other).ids
        var answer: [Int]?
        try engine.add(other, cancellation: Cancellation()) {
            if case .finished(let outcome, _) = $0 { answer = outcome.ids }
        }
        var request = GenerationRequest(
            prompt: Prompt(elements: [.tokens([1, 2, 3]), .image(0), .tokens([4])]), images: model.images)
        request.maximumTokens = 6
        let cancellation = Cancellation()
        var pieces = 0
        var end: (outcome: GenerationOutcome, error: (any Error)?)?
        try engine.add(request, cancellation: cancellation) { event in
            switch event {
            case .encoding: if moment == .encoding { cancellation.cancel() }
            case .encoded: break
            case .prefilling: if moment == .prefilling { cancellation.cancel() }
            case .piece:
                pieces += 1
                if pieces == (moment == .lastToken ? 6 : 3), moment == .decoding || moment == .lastToken {
                    cancellation.cancel()
                }
            case .finished(let outcome, let error): end = (outcome, error)
            }
        }
        if moment == .waiting { cancellation.cancel() }
        while engine.step() {}
        #expect(answer == expected)
        let (outcome, error) = try #require(end)
        switch moment {
        case .lastToken:
            // Nothing was left to break off.
            #expect(error == nil && outcome.ids.count == 6)
        case .decoding:
            #expect(error as? TensorError == .cancelled && outcome.ids.count == 3 && pieces == 3)
        case .waiting, .encoding:
            #expect(error as? TensorError == .cancelled && outcome.ids.isEmpty && pieces == 0)
        case .prefilling:
            // The step that was running still chose the first token.
            #expect(error as? TensorError == .cancelled && outcome.ids.count == pieces && pieces <= 1)
        }
    }

    @Test("Scorings that are cancelled end at once, also those that wait behind another")
    func cancelledScoring() throws {
        let model = try TinyModel("tiny-hf", precision: .int8)
        let engine = engine(model)
        let prompt = Prompt(elements: [.tokens((0..<200).map { $0 % 250 })])
        var answer = GenerationRequest(prompt: Prompt(elements: [.tokens([5, 17, 42])]))
        answer.maximumTokens = 200
        answer.ignoresEndOfSequence = true
        try engine.add(answer, cancellation: Cancellation()) { _ in }
        var ended: [Int: Bool] = [:]
        let flags = (0..<3).map { _ in Cancellation() }
        for (number, flag) in flags.enumerated() {
            try engine.addScoring(prompt, images: [], from: 0, cancellation: flag) { result in
                ended[number] = (try? result.get()) != nil
            }
        }
        flags[1].cancel()
        _ = engine.step()
        #expect(ended[1] == false)
        flags[2].cancel()
        while engine.step() {}
        #expect(ended == [0: true, 1: false, 2: false])
    }

    @Test("A request whose time is over ends with its error, between tokens as well as before any work")
    func deadline() throws {
        let model = try TinyModel("tiny-hf", precision: .int8)
        var request = GenerationRequest(prompt: Prompt(elements: [.tokens([5, 17, 42])]))
        request.maximumTokens = 250
        request.deadline = ContinuousClock.now
        #expect(throws: GenerationError.deadlineExceeded) { try engine(model).generate(request) }
        request.deadline = ContinuousClock.now + .seconds(3600)
        #expect(try engine(model).generate(request).ids.count == 250)
    }

    @Test("Thousands of requests of all kinds hold no more than the limit")
    func memory() throws {
        let model = try TinyModel("tiny-hf", precision: .int8)
        let limit = 20 * model.network.decoder.keyValueShape.bytesPerBlock
        let engine = engine(model, keyValueBytes: limit)
        var state: UInt64 = 3
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        var finished = 0
        var scratch: Int?
        for number in 0..<2_000 {
            var request = GenerationRequest(
                prompt: Prompt(elements: [.tokens((0...next(60)).map { _ in next(3) })]))
            request.maximumTokens = 1 + next(4)
            let cancellation = Cancellation()
            let isLeft = next(10) == 0
            try engine.add(request, cancellation: cancellation) { event in
                if isLeft, case .piece = event { cancellation.cancel() }
                if case .finished = event { finished += 1 }
            }
            while engine.requestCount > 6 { _ = engine.step() }
            #expect(engine.pool.byteCount <= limit)
            if number == 500 { scratch = engine.scratchBytes }
        }
        while engine.step() {}
        #expect(finished == 2_000 && engine.scratchBytes == scratch)
    }

    @Test(
        "Warm, a step of several answers allocates nothing but what the characters of its tokens take",
        .enabled(if: TokenRankingTests.areCounted), arguments: [1, 2, 7])
    func allocations(sequences: Int) throws {
        let model = try TinyModel("tiny-hf", precision: .int8, threads: 1)
        let engine = engine(model)
        var ids = (0..<sequences).map { _ in [Int]() }
        for number in 0..<sequences {
            ids[number].reserveCapacity(100)
            var request = GenerationRequest(
                prompt: Prompt(elements: [.tokens((0..<34).map { ($0 * 7 + number) % 250 })]))
            request.maximumTokens = 250
            try engine.add(request, cancellation: Cancellation()) { event in
                if case .piece(let piece) = event, let id = piece.id { ids[number].append(id) }
            }
        }
        func count(_ counter: Int, _ work: () -> Void) -> Int {
            allocation_counter_attach(Int32(counter))
            work()
            allocation_counter_attach(-1)
            return allocation_counter_value(Int32(counter))
        }
        for _ in 0..<20 { _ = engine.step() }
        let before = ids.map(\.count)
        // Fewer steps than there are positions to the end of a block.
        let steps = count(40 + sequences) { for _ in 0..<6 { _ = engine.step() } }
        for (ids, before) in zip(ids, before) {
            #expect(ids.count >= before + 5)
            var detokenizer = StreamingDetokenizer(engine.tokenizer)
            for id in ids.prefix(before) { _ = detokenizer.append(id) }
            _ = count(50 + sequences) { for id in ids.dropFirst(before) { _ = detokenizer.append(id) } }
        }
        // The counter goes on from sequence to sequence.
        #expect(steps == allocation_counter_value(Int32(50 + sequences)))
        #expect(engine.requestCount == sequences)
    }
}
