import Foundation
import Testing

@testable import Tensors

@Suite struct ConvolutionTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        let height: Int
        let width: Int
        let channels: Int
        let kernel: Int
        let stride: Int
        let multiplier: Int
        var testDescription: String { "\(height)×\(width)×\(channels) k\(kernel) s\(stride) m\(multiplier)" }
        var outHeight: Int { (height + stride - 1) / stride }
        var outWidth: Int { (width + stride - 1) / stride }
    }

    static let shapes: [Shape] =
        [3, 7].flatMap { kernel in
            [1, 2].flatMap { stride in
                [1, 2].flatMap { multiplier in
                    [(1, 1, 1), (2, 9, 8), (5, 3, 17), (13, 29, 24), (20, 33, 40), (16, 64, 16)].map {
                        Shape(
                            height: $0, width: $1, channels: $2, kernel: kernel, stride: stride,
                            multiplier: multiplier)
                    }
                }
            }
        } + [
            Shape(height: 11, width: 12, channels: 9, kernel: 1, stride: 1, multiplier: 1),
            Shape(height: 11, width: 12, channels: 9, kernel: 5, stride: 2, multiplier: 2),
            Shape(height: 6, width: 21, channels: 33, kernel: 9, stride: 1, multiplier: 1),
            // Cut by rows and by channels.
            Shape(height: 70, width: 40, channels: 33, kernel: 7, stride: 1, multiplier: 1),
            Shape(height: 67, width: 75, channels: 17, kernel: 7, stride: 2, multiplier: 2),
        ]

    @Test("a depthwise convolution equals float64 loops", arguments: shapes)
    func depthwise(_ s: Shape) throws {
        var random = Random()
        let outputs = s.channels * s.multiplier
        let x = random.floats(s.height * s.width * s.channels)
        let w = random.floats(outputs * s.kernel * s.kernel, scale: 1 / Float(s.kernel))
        let b = random.floats(outputs)
        var without: [Sum] = []
        for row in 0..<s.outHeight {
            for column in 0..<s.outWidth {
                for o in 0..<outputs {
                    var sum = Sum()
                    for ky in 0..<s.kernel {
                        for kx in 0..<s.kernel {
                            let y = row * s.stride + ky - s.kernel / 2
                            let c = column * s.stride + kx - s.kernel / 2
                            guard y >= 0, y < s.height, c >= 0, c < s.width else { continue }
                            sum +=
                                Double(x[(y * s.width + c) * s.channels + o / s.multiplier])
                                * Double(w[(o * s.kernel + ky) * s.kernel + kx])
                        }
                    }
                    without.append(sum)
                }
            }
        }
        let expected = without.indices.map { without[$0] + Double(b[$0 % outputs]) }
        let weight = try Tensor(w, shape: [outputs, 1, s.kernel, s.kernel])
        let weights = try DepthwiseWeights(
            weight: weight, bias: Tensor(b, shape: [outputs]), inputChannels: s.channels, stride: s.stride)
        let unbiased = try DepthwiseWeights(
            weight: weight, bias: nil, inputChannels: s.channels, stride: s.stride)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            let input = Guarded(s.height * s.width, s.channels, values: x)
            for activation in [Activation.none, .gelu] {
                let output = Guarded(s.outHeight * s.outWidth, outputs)
                compute.depthwise(
                    input.map(s.height, s.width), weights, activation: activation,
                    into: output.map(s.outHeight, s.outWidth))
                #expect(
                    normalisedError(output.values, expected.map { $0.activated { apply(activation, $0) } })
                        < 1e-7,
                    "\(set) \(activation) seed \(random.seed)")
                #expect(output.isIntact && input.isIntact)
            }
            let alone = Guarded(s.outHeight * s.outWidth, outputs)
            try Compute(threads: 1, instructionSet: set).depthwise(
                input.map(s.height, s.width), weights, activation: .gelu,
                into: alone.map(s.outHeight, s.outWidth))
            let among = Guarded(s.outHeight * s.outWidth, outputs)
            try Compute(threads: 5, instructionSet: set).depthwise(
                input.map(s.height, s.width), weights, activation: .gelu,
                into: among.map(s.outHeight, s.outWidth))
            #expect(
                alone.values == among.values, "\(set): other bits with other threads, seed \(random.seed)")
            let bare = Guarded(s.outHeight * s.outWidth, outputs)
            compute.depthwise(input.map(s.height, s.width), unbiased, into: bare.map(s.outHeight, s.outWidth))
            #expect(normalisedError(bare.values, without) < 1e-7)
        }
    }

    @Test(
        "the dense first convolution equals float64 loops",
        arguments: [
            (9, 12, 3, 16, 3, 2), (8, 8, 3, 33, 3, 2), (7, 5, 2, 5, 5, 1), (40, 70, 3, 24, 3, 2),
            (1, 1, 1, 1, 1, 1),
        ])
    func stem(_ height: Int, _ width: Int, _ channels: Int, _ outputs: Int, _ kernel: Int, _ stride: Int)
        throws
    {
        var random = Random()
        let x = random.floats(height * width * channels)
        let w = random.floats(outputs * channels * kernel * kernel, scale: 0.3)
        let b = random.floats(outputs)
        let (outHeight, outWidth) = ((height + stride - 1) / stride, (width + stride - 1) / stride)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            for format in [WeightFormat.float32, .bfloat16] {
                var expected: [Sum] = []
                for row in 0..<outHeight {
                    for column in 0..<outWidth {
                        for o in 0..<outputs {
                            var sum = Sum(Double(b[o]))
                            for c in 0..<channels {
                                for ky in 0..<kernel {
                                    for kx in 0..<kernel {
                                        let r = row * stride + ky - kernel / 2
                                        let q = column * stride + kx - kernel / 2
                                        guard r >= 0, r < height, q >= 0, q < width else { continue }
                                        let weight = w[((o * channels + c) * kernel + ky) * kernel + kx]
                                        sum +=
                                            Double(x[(r * width + q) * channels + c])
                                            * Double(format == .bfloat16 ? rounded(weight) : weight)
                                    }
                                }
                            }
                            expected.append(sum.activated(gelu))
                        }
                    }
                }
                let weights = try StemWeights(
                    weight: Tensor(w, shape: [outputs, channels, kernel, kernel]),
                    bias: Tensor(b, shape: [outputs]), stride: stride, format: format, compute: compute)
                let output = Guarded(outHeight * outWidth, outputs)
                compute.stem(
                    Guarded(height * width, channels, values: x).map(height, width), weights,
                    activation: .gelu, into: output.map(outHeight, outWidth))
                #expect(
                    normalisedError(output.values, expected) < tolerance(set, format),
                    "\(set) \(format) seed \(random.seed)")
                #expect(output.isIntact)
            }
        }
    }

    @Test("squeeze and excite: channel means, gate, sigmoid")
    func squeeze() throws {
        var random = Random()
        let (height, width, channels) = (5, 7, 45)
        let x = random.floats(height * width * channels)
        let g = random.floats(channels)
        for set in InstructionSet.available {
            let compute = try Compute(threads: 2, instructionSet: set)
            let map = Guarded(height * width, channels, values: x)
            let mean = Guarded(1, channels)
            compute.channelMeans(map.map(height, width), into: mean.matrix)
            var means = [Double](repeating: 0, count: channels)
            for index in x.indices { means[index % channels] += Double(x[index]) / Double(height * width) }
            #expect(normalisedError(mean.values, means) < 1e-10)
            let gate = Guarded(1, channels, values: g)
            compute.sigmoid(gate.matrix)
            let gates = g.map { 1 / (1 + exp(-Double($0))) }
            #expect(normalisedError(gate.values, gates) < 1e-12)
            compute.multiplyChannels(map.map(height, width), by: gate.matrix, activation: .gelu)
            let expected = x.indices.map { gelu(Double(x[$0]) * gates[$0 % channels]) }
            #expect(normalisedError(map.values, expected) < 1e-11, "\(set) seed \(random.seed)")
            #expect(map.isIntact && mean.isIntact && gate.isIntact)
        }
    }

    @Test("convolution weights of another shape are refused")
    func refused() throws {
        func depthwise(_ shape: [Int], _ channels: Int, _ stride: Int, bias: Int? = nil) throws {
            _ = try DepthwiseWeights(
                weight: Tensor([Float](repeating: 0, count: shape.reduce(1, *)), shape: shape),
                bias: bias.map { try Tensor([Float](repeating: 0, count: $0), shape: [$0]) },
                inputChannels: channels, stride: stride)
        }
        try depthwise([4, 1, 3, 3], 4, 1, bias: 4)
        #expect(throws: TensorError.self) { try depthwise([4, 1, 3, 3], 3, 1) }
        #expect(throws: TensorError.self) { try depthwise([4, 1, 3, 3], 0, 1) }
        #expect(throws: TensorError.self) { try depthwise([4, 2, 3, 3], 4, 1) }
        #expect(throws: TensorError.self) { try depthwise([4, 1, 3, 5], 4, 1) }
        #expect(throws: TensorError.self) { try depthwise([4, 1, 4, 4], 4, 1) }
        #expect(throws: TensorError.self) { try depthwise([4, 1, 3, 3], 4, 3) }
        #expect(throws: TensorError.self) { try depthwise([4, 1, 3, 3], 4, 1, bias: 3) }
        #expect(throws: TensorError.self) { try depthwise([4, 9], 4, 1) }
    }
}
