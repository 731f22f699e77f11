public import Checkpoints
public import Tensors

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// What a checkpoint folder holds. Making one checks configuration, headers, names and shapes as loading does. It does
/// not read the tokenizer's files, and of the weights only an output matrix that is stored beside the embedding, to see
/// whether the two are the same.
///
/// ```swift
/// print(try CheckpointReport(contentsOf: .directory(url)))
/// ```
public struct CheckpointReport: Sendable, Hashable, Codable, CustomStringConvertible {
    /// A part of the network.
    ///
    /// ```swift
    /// let report = try CheckpointReport(contentsOf: .directory(url))
    /// for part in report.parts { print(part.name, part.parameters) }
    /// ```
    public struct Part: Sendable, Hashable, Codable {
        public let name: String
        public let parameters: Int
        /// Bytes as stored.
        public let bytes: Int
    }

    /// The encoder of images.
    ///
    /// ```swift
    /// let tower = try CheckpointReport(contentsOf: .directory(url)).visionTower
    /// print(tower.name, tower.featureChannels)
    /// ```
    public struct VisionTower: Sendable, Hashable, Codable {
        /// One kind of numbers that the architecture has, such as the channels of each of its stages.
        ///
        /// ```swift
        /// let tower = try CheckpointReport(contentsOf: .directory(url)).visionTower
        /// for dimension in tower.dimensions { print(dimension.name, dimension.values) }
        /// ```
        public struct Dimension: Sendable, Hashable, Codable {
            public let name: String
            public let values: [Int]
        }

        /// Of the architecture.
        public let name: String
        /// Channels of one visual token.
        public let featureChannels: Int
        public let dimensions: [Dimension]
    }

    /// How the checkpoint asks to be sampled; nil is transformers' default. Answers are greedy unless asked otherwise.
    ///
    /// ```swift
    /// let report = try CheckpointReport(contentsOf: .directory(url))
    /// print(report.sampling?.temperature ?? 1)
    /// ```
    public struct Sampling: Sendable, Hashable, Codable {
        /// generation_config.json, or config.json where it holds the values; nil where no file gives any.
        public let file: String?
        /// Whether tokens are drawn at all.
        public let doSample: Bool?
        public let temperature: Double?
        public let topP: Double?
        public let topK: Int?
        public let minP: Double?
        public let repetitionPenalty: Double?
    }

    public let directory: String
    public let layout: String
    public let files: [String]
    public let fileBytes: Int
    public let parts: [Part]
    /// Stored bytes by element type.
    public let bytesByType: [String: Int]
    /// Bytes of the weights once loaded, by precision.
    public let weightBytes: [Precision: Int]
    /// Bytes of keys and values per position; twice as many in float32.
    public let cacheBytesPerPosition: Int
    public let visionTower: VisionTower
    public let imageSize: Int
    /// Fewest visual tokens of an image; of a model that cuts images into tiles, those that the smallest becomes.
    public let tokensPerImage: Int
    /// Most visual tokens of an image: more than `tokensPerImage` where images are cut into tiles.
    public let mostTokensPerImage: Int
    /// Whether images are cut into tiles of `imageSize`, each of them encoded on its own.
    public let cutsTiles: Bool
    public let geometry: ImageGeometry
    public let hiddenSize: Int
    public let layers: Int
    public let heads: Int
    public let keyValueHeads: Int
    public let vocabularySize: Int
    public let contextLength: Int
    public let tiedEmbeddings: Bool
    /// Tokens that end an answer.
    public let endOfSequenceIDs: [Int]
    public let sampling: Sampling?
    /// Stored tensors that nothing uses.
    public let ignoredTensors: [String]
    /// Bits that 8-bit weights of a quantised checkpoint really have: 7.6 (195 values) where it was written on a processor
    /// without VNNI. nil for other checkpoints.
    public let bitsOfInt8: Double?
    /// What rounding changed in the decoder of a quantised checkpoint, most first.
    public let quantizationErrors: [QuantizationError]
    /// Values assumed, contradictions that change nothing, and what else is worth a look.
    public let remarks: [String]

    /// Reads what a folder holds.
    ///
    /// ```swift
    /// let report = try CheckpointReport(contentsOf: .directory(url))
    /// ```
    /// - Throws: `FastVLMError` of kind `model`.
    public init(contentsOf source: ModelSource) throws {
        do {
            let checkpoint = try Checkpoint(directory: source.directory(), tower: source.visionTower())
            try self.init(
                checkpoint.inspection(), directory: checkpoint.directory,
                sampling: Result { try checkpoint.generationDefaults() })
        } catch {
            throw FastVLMError.translating(error)
        }
    }

