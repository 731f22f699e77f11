import Checkpoints
import Models
import Tensors
import TestSupport
import Testing

@Suite("Weights are taken as they are stored, or packed anew")
struct WeightLoaderTests {
    /// One matrix of somebody else's integers.
    private struct Integers: WeightSource {
        let matrix: IntegerMatrix

        func contains(_ name: String) -> Bool { name == "w" }
        func tensor(_ name: String, shape: [Int]) throws -> Tensor {
            try Tensor([Float](repeating: 1, count: shape.reduce(1, *)), shape: shape)
        }
        func matrix(_ name: String, shape: [Int]) throws -> MatrixValues { .integers(matrix) }
    }

    @Test(
        "Integers are kept where no fewer bits are asked for, whatever the other matrices have",
        arguments: [(stored: 8, others: 4, asked: 8), (4, 4, 8), (8, 8, 4), (8, 4, 4), (4, 8, 16)])
    func keptIntegers(stored: Int, others: Int, asked: Int) throws {
        let words = try Storage(byteCount: 4 * 64 * stored / 8)
        words.mutableBytes.initializeMemory(as: UInt8.self, repeating: 7)
        let ones = try Tensor([Float](repeating: 1, count: 4), shape: [4, 1])
        let source = Integers(
            matrix: try IntegerMatrix(
                words: Tensor(.uint32, shape: [4, 64 * stored / 32], storage: words), scales: ones,
                biases: ones, outputs: 4, inputs: 64, bits: stored, group: 64))
        func format(_ bits: Int) -> WeightFormat {
            bits == 4 ? .int4(group: 64) : bits == 8 ? .int8(group: 64) : .bfloat16
        }
        for instructionSet in InstructionSet.available {
            let compute = try Compute(threads: 1, instructionSet: instructionSet)
            let recorder = PanelRecorder()
            let loader = WeightLoader(source, format: format(others), compute: compute, recorder: recorder)
            let packed = try loader.matrix("w", shape: [4, 64], format: format(asked))
            let isKept = asked < 16 && stored <= asked && compute.keepsIntegers(bits: stored)
            #expect((recorder.panels["w"]?.layout.hasMinima ?? false) == isKept, "\(instructionSet)")
            withExtendedLifetime(packed) {}
        }
    }

    /// Weights of ones, one of them changed.
    private struct Plain: WeightSource {
        var change: @Sendable (inout [Float]) -> Void = { _ in }
        var integers: IntegerMatrix?

        func contains(_ name: String) -> Bool { true }
        func tensor(_ name: String, shape: [Int]) throws -> Tensor {
            var values = [Float](repeating: 1, count: shape.reduce(1, *))
            if name.contains("changed") { change(&values) }
            return try Tensor(values, shape: shape)
        }
        func origin(of name: String) -> WeightOrigin {
            WeightOrigin(file: "a.safetensors", tensor: "their.\(name)")
        }
    }

    /// Everything that a loader makes of one weight; `name` is the part's.
    private func load(_ loader: WeightLoader, _ kind: String) throws {
        let part = loader.part("changed")
        switch kind {
        case "matrix": _ = try part.matrix("w", shape: [32, 48], format: loader.format)
        case "linear": _ = try loader.linear("changed", outputs: 32, inputs: 48)
        case "gate": _ = try loader.gated("changed", "up", outputs: 32, inputs: 48)
        case "up": _ = try loader.gated("gate", "changed", outputs: 32, inputs: 48)
        case "depthwise": _ = try loader.depthwise("changed", outputs: 32, inputs: 32, kernel: 3)
        case "embedding": _ = try part.embedding("w", rows: 32, channels: 48)
        case "stem": _ = try part.taps("weight", shape: [32, 3, 3, 3])
        default: _ = try part.vector("w", count: 32)
        }
    }

    private static let kinds = ["matrix", "linear", "gate", "up", "depthwise", "stem", "embedding", "vector"]
    private static let formats: [WeightFormat] = [.float32, .bfloat16, .int8(group: 32), .int4(group: 32)]

