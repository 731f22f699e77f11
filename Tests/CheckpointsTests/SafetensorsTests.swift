import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("Safetensors files are read by every rule of the format")
struct SafetensorsTests {
    @Test("what the writer writes, the reader reads: every type, metadata, odd names")
    func roundTrip() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "a.safetensors")
            var tensors: [(String, Tensor)] = []
            var generator = SeededGenerator()
            for (index, type) in DataType.allCases.enumerated() {
                let shape = [[3], [2, 3], [], [0, 4], [5, 1, 1]][index % 5]
                let count = shape.reduce(1, *) * type.byteWidth
                let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
                tensors.append(("tensor \"\(index)\"\n\\é😀", try Tensor(bytes: bytes, type, shape: shape)))
            }
            let metadata = ["format": "pt", "note\t": "\"quoted\""]
            try SafetensorsWriter.write(tensors, metadata: metadata, to: url)
            // Overwriting an existing file works too.
            try SafetensorsWriter.write(tensors, metadata: metadata, to: url)
            let file = try SafetensorsFile(contentsOf: url)
            #expect(file.metadata == metadata)
            #expect(file.tensors.count == tensors.count)
            for (name, tensor) in tensors {
                let stored = try #require(file.tensors.first { $0.name == name })
                let read = try file.tensor(stored)
                #expect(read.shape == tensor.shape && read.dataType == tensor.dataType)
                #expect(Array(read.bytes) == Array(tensor.bytes))
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a.safetensors"])
            #expect(throws: CheckpointError.self) {
                try SafetensorsWriter.write([tensors[0], tensors[0]], to: url)
            }
            #expect(throws: CheckpointError.self) {
                try SafetensorsWriter.write(tensors, to: folder.appending(path: "no/such/folder/x"))
            }
        }
    }

    @Test("a file cut at any byte is refused")
    func truncation() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "a.safetensors")
            try SafetensorsWriter.write(
                [("a", random([3, 2])), ("b", random([2]))], metadata: ["k": "v"], to: url)
            let whole = try Data(contentsOf: url)
            for length in 0..<whole.count {
                try whole.prefix(length).write(to: url)
                #expect(checkpointError { try SafetensorsFile(contentsOf: url) } != nil, "\(length) bytes")
            }
            try (whole + Data([0])).write(to: url)
            #expect(checkpointError { try SafetensorsFile(contentsOf: url) } != nil, "one byte more")
        }
    }

    @Test("a file with any byte changed is read or refused, never a trap")
    func mutation() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "a.safetensors")
            try SafetensorsWriter.write(
                [("a", random([3, 2])), ("b", random([2]))], metadata: ["k": "v"], to: url)
            let whole = try Data(contentsOf: url)
            let meaningful: [UInt8] = [0, 0x22, 0x2D, 0x39, 0x5B, 0x7B, 0x80, 0xFF]
            var generator = SeededGenerator()
            for index in whole.indices {
                for byte in [
                    meaningful.randomElement(using: &generator) ?? 0,
                    UInt8.random(in: 0...255, using: &generator),
                ] {
                    var changed = whole
                    changed[index] = byte
                    try changed.write(to: url)
                    guard let file = try? SafetensorsFile(contentsOf: url) else { continue }
                    for stored in file.tensors {
                        #expect(try file.tensor(stored).byteCount == stored.byteCount)
                    }
                }
            }
        }
    }

    /// Headers over eight bytes of data.
    static let hostileHeaders: [String] = [
        "", "{", "[]", "null", "  {}", "{\"a\":{}}", "{\"a\":1}", "{\"a\":[1,2]}",
        entry("\"F32\"", "[2]", "[0,4]"), entry("\"F32\"", "[1]", "[0,8]"), entry("\"F32\"", "[3]", "[0,12]"),
        entry("\"F32\"", "[2]", "[8,0]"), entry("\"F32\"", "[2]", "[-8,0]"),
        entry("\"F32\"", "[2]", "[4,12]"),
        entry("\"F32\"", "[2]", "[0,8,8]"), entry("\"F32\"", "[2]", "[0]"),
        entry("\"F32\"", "[2]", "[0.5,8]"),
        entry("\"F32\"", "[2]", "[9223372036854775800,9223372036854775807]"),
        entry("\"F32\"", "[2]", "[0,18446744073709551615]"), entry("\"F32\"", "[2]", "[0,1e300]"),
        entry("\"F32\"", "[-2]", "[0,8]"), entry("\"F32\"", "[-1,-2]", "[0,8]"),
        entry("\"F32\"", "[2.0]", "[0,8]"),
        entry("\"F32\"", "[4611686018427387904,4]", "[0,8]"),
        entry("\"F32\"", "[9223372036854775807,9223372036854775807]", "[0,8]"),
        entry("\"F32\"", "[4294967296,4294967296]", "[0,0]"), entry("\"F32\"", "2", "[0,8]"),
        entry("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), entry("\"F32\"", "[\"2\"]", "[0,8]"),
        entry("\"F64\"", "[1]", "[0,8]"), entry("\"f32\"", "[2]", "[0,8]"), entry("32", "[2]", "[0,8]"),
        entry("\"F32\"", "[2]", "[0,8]").replacing(":{", with: ":{\"extra\":1,"),
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}",
        // Overlap, gap, duplicate names, wrong metadata, deep nesting.
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
            + "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
            + "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
            + "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
            + "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
        "{\"__metadata__\":{\"a\":1}," + entry("\"F32\"", "[2]", "[0,8]").dropFirst(),
        "{\"__metadata__\":[]," + entry("\"F32\"", "[2]", "[0,8]").dropFirst(),
        "{\"__metadata__\":{\"a\":{\"b\":\"c\"}}," + entry("\"F32\"", "[2]", "[0,8]").dropFirst(),
        "{\"a\":" + String(repeating: "[", count: 40) + String(repeating: "]", count: 40) + "}",
        entry("\"F32\"", "[2]", "[0,8]") + "x", entry("\"F32\"", "[2]", "[0,8]") + "{}",
    ]

    static func entry(_ type: String, _ shape: String, _ offsets: String) -> String {
        "{\"a\":{\"dtype\":\(type),\"shape\":\(shape),\"data_offsets\":\(offsets)}}"
    }

    @Test("a hostile header gives a typed error", arguments: hostileHeaders)
    func hostile(header: String) throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "a.safetensors")
            try file(header: Data(header.utf8)).write(to: url)
            let error = try #require(checkpointError { try SafetensorsFile(contentsOf: url) }, "accepted")
            switch error {
            case .invalidSafetensors, .invalidJSON, .unexpectedDataType: break
            default: Issue.record("\(error)")
            }
        }
    }

    @Test(
        "a header length beyond the file or the limit is refused before anything is allocated",
        arguments: [
            11, 100_000_001, UInt64(Int64.max), UInt64.max,
        ] as [UInt64])
    func headerLength(length: UInt64) throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "a.safetensors")
            try file(header: Data("{}".utf8), length: length).write(to: url)
            guard case .invalidSafetensors = checkpointError({ try SafetensorsFile(contentsOf: url) }) else {
                Issue.record("no error")
                return
            }
        }
    }

    @Test("data at an odd offset are copied to an aligned place")
    func alignment() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "a.safetensors")
            let header = Self.entry("\"F32\"", "[2]", "[0,8]")
            for spaces in 0..<8 {
                try file(header: Data((header + String(repeating: " ", count: spaces)).utf8)).write(to: url)
                let opened = try SafetensorsFile(contentsOf: url)
                let tensor = try opened.tensor(#require(opened.tensors.first))
                #expect(tensor.byteOffset % 4 == 0 && Array(tensor.bytes) == [0, 1, 2, 3, 4, 5, 6, 7])
            }
        }
    }

    /// Eight bytes of data, 0…7, under a header.
    private func file(header: Data, length: UInt64? = nil) -> Data {
        var count = (length ?? UInt64(header.count)).littleEndian
        return Data(bytes: &count, count: 8) + header + Data(0..<8)
    }
}
