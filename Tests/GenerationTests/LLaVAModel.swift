import Checkpoints
import Foundation
import Generation
import ImageInput
import Models
import Tensors
import TestSupport
import Testing
import Tokenization

/// What Tools/reference/llava_fixtures.py expects of a small model.
struct LLaVAExpected: Decodable, Sendable {
    struct Image: Decodable, Sendable {
        let height: Int
        let width: Int
        let tokens: Int
    }

    struct Case: Decodable, Sendable {
        let images: [Int]
        let chunks: [[Int]]
        let tokens: [Int]
        let greedy: [Int]
    }

    let side: Int
    let imageTokenId: Int
    let images: [Image]
    let cases: [Case]

    static func read(_ name: String) throws -> LLaVAExpected {
        try JSONDecoder().decode(Self.self, from: Fixture.data("llava/\(name).json"))
    }

    /// The same picture as the fixtures' scripts draw.
    static func picture(_ index: Int, height: Int, width: Int) throws -> RGBImage {
        var pixels: [UInt8] = []
        for y in 0..<height {
            for x in 0..<width {
                let base = 37 * (x / 3) + 61 * (y / 3) + 113 * index + 17 * (x / 3) * (y / 3)
                pixels += (0..<3).map { UInt8((base + 89 * $0) % 256) }
            }
        }
        return try RGBImage(width: width, height: height, pixels: pixels)
    }
}

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
        var elements: [Prompt.Element] = []
        for (index, chunk) in chunks.enumerated() {
            if index > 0 { elements.append(.image(index - 1)) }
            elements.append(.tokens(chunk))
        }
        var request = GenerationRequest(
            prompt: Prompt(elements: elements), images: try pictures.map { try pixels($0) })
        request.maximumTokens = tokens
        return request
    }

    /// Scores of the position after a prompt.
    func logits(_ request: GenerationRequest) throws -> [Float] {
        let network = engine.network
        let workspace = Workspace()
        let counts = request.images.map { network.positions(of: $0.content) }
        let rows = try workspace.matrix(
            request.prompt.length { counts[$0] }, network.configuration.text.hiddenSize)
        var row = 0
        for element in request.prompt.elements {
            switch element {
            case .tokens(let ids):
                network.decoder.embed(ids, into: rows.rows(row..<row + ids.count), on: compute)
                row += ids.count
            case .image(let index):
                guard case .pixels(let pixels) = request.images[index].content else { continue }
                rows.rows(row..<row + counts[index]).copy(try engine.encode(pixels).projected)
                row += counts[index]
            }
        }
        let logits = try workspace.matrix(1, network.configuration.text.vocabularySize)
        try network.decoder.forward(
            rows, cache: network.decoder.makeCache(), logits: logits, workspace: workspace, on: compute)
        return Array(logits.row(0))
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
