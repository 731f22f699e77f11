internal import Checkpoints
internal import Foundation
internal import Tensors

/// What a checkpoint folder holds. Making one checks configuration, headers, names and shapes as loading does. It does
/// not read the tokenizer's files, and of the weights only an output matrix that is stored beside the embedding, to see
/// whether the two are the same.
///
/// ```swift
/// print(try CheckpointReport(contentsOf: .directory(url)))
/// ```
public struct CheckpointReport: Sendable, Hashable, Codable, CustomStringConvertible {
    /// A part of the network.
    public struct Part: Sendable, Hashable, Codable {
        public let name: String
        public let parameters: Int
        /// Bytes as stored.
        public let bytes: Int
    }

    public let directory: String
    public let layout: String
    public let files: [String]
    public let fileBytes: Int
    public let parts: [Part]
    /// Stored bytes by element type.
    public let bytesByType: [String: Int]
    /// Bytes of the weights once loaded, by precision.
    public let weightBytes: [String: Int]
    /// Bytes of keys and values per position; twice as many in float32.
    public let cacheBytesPerPosition: Int
    /// Vision: blocks and channels per stage.
    public let visionDepths: [Int]
    public let visionWidths: [Int]
    public let imageSize: Int
    public let tokensPerImage: Int
    public let geometry: String
    public let hiddenSize: Int
    public let layers: Int
    public let heads: Int
    public let keyValueHeads: Int
    public let vocabularySize: Int
    public let contextLength: Int
    public let tiedEmbeddings: Bool
    /// Stored tensors that nothing uses.
    public let ignoredTensors: [String]
    /// Values assumed, contradictions that change nothing, and what else is worth a look.
    public let remarks: [String]

    /// - Throws: `FastVLMError` of kind `model`.
    public init(contentsOf source: ModelSource) throws {
        do {
            let url = try source.directory()
            try self.init(Checkpoint(directory: url).inspection(), directory: url)
        } catch {
            throw FastVLMError.translating(error)
        }
    }

    private init(_ inspection: CheckpointInspection, directory url: URL) {
        let configuration = inspection.configuration
        directory = url.path
        layout = "\(inspection.layout)"
        files = inspection.files
        fileBytes = inspection.fileBytes
        parts = inspection.parts.map { Part(name: $0.name, parameters: $0.parameters, bytes: $0.bytes) }
        bytesByType = Dictionary(
            uniqueKeysWithValues: inspection.dataTypes.map { ($0.dataType.rawValue, $0.bytes) })
        weightBytes = Dictionary(
            uniqueKeysWithValues: inspection.weightBytes.map { ($0.key.rawValue, $0.value) })
        cacheBytesPerPosition = inspection.cacheBytesPerToken[.bfloat16] ?? 0
        visionDepths = configuration.vision.depths
        visionWidths = configuration.vision.widths
        imageSize = configuration.imageSize
        tokensPerImage = configuration.visualTokens
        geometry = configuration.geometry.rawValue
        hiddenSize = configuration.text.hiddenSize
        layers = configuration.text.layers
        heads = configuration.text.heads
        keyValueHeads = configuration.text.keyValueHeads
        vocabularySize = configuration.text.vocabularySize
        contextLength = configuration.maximumSequenceLength
        tiedEmbeddings = configuration.text.tiedEmbeddings
        ignoredTensors = inspection.ignoredTensors
        remarks = inspection.oddities
    }

    public var description: String {
        var lines = [
            "checkpoint   \(directory)",
            "layout       \(layout)",
            "files        \(files.joined(separator: ", ")) (\(Self.size(fileBytes)))",
            "encoder      stages of \(Self.list(visionDepths)) blocks, \(Self.list(visionWidths)) channels",
            "image        \(imageSize) × \(imageSize) (\(geometry)) → \(tokensPerImage) visual tokens",
            "decoder      \(layers) layers of \(hiddenSize), \(heads) heads (\(keyValueHeads) key-value), "
                + "\(vocabularySize) vocabulary rows, \(tiedEmbeddings ? "tied" : "untied"), "
                + "context \(contextLength)",
            "types        "
                + bytesByType.sorted { $0.value > $1.value }
                .map { "\($0.key) \(Self.size($0.value))" }.joined(separator: ", "),
            "parameters   \(Self.millions(parts.reduce(0) { $0 + $1.parameters })) in all",
        ]
        lines += parts.map { part in
            "  \(part.name.padding(toLength: 18, withPad: " ", startingAt: 0)) "
                + "\(Self.millions(part.parameters)), \(Self.size(part.bytes)) stored"
        }
        lines.append(
            "memory       "
                + weightBytes.sorted { $0.key < $1.key }
                .map { "\(Self.size($0.value)) of weights in \($0.key)" }.joined(separator: ", ")
                + "; \(Self.size(cacheBytesPerPosition)) per position of context")
        if !ignoredTensors.isEmpty { lines.append("unused       \(ignoredTensors.count) stored tensors") }
        lines += remarks.map { "note         \($0)" }
        return lines.joined(separator: "\n")
    }

    private static func size(_ bytes: Int) -> String {
        switch bytes {
        case ..<10_000: "\(bytes) bytes"
        case ..<10_000_000: String(format: "%.1f kB", Double(bytes) / 1e3)
        case ..<10_000_000_000: String(format: "%.1f MB", Double(bytes) / 1e6)
        default: String(format: "%.1f GB", Double(bytes) / 1e9)
        }
    }

    private static func millions(_ count: Int) -> String { String(format: "%.2f M", Double(count) / 1e6) }

    private static func list(_ numbers: [Int]) -> String { numbers.map(String.init).joined(separator: "/") }
}
