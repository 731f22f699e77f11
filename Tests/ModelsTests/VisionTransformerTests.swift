import Checkpoints
import Models
import Tensors
import TestSupport
import Testing

/// CLIP's and SigLIP's towers, small and seeded, against transformers: every layer that can be taken, with and without the
/// norm behind it, in every precision on every instruction set that this machine has.
@Suite("Vision transformers equal transformers'")
struct VisionTransformerTests {
    struct Family: Sendable, CustomTestStringConvertible {
        let name: String
        let configuration: VisionTransformerConfiguration
        var testDescription: String { name }
    }

    /// As the fixtures were made: heads of 64 and 72 channels, sides with and without a rest beyond the last patch.
    static let families = [
        Family(
            name: "clip",
            configuration: VisionTransformerConfiguration(
                imageSide: 42, patchSide: 14, width: 64, hidden: 96, heads: 1, layers: 2, storedLayers: 2,
                activation: .quickGelu, layerNormEpsilon: 1e-5, hasClassToken: true, hasPreNorm: true,
                storesPostNorm: true)),
        Family(
            name: "siglip",
            configuration: VisionTransformerConfiguration(
                imageSide: 30, patchSide: 7, width: 72, hidden: 100, heads: 1, layers: 2, storedLayers: 2,
                activation: .tanhGelu, layerNormEpsilon: 1e-6, hasPatchBias: true, storesPostNorm: true)),
    ]

    private struct Subject {
        let tower: VisionTransformer
        let pixels: FeatureMap
        let features: Matrix
        let workspace = Workspace()
        let compute: Compute

        init(
            _ file: TensorFile, _ configuration: VisionTransformerConfiguration, format: WeightFormat,
            set: InstructionSet, threads: Int = 2
        ) throws {
            compute = try Compute(threads: threads, instructionSet: set)
            tower = try VisionTransformer(
                WeightLoader(file, format: format, compute: compute), configuration: configuration)
            pixels = try workspace.map(file["input"])
            features = try workspace.matrix(configuration.tokens, configuration.width)
            poison()
        }

        func poison() {
            let mark = workspace.mark()
            if let rest = try? workspace.matrix(1 << 16, 1) {
                rest.pointer.update(repeating: .nan, count: rest.rows)
            }
            workspace.release(to: mark)
            features.pointer.update(repeating: .nan, count: features.rows * features.columns)
        }

        func encoded() throws -> [Float] {
            poison()
            try tower.encode(pixels, into: features, workspace: workspace, on: compute)
            return (0..<features.rows).flatMap { Array(features.row($0)) }
        }
    }

    /// What transformers computed, without the rows that the configuration drops.
    private func expected(
        _ file: TensorFile, _ name: String, _ configuration: VisionTransformerConfiguration
    ) throws -> [Float] {
        let dropped = (configuration.positions - configuration.tokens) * configuration.width
        return try Array(file[name].floats().dropFirst(dropped))
    }

    @Test("Every layer, in float32", arguments: families)
    func float32(family: Family) throws {
        let file = try TensorFile("onevision/towers/\(family.name).safetensors")
        for set in InstructionSet.available {
            for layers in 0...2 {
                for keepsClassToken in family.configuration.hasClassToken ? [false, true] : [false] {
                    var configuration = family.configuration
                    configuration.layers = layers
                    configuration.keepsClassToken = keepsClassToken
                    let got = try Subject(file, configuration, format: .float32, set: set).encoded()
                    let error = relativeError(got, try expected(file, "hidden.\(layers)", configuration))
                    #expect(got.count == configuration.tokens * configuration.width)
                    #expect(error <= 1e-5, "\(family.name), layer \(layers), \(set): \(error)")
                }
            }
        }
    }

    @Test("The norm behind the last layer, where it is asked for")
    func postNorm() throws {
        let family = Self.families[1]
        let file = try TensorFile("onevision/towers/\(family.name).safetensors")
        var configuration = family.configuration
        configuration.appliesPostNorm = true
        for set in InstructionSet.available {
            let got = try Subject(file, configuration, format: .float32, set: set).encoded()
            let error = relativeError(got, try expected(file, "last", configuration))
            #expect(error <= 1e-5, "\(set): \(error)")
        }
    }

    @Test("bfloat16 and 8 bits stay close", arguments: families)
    func otherPrecisions(family: Family) throws {
        let file = try TensorFile("onevision/towers/\(family.name).safetensors")
        let expected = try expected(file, "hidden.2", family.configuration)
        for set in InstructionSet.available {
            for (format, bound) in [(WeightFormat.bfloat16, 0.9995), (.int8(group: 256), 0.98)] {
                let got = try Subject(file, family.configuration, format: format, set: set).encoded()
                let similarity = cosine(got, expected)
                #expect(similarity >= bound, "\(family.name) \(format) \(set): \(similarity)")
            }
        }
    }

    @Test("The same bits in slices as at once, and for any number of threads", arguments: families)
    func slices(family: Family) throws {
        let file = try TensorFile("onevision/towers/\(family.name).safetensors")
        for set in InstructionSet.available {
            var results: [[UInt32]] = []
            for threads in [1, 2, 3] {
                let subject = try Subject(
                    file, family.configuration, format: .int8(group: 256), set: set, threads: threads)
                results.append(try subject.encoded().map(\.bitPattern))
                subject.poison()
                let encoding = subject.tower.begin(
                    subject.pixels, into: subject.features, workspace: subject.workspace)
                var (count, progress) = (0, 0.0)
                var isComplete = false
                while !isComplete {
                    isComplete = try encoding.step(on: subject.compute)
                    #expect(encoding.progress > progress)
                    (count, progress) = (count + 1, encoding.progress)
                }
                #expect(count == 6 && progress == 1)
                results.append(
                    (0..<subject.features.rows).flatMap { subject.features.row($0).map(\.bitPattern) })
            }
            #expect(results.allSatisfy { $0 == results[0] }, "\(set)")
        }
    }

    @Test("A raised flag ends an encoding, which leaves its workspace to the next")
    func cancelled() throws {
        let family = Self.families[0]
        let file = try TensorFile("onevision/towers/\(family.name).safetensors")
        let subject = try Subject(file, family.configuration, format: .float32, set: .scalar)
        let expected = try subject.encoded()
        for stop in 0..<6 {
            let cancellation = Cancellation()
            let encoding = subject.tower.begin(
                subject.pixels, into: subject.features, workspace: subject.workspace)
            for _ in 0..<stop { _ = try encoding.step(on: subject.compute) }
            cancellation.cancel()
            let flagged = subject.compute.withCancellation(cancellation)
            #expect(throws: TensorError.cancelled) { try encoding.step(on: flagged) }
            #expect(throws: TensorError.cancelled) { try encoding.step(on: subject.compute) }
            #expect(try subject.encoded() == expected)
        }
    }
}
