import Checkpoints
import Foundation
import Generation
import ImageInput
import Models
import Tensors
import TestSupport
import Testing
import Tokenization

/// A loaded small model with its images.
struct LLaVAModel {
    let engine: GenerationEngine
    let preprocessor: ImagePreprocessor
    let compute: Compute

    init(
        _ checkpoint: Checkpoint, _ precision: Precision = .float32, set: InstructionSet? = nil,
        geometry: ImageGeometry? = nil
    ) throws {
        var configuration = checkpoint.configuration
        // The fixtures run to their length: nothing ends them early.
        configuration.endOfSequenceIDs = []
        configuration.maximumSequenceLength = 2048
        compute = try Compute(threads: 2, instructionSet: set)
        let network = try VisionLanguageNetwork(
            checkpoint.weights, configuration: configuration, precision: precision, compute: compute)
        engine = GenerationEngine(
            network: network, tokenizer: try Tokenizer(directory: checkpoint.directory), compute: compute)
        var description = configuration.preprocessing
        description.geometry = geometry ?? description.geometry
        preprocessor = try ImagePreprocessor(description)
    }

    func pixels(_ picture: RGBImage) throws -> PixelTensor {
        guard preprocessor.cutsTiles else { return try preprocessor(picture) }
        let variants = try #require(try preprocessor.variants(picture))
        #expect(variants.multiImage == nil)
        return variants.singleImage
    }

    func visualTokens(_ picture: RGBImage) throws -> [Float] {
        try engine.encode(pixels(picture)).projected.floats()
    }

    func request(
        _ chunks: [[Int]], _ pictures: [RGBImage], tokens: Int
    ) throws -> GenerationRequest {
        var request = GenerationRequest(
            prompt: Prompt(chunks: chunks), images: try pictures.map { try pixels($0) })
        request.maximumTokens = tokens
        return request
    }

    /// Scores of the position after a prompt.
    func logits(_ request: GenerationRequest) throws -> [Float] {
        try engine.logits(after: request, on: compute)
    }
}

/// A copy of a fixture's checkpoint under other names.
///
/// - Parameters:
///   - rename: a stored name to another one, or nil to leave the tensor out
///   - adding: tensors beside them
///   - change: config.json
///   - leavingOut: files that are not copied
func withChanged<Result>(
    _ source: URL, rename: (String) -> String? = { $0 }, adding: [(String, Tensor)] = [],
    leavingOut: Set<String> = [], config change: (inout [String: Any]) -> Void = { _ in },
    _ body: (URL) throws -> Result
) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: "llava-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = try SafetensorsFile(contentsOf: source.appending(path: "model.safetensors"))
    let renamed = try file.tensors.compactMap { stored in
        try rename(stored.name).map { ($0, try file.tensor(stored)) }
    }
    try SafetensorsWriter.write(
        (renamed + adding).sorted { $0.0 < $1.0 }, to: folder.appending(path: "model.safetensors"))
    let data = try Data(contentsOf: source.appending(path: "config.json"))
    var config = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    change(&config)
    try JSONSerialization.data(withJSONObject: config).write(to: folder.appending(path: "config.json"))
    for name in try FileManager.default.contentsOfDirectory(atPath: source.path)
    where !["model.safetensors", "config.json"].contains(name) && !leavingOut.contains(name) {
        try FileManager.default.copyItem(
            at: source.appending(path: name), to: folder.appending(path: name))
    }
    return try body(folder)
}

/// Whether two checkpoints give the same weights.
func expectSameWeights(_ checkpoint: Checkpoint, _ reference: Checkpoint) throws {
    #expect(checkpoint.weights.names == reference.weights.names)
    for name in reference.weights.names {
        let shape = try #require(reference.weights.shape(of: name))
        let (got, expected) = try (
            checkpoint.weights.tensor(name, shape: shape), reference.weights.tensor(name, shape: shape)
        )
        #expect(got.floats() == expected.floats(), "\(name)")
    }
}
