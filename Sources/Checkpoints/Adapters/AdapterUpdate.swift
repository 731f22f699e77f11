internal import Tensors

/// What an adapter does to one weight.
struct AdapterUpdate: Sendable {
    enum Change: Sendable {
        case lowRank(LowRankAdapter.Pair)
        case replacement(StoredTensor)
    }

    let file: SafetensorsFile
    let change: Change

    /// The changed weight in float32, whatever the original is stored as, so that nothing is rounded before packing.
    /// - Parameter shape: of both; for a pair [outputs, inputs].
    func applied(
        to base: WeightRecipe, shape: [Int], from catalog: TensorCatalog
    ) throws(CheckpointError) -> Tensor {
        switch change {
        case .replacement(let stored):
            let values = try file.tensor(stored).floats()
            return try CheckpointError.wrapping { () throws(TensorError) in try Tensor(values, shape: shape) }
        case .lowRank(let pair):
            let weight = try base.make(shape: shape, from: catalog).floats()
            let (a, b) = (try file.tensor(pair.a).floats(), try file.tensor(pair.b).floats())
            let (outputs, inputs, rank) = (shape[0], shape[1], pair.a.shape[0])
            return try CheckpointError.wrapping { () throws(TensorError) in
                try Tensor(float32: shape) { target in
                    Self.add(
                        target, weight: weight, a: a, b: b,
                        scale: Float(pair.scale), outputs: outputs, inputs: inputs, rank: rank)
                }
            }
        }
    }

    /// target = weight + scale · (B · A), a row at a time: the rows of A stay in the cache.
    private static func add(
        _ target: UnsafeMutableBufferPointer<Float>, weight: [Float], a: [Float], b: [Float], scale: Float,
        outputs: Int, inputs: Int, rank: Int
    ) {
        weight.withUnsafeBufferPointer { weight in
            a.withUnsafeBufferPointer { a in
                var row = [Float](repeating: 0, count: inputs)
                row.withUnsafeMutableBufferPointer { row in
                    for output in 0..<outputs {
                        row.update(repeating: 0)
                        // Four rows of A at a time: a quarter of the reading and writing of sums.
                        for index in stride(from: 0, to: rank, by: 4) {
                            let count = min(4, rank - index)
                            func factor(_ offset: Int) -> Float {
                                offset < count ? b[output * rank + index + offset] : 0
                            }
                            func start(_ offset: Int) -> Int { (index + min(offset, count - 1)) * inputs }
                            let (f0, f1, f2, f3) = (factor(0), factor(1), factor(2), factor(3))
                            let (a0, a1, a2, a3) = (start(0), start(1), start(2), start(3))
                            for input in 0..<inputs {
                                let lower = f0 * a[a0 + input] + f1 * a[a1 + input]
                                let upper = f2 * a[a2 + input] + f3 * a[a3 + input]
                                row[input] += lower + upper
                            }
                        }
                        let start = output * inputs
                        for input in 0..<inputs {
                            target[start + input] = weight[start + input] + scale * row[input]
                        }
                    }
                }
            }
        }
    }
}
