package import Foundation

/// A folder with a FastVLM model: its configuration and its weights under canonical names.
///
/// Opening reads configuration files and safetensors headers, and checks that every weight the configuration
/// calls for is there with the right type and shape, and that nothing else is. Tensor data is not read, but
/// for a comparison of the output projection with the embedding table where both are stored.
///
/// ```swift
/// let checkpoint = try Checkpoint(directory: URL(filePath: "FastVLM-0.5B"))
/// let size = checkpoint.configuration.text.hiddenSize
/// let norm = try checkpoint.weights.tensor("decoder.norm.weight", shape: [size])
/// ```
///
/// Stored tensors that no network here uses, and that are passed over without an error: `num_batches_tracked`
/// counters, the tower's classifier (`head.*`), and `rotary_emb.inv_freq`, which follows from the
/// configuration.
///
/// The files stay mapped while the weights live; they must not be changed meanwhile.
package struct Checkpoint: Sendable {
    package let layout: CheckpointLayout
    package let configuration: ModelConfiguration
    package let weights: CanonicalWeights
    /// The folder, as given.
    package let directory: URL
    /// Things worth telling that are no errors: values assumed, contradictions that change nothing.
    package let remarks: [String]

    /// Opens a checkpoint folder.
    /// - Throws: `CheckpointError` naming the file, the tensor or key, what was expected and what was found.
    package init(directory: URL) throws(CheckpointError) {
        self.directory = directory
        _ = try FileAccess.names(in: directory)
        let files = try ConfigurationFiles(directory: directory)
        let catalog = try TensorCatalog(directory: directory)
        let location = catalog.files.count == 1 ? catalog.files[0].name : directory.lastPathComponent
        var remarks = catalog.remarks

        let sources = try CheckpointSources(catalog: catalog, directory: directory)
        let vision = try FastViTHDConfiguration(
            sources: sources.tensors, order: sources.order, location: location)
        let isTied = try catalog.repeatsEmbedding(sources.tensors)
        let text = try DecoderConfiguration(
            files.text, kind: files.decoderKind, sources: sources.tensors, isTied: isTied, location: location,
            remarks: &remarks)
        let isHuggingFace = files.modelType == "fast_vlm"
        configuration = try ModelConfiguration(
            files: files, vision: vision, text: text, isHuggingFace: isHuggingFace, remarks: &remarks)

        var assembly = WeightAssembly(
            sources: sources.tensors, order: sources.order, quantization: try QuantizationRule(files.root),
            location: location)
        try assembly.addVision(vision)
        try assembly.addProjector(features: vision.finalChannels, hidden: text.hiddenSize)
        try assembly.addDecoder(text)
        weights = try assembly.finished(catalog: catalog)

        let quantization = assembly.quantizations.max { ($0.value, $0.key.bits) < ($1.value, $1.key.bits) }?
            .key
        if quantization == nil, sources.packed == nil, assembly.quantization.global != nil {
            remarks.append("config.json has a quantization, but no tensor is quantised")
        }
        let isMLX = sources.order == .outputHeightWidthInput || quantization != nil || sources.hasMLXNames
        layout = CheckpointLayout(
            family: sources.packed != nil ? .packed : isMLX ? .mlx : isHuggingFace ? .huggingFace : .apple,
            trainTime: assembly.isTrainTime,
            quantization: quantization, packedPrecision: sources.packed?.precision)
        self.remarks = remarks
    }
}
