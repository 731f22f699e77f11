public import Checkpoints
internal import Generation
public import Tensors

#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

/// What was loaded, for people and for logs.
///
/// ```swift
/// print(model.information.layout, model.information.tokensPerImage, model.information.loadSeconds)
/// ```
public struct ModelInformation: Sendable, Hashable, Codable {
    public let directory: URL
    /// Whether it came with the program (``ModelSource/resource(_:bundle:)``), as the small model of this package does.
    public let isEmbedded: Bool
    /// The published layout that the files follow.
    public let layout: String
    public let precision: Precision
    /// Pixels per side that images are brought to.
    public let imageSize: Int
    /// A question may ask for other multiples of so many pixels (``GenerationOptions/imageSize``); nil where the model takes
    /// images of one size, or cuts them into tiles.
    public let imageSizeStep: Int?
    /// The largest side that a question may ask for, in pixels.
    public static let largestImageSize = ModelConfiguration.largestImageSide
    public let geometry: ImageGeometry
    /// Visual tokens of an image that is encoded as a whole. A model that cuts images into tiles has as many for each of
    /// them; see ``VisionLanguageModel/countTokens(messages:options:)``.
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
        precision: Precision, template: ChatTemplate, geometry: ImageGeometry,
        tokensPerImage: Int,
        instructionSet: String, threads: Int, loadSeconds: Double, remarks: [String]
    ) {
        self.directory = directory
        isEmbedded = source.isResource
        self.layout = "\(layout)"
        self.precision = precision
        imageSize = configuration.preprocessing.size
        imageSizeStep = configuration.imageSideStep
        self.geometry = geometry
        self.tokensPerImage = tokensPerImage
        contextLength = configuration.maximumSequenceLength
        self.template = template.name
        self.instructionSet = instructionSet
        self.threads = threads
        self.loadSeconds = loadSeconds
        self.remarks = remarks
    }
}