    @Test("NaN and infinity in any weight are errors that name tensor and file", arguments: kinds, formats)
    func notFinite(kind: String, format: WeightFormat) throws {
        for instructionSet in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: instructionSet)
            for value in [Float.nan, .infinity, -.infinity] {
                let source = Plain(change: { $0[$0.count - 1] = value })
                let error = #expect(throws: CheckpointError.self) {
                    try load(WeightLoader(source, format: format, compute: compute), kind)
                }
                guard case .notFinite("a.safetensors", let tensor)? = error else {
                    Issue.record("\(kind) \(format) on \(instructionSet): \(String(describing: error))")
                    continue
                }
                #expect(tensor.hasPrefix("their.changed"))
            }
            try load(WeightLoader(Plain(), format: format, compute: compute), kind)
        }
    }

    @Test(
        "Zeros, all or from the middle on, are a remark that names them; in vectors they are nothing",
        arguments: kinds, formats)
    func zeros(kind: String, format: WeightFormat) throws {
        let compute = try Compute(threads: 2)
        for keep in [0, 2, 1] {
            let findings = LoadFindings()
            let source = Plain(change: { values in
                for index in keep == 1 ? values.count..<values.count : values.count * keep / 4..<values.count
                {
                    values[index] = 0
                }
            })
            try load(WeightLoader(source, format: format, compute: compute, findings: findings), kind)
            let isFound = kind != "vector" && keep != 1
            #expect(findings.remarks.count == (isFound ? 1 : 0), "\(kind) \(keep): \(findings.remarks)")
            if isFound, let remark = findings.remarks.first {
                #expect(remark.contains("a.safetensors: ") && remark.contains("their.changed"))
                #expect(
                    remark.contains(keep == 0 ? "every number of" : "the last 16 of 32 rows of"))
            }
        }
    }

    @Test("Many weights of zeros are one remark")
    func manyZeros() throws {
        let findings = LoadFindings()
        let source = Plain(change: { $0 = [Float](repeating: 0, count: $0.count) })
        let loader = try WeightLoader(
            source, format: .bfloat16, compute: Compute(threads: 1), findings: findings)
        for _ in 0..<9 { try load(loader, "matrix") }
        #expect(findings.remarks.count == 1 && findings.remarks.first?.contains("and 6 more like it") == true)
    }

    @Test("A large table is looked at in parts, of which each counts", arguments: [Float.nan, 0])
    func largeTable(value: Float) throws {
        let rows = 4000
        for place in [0, 1999, rows - 1] {
            let findings = LoadFindings()
            // With NaN one row is wrong; with 0 all rows behind `place` are.
            let source = Plain(change: { values in
                let width = values.count / rows
                let wrong =
                    value.isNaN ? place * width..<place * width + 1 : (place + 1) * width..<values.count
                for index in wrong { values[index] = value }
            })
            let loader = try WeightLoader(
                source, format: .bfloat16, compute: Compute(threads: 2), findings: findings)
            func load() throws {
                _ = try loader.part("changed").embedding("w", rows: rows, channels: 300)
                _ = try loader.part("changed").embedding("w", rows: rows, channels: 300, isPacked: true)
            }
            if value.isNaN {
                #expect(throws: CheckpointError.self) { try load() }
            } else {
                try load()
                let rest = rows - 1 - place
                #expect(findings.remarks.count == (rest > 0 ? 1 : 0))
                #expect(rest == 0 || findings.remarks.first?.contains("last \(rest) of 4000 rows") == true)
            }
        }
    }

    /// Packed matrices, perhaps damaged since.
    private struct Packed: WeightSource {
        let panels: PackedPanels

        func contains(_ name: String) -> Bool { true }
        func tensor(_ name: String, shape: [Int]) throws -> Tensor {
            try Tensor([Float](repeating: 1, count: shape.reduce(1, *)), shape: shape)
        }
        func matrix(_ name: String, shape: [Int]) throws -> MatrixValues {
            .panels(panels, isSecond: name == "up")
        }
    }

    @Test(
        "Packed weights are looked at where they stand",
        arguments: [WeightFormat.int8(group: 32), .int4(group: 32)])
    func packed(format: WeightFormat) throws {
        for instructionSet in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: instructionSet)
            func load(_ source: any WeightSource, _ name: String, findings: LoadFindings? = nil) throws
                -> PackedPanels
            {
                let recorder = PanelRecorder()
                let loader = WeightLoader(
                    source, format: format, compute: compute, recorder: recorder, findings: findings)
                if name == "w" {
                    _ = try loader.matrix("w", shape: [80, 80], format: format)
                } else {
                    _ = try loader.gated("gate", "up", outputs: 80, inputs: 80)
                }
                return try #require(recorder.panels[name])
            }
            for name in ["w", "gate"] {
                let panels = try load(Plain(), name)
                func damaged(_ change: (UnsafeMutableRawBufferPointer) -> Void) throws -> Packed {
                    let bytes = try panels.tensor().bytes
                    let storage = try Storage(byteCount: bytes.count)
                    storage.mutableBytes.copyMemory(from: bytes)
                    change(storage.mutableBytes)
                    return Packed(
                        panels: try #require(
                            PackedPanels(layout: panels.layout, storage: storage, byteOffset: 0)))
                }
                let findings = LoadFindings()
                _ = try load(damaged { _ in }, name, findings: findings)
                #expect(findings.remarks.isEmpty, "\(findings.remarks)")
                _ = try load(
                    damaged { $0.initializeMemory(as: UInt8.self, repeating: 0) }, name, findings: findings)
                #expect(findings.remarks.first?.contains("every number of") == true, "\(findings.remarks)")
                // The scale of the last panel's first output, which is one of the second matrix's in no pair.
                for value in [Float.nan, .infinity] {
                    let source = try damaged { bytes in
                        let perPanel = panels.layout.panelWidth / (panels.layout.isGated ? 2 : 1)
                        let count = (80 + perPanel - 1) / perPanel
                        bytes.storeBytes(
                            of: value, toByteOffset: bytes.count / count * (count - 1), as: Float.self)
                    }
                    #expect(throws: CheckpointError.self) { _ = try load(source, name) }
                }
            }
        }
    }

    @Test("A table of integers whose scale is NaN is an error")
    func damagedIntegers() throws {
        let words = try Storage(byteCount: 40 * 32)
        words.mutableBytes.initializeMemory(as: UInt8.self, repeating: 0x21)
        var values = [Float](repeating: 1, count: 40)
        let ones = try Tensor(values, shape: [40, 1])
        values[39] = .nan
        let wrong = try Tensor(values, shape: [40, 1])
        for (scales, biases) in [(wrong, ones), (ones, wrong)] {
            let source = Integers(
                matrix: try IntegerMatrix(
                    words: Tensor(.uint32, shape: [40, 8], storage: words), scales: scales, biases: biases,
                    outputs: 40, inputs: 64, bits: 4, group: 64))
            let loader = try WeightLoader(source, format: .bfloat16, compute: Compute(threads: 1))
            #expect(throws: CheckpointError.self) {
                _ = try loader.embedding("w", rows: 40, channels: 64)
            }
        }
    }

    @Test("A table of integers is gathered as it is, with its bytes")
    func embedding() throws {
        let words = try Storage(byteCount: 40 * 64 / 2)
        words.mutableBytes.initializeMemory(as: UInt8.self, repeating: 0x21)
        let ones = try Tensor([Float](repeating: 1, count: 40), shape: [40, 1])
        let source = Integers(
            matrix: try IntegerMatrix(
                words: Tensor(.uint32, shape: [40, 8], storage: words), scales: ones, biases: ones,
                outputs: 40,
                inputs: 64, bits: 4, group: 64))
        for format in Self.formats {
            let loader = try WeightLoader(source, format: format, compute: Compute(threads: 1))
            let table = try loader.embedding("w", rows: 40, channels: 64)
            #expect(table.byteCount == 40 * 32 + 2 * 40 * 4, "as numbers it would take 10,240 bytes")
        }
    }
}