    private init(
        _ inspection: CheckpointInspection, directory url: URL,
        sampling: Result<GenerationDefaults, any Error>
    ) {
        let configuration = inspection.configuration
        directory = url.path
        layout = "\(inspection.layout)"
        files = inspection.files
        fileBytes = inspection.fileBytes
        parts = inspection.parts.map { Part(name: $0.name, parameters: $0.parameters, bytes: $0.bytes) }
        bytesByType = Dictionary(
            uniqueKeysWithValues: inspection.dataTypes.map { ($0.dataType.rawValue, $0.bytes) })
        weightBytes = inspection.weightBytes
        cacheBytesPerPosition = inspection.cacheBytesPerToken[.bfloat16] ?? 0
        visionTower = VisionTower(
            name: configuration.vision.name, featureChannels: configuration.vision.featureChannels,
            dimensions: configuration.vision.numbers.map { .init(name: $0.name, values: $0.values) })
        imageSize = configuration.preprocessing.size
        tokensPerImage = configuration.visualTokenRange.lowerBound
        mostTokensPerImage = configuration.visualTokenRange.upperBound
        cutsTiles = configuration.preprocessing.tiling != .none
        geometry = configuration.preprocessing.geometry
        hiddenSize = configuration.text.hiddenSize
        layers = configuration.text.layers
        heads = configuration.text.heads
        keyValueHeads = configuration.text.keyValueHeads
        vocabularySize = configuration.text.vocabularySize
        contextLength = configuration.maximumSequenceLength
        tiedEmbeddings = configuration.text.tiedEmbeddings
        ignoredTensors = inspection.ignoredTensors
        endOfSequenceIDs = configuration.endOfSequenceIDs
        bitsOfInt8 = inspection.packing?.bitsOfInt8
        quantizationErrors = QuantizationError.sorted(inspection.packing?.errors ?? [:])
        var remarks = inspection.oddities.map(\.description)
        switch sampling {
        case .success(let defaults):
            self.sampling = Sampling(
                file: defaults.file, doSample: defaults.samples, temperature: defaults.temperature,
                topP: defaults.topP, topK: defaults.topK, minP: defaults.minP,
                repetitionPenalty: defaults.repetitionPenalty)
        case .failure(let error):
            self.sampling = nil
            remarks.append("\(error)")
        }
        self.remarks = remarks
    }

    public var description: String {
        var lines = [
            "checkpoint   \(directory)",
            "layout       \(layout)",
            "files        \(files.joined(separator: ", ")) (\(Self.size(fileBytes)))",
            "encoder      \(visionTower.name), "
                + visionTower.dimensions.map { "\(Self.list($0.values)) \($0.name)" }.joined(separator: ", ")
                + " → \(visionTower.featureChannels) channels per token",
            "image        " + imageSummary,
            "decoder      \(layers) layers of \(hiddenSize), \(heads) heads (\(keyValueHeads) key-value), "
                + "\(vocabularySize) vocabulary rows, \(tiedEmbeddings ? "tied" : "untied"), "
                + "context \(contextLength)",
            "types        "
                + bytesByType.sorted { $0.value > $1.value }
                .map { "\($0.key) \(Self.size($0.value))" }.joined(separator: ", "),
            "parameters   \(Self.millions(parts.reduce(0) { $0 + $1.parameters })) in all",
        ]
        lines += parts.map { part in
            "  \(part.name)\(String(repeating: " ", count: max(19 - part.name.count, 1)))"
                + "\(Self.millions(part.parameters)), \(Self.size(part.bytes)) stored"
        }
        lines.append(
            "memory       "
                + weightBytes.sorted { $0.key.rawValue < $1.key.rawValue }
                .map { "\(Self.size($0.value)) of weights in \($0.key.rawValue)" }.joined(separator: ", ")
                + "; \(Self.size(cacheBytesPerPosition)) per position of context")
        lines.append(
            "generation   "
                + (endOfSequenceIDs.isEmpty
                    ? "no end token" : "ends at \(endOfSequenceIDs.map(String.init).joined(separator: ", "))")
                + (sampling?.summary ?? ""))
        if let bitsOfInt8 {
            lines.append("integers     8-bit weights have \(bitsOfInt8.written(decimals: 1)) bits")
        }
        if let summary = QuantizationError.summary(quantizationErrors) {
            lines.append("rounding     changes " + summary)
        }
        if !ignoredTensors.isEmpty { lines.append("unused       \(ignoredTensors.count) stored tensors") }
        lines += remarks.map { "note         \($0)" }
        return lines.joined(separator: "\n")
    }

    private var imageSummary: String {
        let tokens =
            mostTokensPerImage == tokensPerImage
            ? "\(tokensPerImage)" : "\(tokensPerImage) to \(mostTokensPerImage)"
        let size = "\(imageSize) × \(imageSize)"
        return (cutsTiles ? "in tiles of \(size)" : "\(size) (\(geometry.rawValue))")
            + " → \(tokens) visual tokens"
    }

    private static func size(_ bytes: Int) -> String {
        switch bytes {
        case ..<10_000: "\(bytes) bytes"
        case ..<10_000_000: "\((Double(bytes) / 1e3).written(decimals: 1)) kB"
        case ..<10_000_000_000: "\((Double(bytes) / 1e6).written(decimals: 1)) MB"
        default: "\((Double(bytes) / 1e9).written(decimals: 1)) GB"
        }
    }

    private static func millions(_ count: Int) -> String {
        "\((Double(count) / 1e6).written(decimals: 2)) M"
    }

    private static func list(_ numbers: [Int]) -> String { numbers.map(String.init).joined(separator: "/") }
}

extension CheckpointReport.Sampling {
    /// The values that a file gives, in its own words.
    fileprivate var summary: String {
        let values: [(String, String?)] = [
            ("do_sample", doSample.map { "\($0)" }), ("temperature", temperature.map { "\($0)" }),
            ("top_p", topP.map { "\($0)" }), ("top_k", topK.map { "\($0)" }), ("min_p", minP.map { "\($0)" }),
            ("repetition_penalty", repetitionPenalty.map { "\($0)" }),
        ]
        let given = values.compactMap { name, value in value.map { "\(name) \($0)" } }
        guard let file, !given.isEmpty else { return "" }
        return "; \(file): \(given.joined(separator: ", "))"
    }
}
