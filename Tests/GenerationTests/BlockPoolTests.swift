import Generation
import Models
import Testing

@Suite("Equal beginnings share their keys and values")
struct BlockPoolTests {
    private let shape = KeyValueShape(layers: 2, width: 8, isBFloat16: false)
    private let size = BlockPool.blockPositions

    private func pool(blocks: Int, longest: Int = 64) -> BlockPool {
        BlockPool(shape, byteLimit: blocks * shape.bytesPerBlock, longestSequence: longest)
    }

    private func keys(_ count: Int, from first: Int = 0) -> [PositionKey] {
        (first..<first + count).map { .token($0) }
    }

    /// Runs a sequence: looks its beginning up, computes the rest, ends.
    /// - Returns: positions that were there.
    @discardableResult
    private func run(_ keys: [PositionKey], in pool: BlockPool) throws -> Int {
        let lease = BlockPool.Lease(shape)
        let found = try begin(lease, keys, in: pool)
        pool.end(lease, keys)
        return found
    }

    private func begin(_ lease: BlockPool.Lease, _ keys: [PositionKey], in pool: BlockPool) throws -> Int {
        let expected = pool.positions(rememberedOf: keys.dropLast())
        let found = pool.begin(lease, keys.dropLast())
        #expect(found == expected && found == lease.cache.count)
        try #require(try pool.reserve(keys.count, in: lease))
        lease.cache.advance(by: keys.count - found)
        pool.publish(lease, keys)
        return found
    }

    @Test("Keys tell tokens, images and their parts apart")
    func keyValues() {
        let all: [PositionKey] = [
            .token(0), .token(151_935), .image(0, 0), .image(0, 1), .image(1, 0), .image(1 << 42 | 7, 255),
        ]
        #expect(Set(all).count == all.count)
        #expect(all.map(\.tokenID) == [0, 151_935, nil, nil, nil, nil])
        #expect(all[5].imagePart?.identity == 1 << 42 | 7 && all[5].imagePart?.index == 255)
        #expect(all[0].imagePart == nil)
    }

    @Test("A sequence finds what an earlier one left, to the position, in whatever order they come")
    func beginnings() throws {
        let pool = pool(blocks: 100)
        let long = keys(100)
        #expect(try run(long, in: pool) == 0)
        #expect(try run(long, in: pool) == 99)
        // Within the first block, at a border, in the middle, one beyond.
        for count in [2, 5, size, size + 1, size + 7, 2 * size, 3 * size + 3, 100] {
            #expect(try run(keys(count) + keys(20, from: 1000 + count), in: pool) == count)
        }
        #expect(try run(keys(100) + keys(5, from: 200), in: pool) == 100)
        #expect(try run(keys(100) + keys(5, from: 200) + keys(5, from: 300), in: pool) == 105)
        #expect(try run(keys(50, from: 1), in: pool) == 0)
    }

    @Test("Sequences that run at once share blocks without copying them, and write to their own")
    func sharing() throws {
        let pool = pool(blocks: 100)
        let common = keys(2 * size)
        let leases = (0..<4).map { _ in BlockPool.Lease(shape) }
        for (number, lease) in leases.enumerated() {
            let found = try begin(lease, common + keys(10, from: 1000 * number), in: pool)
            #expect(found == (number == 0 ? 0 : 2 * size))
        }
        for lease in leases.dropFirst() {
            #expect(lease.cache.blocks[0] === leases[0].cache.blocks[0])
            #expect(lease.cache.blocks[1] === leases[0].cache.blocks[1])
            #expect(lease.cache.blocks[2] !== leases[0].cache.blocks[2])
        }
        #expect(pool.byteCount == 6 * shape.bytesPerBlock && pool.rememberedBytes == 0)
        for (number, lease) in leases.enumerated() { pool.end(lease, common + keys(10, from: 1000 * number)) }
        #expect(pool.byteCount == 6 * shape.bytesPerBlock && pool.rememberedBytes == pool.byteCount)
    }

    @Test("Two that compute the same at once end with one copy")
    func twins() throws {
        let pool = pool(blocks: 100)
        let leases = [BlockPool.Lease(shape), BlockPool.Lease(shape)]
        let prompt = keys(2 * size + 5)
        for lease in leases {
            #expect(pool.begin(lease, prompt.dropLast()) == 0)
            #expect(try pool.reserve(prompt.count, in: lease))
        }
        for lease in leases {
            lease.cache.advance(by: prompt.count)
            pool.publish(lease, prompt)
        }
        #expect(leases[0].cache.blocks[0] === leases[1].cache.blocks[0])
        for lease in leases { pool.end(lease, prompt) }
        // The duplicates are free for others: three blocks are remembered.
        #expect(pool.rememberedBytes == 3 * shape.bytesPerBlock)
    }

