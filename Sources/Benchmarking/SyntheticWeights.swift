internal import Models
package import Tensors

/// Random weights of any shape, so that a model's speed can be measured without a checkpoint: bfloat16 matrices of
/// ordinary scale, float32 vectors. The same name gives the same numbers.
package struct SyntheticWeights: WeightSource {
    package init() {}

    package func contains(_ name: String) -> Bool {
        // Which linear layers have biases, as in the published checkpoints.
        if name.hasPrefix("vision.") { return !name.hasSuffix("qkv.bias") }
        return !["output.bias", "down.bias"].contains { name.hasSuffix($0) }
    }

    package func tensor(_ name: String, shape: [Int]) throws -> Tensor {
        let count = shape.reduce(1, *)
        var random = LinearCongruential(seed: name)
        if shape.count == 1 {
            // Norms and scales around one, biases small.
            let center: Float = name.hasSuffix(".bias") ? 0 : 1
            return try Tensor((0..<count).map { _ in center + 0.02 * random.next() }, shape: shape)
        }
        let fan = max(shape.dropFirst().reduce(1, *), 1)
        let bound = (3 / Float(fan)).squareRoot()
        // A prime number of random numbers, over and over, so that no two rows of a matrix are alike.
        let block = (0..<min(count, 65521)).map { _ in UInt16((bound * random.next()).bitPattern >> 16) }
        let storage = try Storage(uninitializedByteCount: 2 * count)
        let target = storage.mutableBytes.bindMemory(to: UInt16.self)
        block.withUnsafeBufferPointer { block in
            var start = 0
            while start < count {
                let part = min(block.count, count - start)
                _ = UnsafeMutableBufferPointer(rebasing: target[start..<start + part])
                    .update(fromContentsOf: UnsafeBufferPointer(rebasing: block[..<part]))
                start += part
            }
        }
        return try Tensor(.bfloat16, shape: shape, storage: storage)
    }
}

/// Uniform numbers in −1 … 1, quickly.
struct LinearCongruential {
    private var state: UInt64

    init(seed: String) {
        // FNV-1a: the standard library's hash differs from run to run.
        state = seed.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    mutating func next() -> Float {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Float(Int32(truncatingIfNeeded: state >> 32)) * 0x1p-31
    }
}
