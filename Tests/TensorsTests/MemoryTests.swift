import Foundation
import Testing

@testable import Tensors

@Suite struct MemoryTests {
    @Test("a workspace hands out aligned memory that does not overlap and takes it back at a scope's end")
    func workspace() throws {
        let workspace = Workspace()
        let outer = try workspace.matrix(3, 5)
        #expect(UInt(bitPattern: outer.pointer) % 64 == 0 && outer.rowStride == 5)
        outer[2, 4] = 7
        var inner: UnsafeMutablePointer<Float>?
        try workspace.scope {
            let a = try workspace.matrix(100, 100)
            let b = try workspace.map(height: 10, width: 10, channels: 3)
            #expect(b.pointer >= a.pointer + 10000 || a.pointer >= b.pointer + 300)
            #expect(b.matrix.rows == 100 && b.matrix.columns == 3)
            for index in 0..<10000 { a.pointer[index] = 1 }
            inner = a.pointer
        }
        #expect(outer[2, 4] == 7)
        #expect(try workspace.matrix(1, 1).pointer == inner)
    }

    @Test("a second run with the same shapes allocates nothing; trimming gives memory back")
    func warmWorkspace() throws {
        let workspace = Workspace()
        func run() throws -> [UnsafeMutablePointer<Float>] {
            try workspace.scope {
                var pointers: [UnsafeMutablePointer<Float>] = []
                for size in [10, 1000, 700_000, 3, 2_000_000, 50] {
                    let pointer = try workspace.matrix(size, 1).pointer
                    pointer[size - 1] = 1
                    pointers.append(pointer)
                }
                return pointers
            }
        }
        let first = try run()
        let capacity = workspace.capacityBytes
        #expect(capacity >= 2_701_063 * 4)
        #expect(try run() == first)
        #expect(workspace.capacityBytes == capacity)
    }

    @Test("a scope gives back what was taken when its body throws")
    func scopeThrows() throws {
        let workspace = Workspace()
        var inside: UnsafeMutablePointer<Float>?
        #expect(throws: TensorError.self) {
            try workspace.scope {
                inside = try workspace.matrix(4, 4).pointer
                _ = try workspace.matrix(Int.max, 2)
            }
        }
        #expect(try workspace.matrix(1, 1).pointer == inside)
        #expect(throws: TensorError.self) { try workspace.matrix(Int.max / 8, 1) }
    }

    @Test("a view of rows and columns reads the same memory")
    func views() throws {
        let whole = Guarded(4, 6, values: (0..<24).map(Float.init))
        let part = whole.matrix.rows(1..<3).columns(2..<5)
        #expect(part.rows == 2 && part.columns == 3 && part.rowStride == 6)
        #expect(Array(part.row(1)) == [14, 15, 16])
    }

    @Test("a vector is padded with zeros that kernels may read")
    func vector() throws {
        let vector = try Vector([1, 2, 3])
        #expect(vector.count == 3 && vector.values == [1, 2, 3])
        #expect((3..<64).allSatisfy { vector.pointer[$0] == 0 })
        #expect(UInt(bitPattern: vector.pointer) % 64 == 0)
    }

    @Test("every stored type reads back as float32")
    func types() throws {
        func read(_ type: DataType, _ bytes: [UInt8]) throws -> [Float] {
            let storage = try Storage(byteCount: bytes.count + 1)
            storage.mutableBytes[1...].copyBytes(from: bytes)
            return try Tensor(type, shape: [bytes.count / type.byteWidth], storage: storage, byteOffset: 1)
                .floats()
        }
        #expect(try read(.bfloat16, [0x80, 0x3F, 0x00, 0xC0]) == [1, -2])
        #expect(try read(.float16, [0x00, 0x3C, 0x01, 0x80, 0x00, 0xFC]) == [1, -0x1p-24, -.infinity])
        #expect(try read(.int8, [0xFF, 0x7F]) == [-1, 127])
        #expect(try read(.uint8, [0xFF]) == [255])
        #expect(try read(.int32, [0xFE, 0xFF, 0xFF, 0xFF]) == [-2])
        #expect(try read(.uint32, [0, 0, 0, 0x80]) == [0x1p31])
        #expect(try read(.int64, [0, 0, 0, 0, 1, 0, 0, 0]) == [0x1p32])
    }

    @Test("shapes that overflow, are negative or exceed their storage are refused")
    func shapes() throws {
        let storage = try Storage(byteCount: 16)
        #expect(try Tensor(.float32, shape: [2, 2], storage: storage).count == 4)
        for (shape, offset) in [
            ([2, 3], 0), ([2, 2], 1), ([-1, 4], 0), ([Int.max, 2], 0), ([Int.max / 2, 3], 0), ([1], -4),
        ] {
            #expect(throws: TensorError.self) {
                try Tensor(.float32, shape: shape, storage: storage, byteOffset: offset)
            }
        }
        #expect(throws: TensorError.self) { try Tensor([1, 2, 3], shape: [2]) }
        #expect(throws: TensorError.self) { try Tensor([1, 2, 3, 4], shape: [4]).reshaped([3]) }
        #expect(throws: TensorError.self) { try Storage(byteCount: -1) }
        #expect(throws: TensorError.self) { try Storage(uninitializedByteCount: Int.max) }
    }

    @Test("a mapped file is read, packed, released and read again")
    func mapping() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "tensors-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let file = directory.appending(path: "weights")
        var random = Random()
        let values = random.floats(256 * 64)
        try values.withUnsafeBytes { Data($0) }.write(to: file)
        let storage = try Storage(mapping: file.path)
        let tensor = try Tensor(.float32, shape: [256, 64], storage: storage)
        let compute = try Compute(threads: 2)
        let packed = try PackedMatrix(tensor, format: .float32, compute: compute)
        #expect(packed.byteCount == values.count * 4)
        #expect(tensor.floats() == values)
        #expect(throws: TensorError.self) { try Storage(mapping: directory.path) }
        #expect(throws: TensorError.self) { try Storage(mapping: file.path + ".missing") }
    }
}