    @Test("What was used least recently makes room, and never what a running sequence holds")
    func eviction() throws {
        let pool = pool(blocks: 6)
        let prompts = (0..<4).map { keys(2 * size, from: 1000 * $0) }
        for prompt in prompts.prefix(3) { try run(prompt, in: pool) }
        #expect(pool.byteCount == 6 * shape.bytesPerBlock)
        // The first is used again, so the second goes.
        #expect(try run(prompts[0], in: pool) == 2 * size - 1)
        try run(prompts[3], in: pool)
        #expect(pool.byteCount <= 6 * shape.bytesPerBlock)
        func remembered(_ number: Int) -> Int { pool.positions(rememberedOf: prompts[number][...]) }
        #expect(remembered(0) == 2 * size && remembered(2) >= size && remembered(3) == 2 * size)
        #expect(remembered(1) == 0)

        let lease = BlockPool.Lease(shape)
        _ = try begin(lease, prompts[0] + keys(1, from: 7), in: pool)
        for number in 5..<20 { try run(keys(2 * size, from: 1000 * number), in: pool) }
        #expect(remembered(0) == 2 * size)
        pool.end(lease, prompts[0] + keys(1, from: 7))
        for number in 20..<30 { try run(keys(2 * size, from: 1000 * number), in: pool) }
        #expect(remembered(0) == 0)
    }

    @Test("Where all blocks are in use there is no more room, but one sequence alone always gets its length")
    func exhaustion() throws {
        let pool = pool(blocks: 2, longest: 4 * size)
        let one = BlockPool.Lease(shape)
        #expect(try pool.reserve(4 * size, in: one))
        #expect(try !pool.reserve(4 * size + 1, in: one))
        let other = BlockPool.Lease(shape)
        #expect(try !pool.reserve(1, in: other))
        #expect(pool.availablePositions == 0)
        one.cache.advance(by: 4 * size)
        pool.end(one, keys(4 * size))
        // What goes beyond the limit is given back at once.
        #expect(pool.byteCount == 2 * shape.bytesPerBlock)
        #expect(pool.availablePositions == 2 * size)
        #expect(try pool.reserve(3 * size, in: other))
        // Only one at a time goes beyond the limit.
        let third = BlockPool.Lease(shape)
        #expect(try !pool.reserve(1, in: third))
        pool.drop(other)
        #expect(try pool.reserve(size, in: other))
        #expect(try pool.reserve(size, in: third))
        #expect(try !pool.reserve(2 * size, in: third))
        #expect(pool.byteCount == 2 * shape.bytesPerBlock)
    }

    @Test("A pool without memory shares among running sequences only")
    func nothingRemembered() throws {
        let pool = pool(blocks: 0, longest: 10 * size)
        let prompt = keys(3 * size)
        let one = BlockPool.Lease(shape)
        _ = try begin(one, prompt, in: pool)
        let other = BlockPool.Lease(shape)
        // Whole blocks: a copy of a part would go beyond the limit of nothing.
        #expect(pool.begin(other, prompt.dropLast()) == 2 * size)
        pool.end(one, prompt)
        pool.end(other, prompt)
        #expect(pool.byteCount == 0 && pool.positions(rememberedOf: prompt[...]) == 0)
    }

    @Test("Forgetting leaves what running sequences hold")
    func forget() throws {
        let pool = pool(blocks: 100)
        try run(keys(100, from: 5000), in: pool)
        let lease = BlockPool.Lease(shape)
        _ = try begin(lease, keys(70), in: pool)
        pool.forget()
        #expect(pool.byteCount == 3 * shape.bytesPerBlock)
        #expect(pool.positions(rememberedOf: keys(70)[...]) == 2 * size)
        pool.end(lease, keys(70))
        #expect(pool.positions(rememberedOf: keys(70)[...]) == 70)
    }

    /// A naive memory of whole sequences knows the answer.
    @Test("10,000 random sequences: never more found than was there, never more held than allowed")
    func random() throws {
        let pool = pool(blocks: 40, longest: 8 * size)
        var state: UInt64 = 9
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        var running: [(lease: BlockPool.Lease, keys: [PositionKey])] = []
        var earlier: Set<[PositionKey]> = []
        for _ in 0..<10_000 {
            if running.count < 4 {
                // Few beginnings, so that many are shared.
                let prompt =
                    keys(1 + next(3 * size), from: 1000 * next(3)) + keys(1 + next(size), from: next(9))
                let lease = BlockPool.Lease(shape)
                let found = pool.begin(lease, prompt.dropLast())
                #expect(found == 0 || earlier.contains(Array(prompt.prefix(found))))
                guard try pool.reserve(prompt.count, in: lease) else {
                    pool.end(lease, prompt)
                    continue
                }
                lease.cache.advance(by: prompt.count - found)
                pool.publish(lease, prompt)
                for count in 1...prompt.count { earlier.insert(Array(prompt.prefix(count))) }
                running.append((lease, prompt))
            }
            if next(2) == 0 {
                let (lease, prompt) = running.remove(at: next(running.count))
                next(5) == 0 ? pool.drop(lease) : pool.end(lease, prompt)
            }
            #expect(pool.byteCount <= 40 * shape.bytesPerBlock)
        }
        for (lease, prompt) in running { pool.end(lease, prompt) }
        #expect(pool.rememberedBytes <= pool.byteCount)
        pool.forget()
        #expect(pool.byteCount == 0)
    }
}
