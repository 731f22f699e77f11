import Foundation
import Tensors
import Testing

@testable import FastVLM

@Suite("Remembered images take no more than they may")
struct ImageMemoryTests {
    private func tokens(_ count: Int) throws -> Tensor {
        try Tensor([Float](repeating: 1, count: count), shape: [count / 4, 4])
    }

    private func name(_ data: Data) -> ImageName { .bytes(ImageBytes(data: data)) }

    @Test("Files and visual tokens count together, and the one used last stays")
    func bytes() throws {
        // Each file has 1,000 bytes and 400 bytes of tokens.
        let memory = ImageMemory(capacity: 100, byteLimit: 5_000)
        let files = (0..<8).map { name(Data(repeating: UInt8($0), count: 1_000)) }
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
        let identity = memory.claimIdentity(of: name(large[100..<200]))
        memory.keep(try tokens(4), of: name(large[100..<200]), identity: identity)
        memory.keep(
            try tokens(4), of: name(large[200..<300]),
            identity: memory.claimIdentity(of: name(large[200..<300])))
        #expect(memory.byteCount == 100 + 16)
        #expect(memory.find(name(large.prefix(100)))?.identity == identity)
    }

    @Test("Requests about the same new image at once share its identity, later ones get another")
    func identities() throws {
        let memory = ImageMemory(capacity: 0, byteLimit: 0)
        let (one, other) = (name(Data([1, 2, 3])), name(Data([1, 2, 4])))
        let first = memory.claimIdentity(of: one)
        #expect(memory.claimIdentity(of: one) == first && memory.claimIdentity(of: other) != first)
        memory.release(identity: first)
        #expect(memory.claimIdentity(of: one) == first)
        memory.release(identity: first)
        memory.release(identity: first)
        #expect(memory.claimIdentity(of: one) != first)
    }

    @Test("What is forgotten while requests are about it is neither found nor kept")
    func forgottenInFlight() throws {
        let memory = ImageMemory(capacity: 4, byteLimit: 1 << 20)
        let key = ImageName.key("camera")
        let first = memory.claimIdentity(of: key)
        memory.forget()
        // The same key stands for another picture now.
        let second = memory.claimIdentity(of: key)
        #expect(second != first)
        memory.keep(try tokens(4), of: key, identity: first)
        #expect(memory.find(key) == nil && memory.tokens(of: first) == nil)
        memory.keep(try tokens(8), of: key, identity: second)
        #expect(memory.find(key)?.identity == second)
    }

    @Test("No more images than asked for, and none of a model that remembers none")
    func capacity() throws {
        for capacity in [0, 1, 3] {
            let memory = ImageMemory(capacity: capacity, byteLimit: 1 << 20)
            for number in 0..<6 {
                let bytes = name(Data([UInt8(number)]))
                memory.keep(try tokens(4), of: bytes, identity: memory.claimIdentity(of: bytes))
            }
            let found = (0..<6).filter { memory.find(name(Data([UInt8($0)]))) != nil }
            #expect(found == Array((6 - capacity)..<6))
            memory.forget()
            #expect(memory.byteCount == 0 && memory.claimIdentity(of: name(Data())) == 6)
        }
    }

    @Test(
        "Pixels differ from a file of the same bytes and from pixels of another shape; a key is a name of its own"
    )
    func names() throws {
        let data = Data(repeating: 1, count: 36)
        let names: [ImageName] = [
            name(data), .bytes(ImageBytes(data: data, width: 4, height: 3)),
            .bytes(ImageBytes(data: data, width: 3, height: 4)), .key("frame-1"), .key("frame-2"),
        ]
        let memory = ImageMemory(capacity: 8, byteLimit: 1 << 20)
        for name in names {
            #expect(memory.find(name) == nil)
            memory.keep(try tokens(4), of: name, identity: memory.claimIdentity(of: name))
        }
        #expect(Set(names.compactMap { memory.find($0)?.identity }).count == names.count)
        #expect(memory.byteCount == 3 * 36 + 2 * 7 + 5 * 16)
    }
}
