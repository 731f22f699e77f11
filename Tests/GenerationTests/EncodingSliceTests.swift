import Checkpoints
import Models
import Tensors
import Testing

/// An image encoded slice by slice, with whatever happens between the slices, has the features of an image encoded at
/// once: bit for bit, in every precision, on every instruction set that is here.
@Suite("Encodings in slices")
struct EncodingSliceTests {
    private static let combinations = InstructionSet.available.flatMap { set in
        Precision.allCases.map { (set, $0) }
    }

    /// Pixels and features of one encoding in a workspace of its own.
    private final class Subject {
        let workspace = Workspace()
        let pixels: FeatureMap
        let features: Matrix
        private let encoder: any VisionTower

        init(_ encoder: any VisionTower, height: Int, width: Int) throws {
            self.encoder = encoder
            pixels = try workspace.map(height: height, width: width, channels: 3)
            for index in pixels.buffer.indices {
                pixels.buffer[index] = Float((index * 7919 + height) % 255) / 127.5 - 1
            }
            features = try workspace.matrix(
                encoder.tokens(height: height, width: width), encoder.featureChannels)
            poison()
        }

        /// Spoils the features and what the activations will be written to.
        func poison() {
            let mark = workspace.mark()
            if let rest = try? workspace.matrix(1 << 16, 1) {
                rest.pointer.update(repeating: .nan, count: rest.rows)
            }
            workspace.release(to: mark)
            features.pointer.update(repeating: .nan, count: features.rows * features.columns)
        }

        func begin() -> any VisionEncoding { encoder.begin(pixels, into: features, workspace: workspace) }

        func whole(on compute: Compute) throws -> [UInt32] {
            poison()
            try encoder.encode(pixels, into: features, workspace: workspace, on: compute)
            return bits
        }

        var bits: [UInt32] { (0..<features.rows).flatMap { features.row($0).map(\.bitPattern) } }
    }

    @Test(
        "are those at once, at odd sizes, with a decoder's steps and another image between them",
        arguments: combinations)
    func interleaved(set: InstructionSet, precision: Precision) throws {
        let model = try TinyModel("tiny-hf", precision: precision, instructionSet: set)
        let (network, compute) = (model.network, model.compute)
        let hidden = network.configuration.text.hiddenSize
        let workspace = Workspace()
        let step = try workspace.matrix(1, hidden)
        let logits = try workspace.matrix(1, network.configuration.text.vocabularySize)
        func decode(_ cache: KeyValueCache) throws -> [UInt32] {
            network.decoder.embed([cache.count % 250], into: step, on: compute)
            try network.decoder.forward(step, cache: cache, logits: logits, workspace: workspace, on: compute)
            return logits.row(0).map(\.bitPattern)
        }
        for (height, width) in [(64, 64), (127, 65), (1, 1), (70, 333), (192, 192)] {
            let first = try Subject(network.encoder, height: height, width: width)
            let second = try Subject(network.encoder, height: width + 5, width: height)
            let expected = try (first.whole(on: compute), second.whole(on: compute))
            #expect(!expected.0.contains { Float(bitPattern: $0).isNaN })
            first.poison()
            second.poison()
            let alone = network.decoder.makeCache()
            let between = network.decoder.makeCache()
            let encodings = (first.begin(), second.begin())
            var ended = (false, false)
            var progress = 0.0
            while !ended.0 || !ended.1 {
                ended.0 = try encodings.0.step(on: compute)
                let logits = try decode(between)
                ended.1 = try encodings.1.step(on: compute)
                #expect(encodings.0.progress >= progress && encodings.0.progress <= 1)
                progress = encodings.0.progress
                #expect(try decode(alone) == logits)
            }
            #expect(encodings.0.progress == 1 && encodings.1.progress == 1)
            let got = (first.bits, second.bits)
            #expect(got.0 == expected.0 && got.1 == expected.1, "\(set) \(precision) \(height)×\(width)")
            // Complete is complete: a further call does nothing.
            first.poison()
            #expect(try encodings.0.step(on: compute))
            #expect(first.features[0, 0].isNaN)
        }
    }

    @Test("stop where the flag is raised, stay stopped, and leave their workspace to the next")
    func cancelled() throws {
        let model = try TinyModel("tiny-hf", precision: .float32)
        let compute = model.compute
        let subject = try Subject(model.network.encoder, height: 128, width: 128)
        let expected = try subject.whole(on: compute)
        var slices = 1
        let counted = subject.begin()
        while try !counted.step(on: compute) { slices += 1 }
        let held = subject.workspace.capacityBytes
        for stop in 0..<slices {
            subject.poison()
            let cancellation = Cancellation()
            let flagged = compute.withCancellation(cancellation)
            let encoding = subject.begin()
            for _ in 0..<stop {
                let complete = try encoding.step(on: flagged)
                #expect(!complete)
            }
            cancellation.cancel()
            #expect(throws: TensorError.cancelled) { try encoding.step(on: flagged) }
            // Nor does it go on for somebody without a flag: what it holds may be undefined.
            #expect(throws: TensorError.cancelled) { try encoding.step(on: compute) }
            #expect(subject.features[0, 0].isNaN)
            #expect(try subject.whole(on: compute) == expected)
        }
        #expect(subject.workspace.capacityBytes == held)
    }
}
