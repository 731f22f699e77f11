import Foundation
import Tensors
import Testing

@testable import FastVLM

@Suite("Remembered images take no more than they may")
struct ImageMemoryTests {
    private func tokens(_ count: Int) throws -> Tensor {
        try Tensor([Float](repeating: 1, count: count), shape: [count / 4, 4])
    }

    @Test("Files and visual tokens count together, and the one used last stays")
    func bytes() throws {
        // Each file has 1,000 bytes and 400 bytes of tokens.
        let memory = ImageMemory(capacity: 100, byteLimit: 5_000)
        let files = (0..<8).map { Data(repeating: UInt8($0), count: 1_000) }
        for file in files.prefix(3) {
            memory.keep(try tokens(100), of: file, identity: memory.claimIdentity(of: file))
        }
        #expect(memory.byteCount == 4_200 && memory.find(files[0]) != nil)
        memory.keep(try tokens(100), of: files[3], identity: memory.claimIdentity(of: files[3]))
        #expect(memory.byteCount == 4_200)
        #expect(memory.find(files[1]) == nil && memory.find(files[0])?.identity == 0)
        // Alone larger than all that may be kept: nothing is pushed out for it.
        memory.keep(try tokens(2_000), of: files[4], identity: memory.claimIdentity(of: files[4]))
        #expect(memory.byteCount == 4_200 && memory.find(files[4]) == nil)
    }

    @Test("A part of something larger is kept without the rest, and the same image once")
    func copies() throws {
        let memory = ImageMemory(capacity: 4, byteLimit: 1 << 20)
        let large = Data(repeating: 7, count: 1 << 16)
        let identity = memory.claimIdentity(of: large[100..<200])
        memory.keep(try tokens(4), of: large[100..<200], identity: identity)
        memory.keep(try tokens(4), of: large[200..<300], identity: memory.claimIdentity(of: large[200..<300]))
        #expect(memory.byteCount == 100 + 16)
        #expect(memory.find(large.prefix(100))?.identity == identity)
    }

    @Test("Requests about the same new image at once share its identity, later ones get another")
    func identities() throws {
        let memory = ImageMemory(capacity: 0, byteLimit: 0)
        let (one, other) = (Data([1, 2, 3]), Data([1, 2, 4]))
        let first = memory.claimIdentity(of: one)
        #expect(memory.claimIdentity(of: one) == first && memory.claimIdentity(of: other) != first)
        memory.release(identity: first)
        #expect(memory.claimIdentity(of: one) == first)
        memory.release(identity: first)
        memory.release(identity: first)
        #expect(memory.claimIdentity(of: one) != first)
    }

    @Test("No more images than asked for, and none of a model that remembers none")
    func capacity() throws {
        for capacity in [0, 1, 3] {
            let memory = ImageMemory(capacity: capacity, byteLimit: 1 << 20)
            for number in 0..<6 {
                let bytes = Data([UInt8(number)])
                memory.keep(try tokens(4), of: bytes, identity: memory.claimIdentity(of: bytes))
            }
            let found = (0..<6).filter { memory.find(Data([UInt8($0)])) != nil }
            #expect(found == Array((6 - capacity)..<6))
            memory.forget()
            #expect(memory.byteCount == 0 && memory.claimIdentity(of: Data()) == 6)
        }
    }
}
