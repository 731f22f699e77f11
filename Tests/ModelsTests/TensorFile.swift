import Foundation
import Models
import Tensors
import TestSupport

/// A small safetensors file of a fixture, read with Foundation alone, so that the tests of the networks do not
/// lean on the room that reads checkpoints.
struct TensorFile: WeightSource {
    struct Missing: Error { let name: String }

    private let tensors: [String: Tensor]
    /// Numbers that belong to the block, such as its heads.
    let settings: [String: Double]

    init(_ path: String) throws {
        let data = try Fixture.data(path)
        let length = data.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
        let header =
            try JSONSerialization.jsonObject(with: data.dropFirst(8).prefix(length)) as? [String: Any] ?? [:]
        var tensors: [String: Tensor] = [:]
        for (name, value) in header where name != "__metadata__" {
            guard let entry = value as? [String: Any], let shape = entry["shape"] as? [Int],
                let offsets = entry["data_offsets"] as? [Int],
                let type = (entry["dtype"] as? String).flatMap(DataType.init(rawValue:))
            else { throw Missing(name: name) }
            let bytes = data.dropFirst(8 + length + offsets[0]).prefix(offsets[1] - offsets[0])
            let storage = try Storage(byteCount: bytes.count)
            bytes.withUnsafeBytes { storage.mutableBytes.copyMemory(from: $0) }
            tensors[name] = try Tensor(type, shape: shape, storage: storage)
        }
        self.tensors = tensors
        let text = (header["__metadata__"] as? [String: String])?["settings"] ?? "{}"
        settings = try JSONDecoder().decode([String: Double].self, from: Data(text.utf8))
    }

    subscript(name: String) -> Tensor {
        get throws {
            guard let tensor = tensors[name] else { throw Missing(name: name) }
            return tensor
        }
    }

    func contains(_ name: String) -> Bool { tensors[name] != nil }

    /// 1×1 convolutions stand in the fixtures as matrices.
    func tensor(_ name: String, shape: [Int]) throws -> Tensor { try self[name].reshaped(shape) }

    /// Pairs of `input`, `input.1`, … and the output of the same number.
    var cases: [(input: Tensor, output: Tensor)] {
        get throws {
            try tensors.keys.filter { $0 == "input" || $0.hasPrefix("input.") }.sorted().map { name in
                (try self[name], try self["output" + name.dropFirst("input".count)])
            }
        }
    }
}

/// How far `got` is from `expected`, relative to the size of `expected`: ‖got − expected‖ / ‖expected‖.
func relativeError(_ got: some Sequence<Float>, _ expected: some Sequence<Float>) -> Double {
    var difference = 0.0
    var size = 0.0
    for (a, b) in zip(got, expected) {
        difference += Double(a - b) * Double(a - b)
        size += Double(b) * Double(b)
    }
    // A NaN anywhere makes the comparison with a bound fail, as it should.
    return (difference / max(size, .leastNormalMagnitude)).squareRoot()
}

/// Cosine of the angle between two vectors.
func cosine(_ a: [Float], _ b: [Float]) -> Double {
    var product = 0.0
    var lengths = (0.0, 0.0)
    for (x, y) in zip(a, b) {
        product += Double(x) * Double(y)
        lengths.0 += Double(x) * Double(x)
        lengths.1 += Double(y) * Double(y)
    }
    return product / (lengths.0 * lengths.1).squareRoot()
}

extension Workspace {
    /// A map with a tensor's numbers.
    func map(_ tensor: Tensor) throws -> FeatureMap {
        let map = try map(height: tensor.shape[0], width: tensor.shape[1], channels: tensor.shape[2])
        _ = map.buffer.initialize(from: tensor.floats())
        return map
    }

    /// A matrix with a tensor's numbers.
    func matrix(_ tensor: Tensor) throws -> Matrix {
        let matrix = try matrix(tensor.shape[0], tensor.shape[1])
        _ = UnsafeMutableBufferPointer(start: matrix.pointer, count: tensor.count).initialize(
            from: tensor.floats())
        return matrix
    }

    /// A matrix full of NaN: what a forgotten element of an output looks like.
    func poisoned(_ rows: Int, _ columns: Int) throws -> Matrix {
        let matrix = try matrix(rows, columns)
        matrix.pointer.update(repeating: .nan, count: rows * columns)
        return matrix
    }
}
