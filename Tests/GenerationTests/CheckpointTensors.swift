import Checkpoints
import Foundation
import Tensors

/// Expected values of a fixture, by name.
struct CheckpointTensors {
    struct Missing: Error { let name: String }

    private let tensors: [String: [Float]]

    init(_ url: URL) throws {
        let file = try SafetensorsFile(contentsOf: url)
        tensors = try Dictionary(
            uniqueKeysWithValues: file.tensors.map { ($0.name, try file.tensor($0).floats()) })
    }

    subscript(name: String) -> [Float] {
        get throws {
            guard let values = tensors[name] else { throw Missing(name: name) }
            return values
        }
    }

    func contains(_ name: String) -> Bool { tensors[name] != nil }
}
