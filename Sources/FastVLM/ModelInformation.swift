internal import Checkpoints
public import Foundation
internal import Generation

/// What was loaded, for people and for logs.
///
/// ```swift
/// print(model.information.layout, model.information.tokensPerImage, model.information.loadSeconds)
/// ```
public struct ModelInformation: Sendable, Hashable, Codable {
    public let directory: URL
    /// Whether it is the small model that ships with the package.
    public let isEmbedded: Bool
    /// The published layout that the files follow.
    public let layout: String
    public let precision: String
    /// Pixels per side that images are brought to.
    public let imageSize: Int
    /// `pad` or `crop`.
    public let geometry: String
    public let tokensPerImage: Int
    /// Longest sequence, in positions.
    public let contextLength: Int
    public let template: String
    /// The instruction set that the kernels use.
    public let instructionSet: String
    public let threads: Int
    public let loadSeconds: Double
    /// What the checkpoint leaves open or says twice in a way that changes answers, one sentence each.
    public let remarks: [String]

    init(
        directory: URL, source: ModelSource, configuration: ModelConfiguration, layout: CheckpointLayout,
        precision: LoadOptions.Precision, template: ChatTemplate, geometry: ImageGeometry,
        tokensPerImage: Int,
        instructionSet: String, threads: Int, loadSeconds: Double, remarks: [String]
    ) {
        self.directory = directory
        isEmbedded = source == .embedded
        self.layout = "\(layout)"
        self.precision = precision.rawValue
        imageSize = configuration.preprocessing.size
        self.geometry = geometry == .pad ? "pad" : "crop"
        self.tokensPerImage = tokensPerImage
        contextLength = configuration.maximumSequenceLength
        self.template = template.name
        self.instructionSet = instructionSet
        self.threads = threads
        self.loadSeconds = loadSeconds
        self.remarks = remarks
    }
}
