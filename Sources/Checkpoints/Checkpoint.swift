#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

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
/// The files stay mapped while the weights live; they must not be changed meanwhile. ``checkUnchanged()`` finds most
/// such changes afterwards; a file that is cut short ends the process with SIGBUS when a page beyond its end is read.
package struct Checkpoint: Sendable {
    package let layout: CheckpointLayout
    package let configuration: ModelConfiguration
    package let weights: CanonicalWeights
    /// The folder with config.json: the one given, or the snapshot of a Hugging Face cache in it.
    package let directory: URL
    /// The folder that its vision tower comes from, where that is another one.
    package let towerDirectory: URL?
    /// Values assumed and places that disagree.
    package let remarks: [CheckpointRemark]
    private let generationReaders: [ConfigurationReader]

    /// Opens a checkpoint folder.
    /// - Parameters:
    ///   - folder: with config.json, or `models--org--name` of a Hugging Face cache.
    ///   - tower: likewise, with the CLIP or SigLIP model of a checkpoint that has no vision tower of its own.
    ///   - adapters: folders of LoRA adapters, merged in this order.
    /// - Throws: `CheckpointError` naming the file, the tensor or key, what was expected and what was found.
    package init(
        directory folder: URL, tower towerFolder: URL? = nil, adapters: [URL] = []
    ) throws(CheckpointError) {
        directory = try CheckpointFolder.resolve(folder)
        let tower = try towerFolder.map { (folder) throws(CheckpointError) in
            try SeparateVisionTower(directory: folder)
        }
        towerDirectory = tower?.directory
        let files = try ConfigurationFiles(directory: directory, tower: tower)
        generationReaders =
            files.generation.map { [$0] } ?? (files.hasTextSection ? [files.root, files.text] : [files.root])
        try LowRankAdapter.refuseInPlaceOfModel(directory)
        let catalog = try TensorCatalog(directory: directory, tower: tower?.directory)
        let location = catalog.ownFiles == 1 ? catalog.files[0].name : directory.lastPathComponent
        var remarks = catalog.remarks

        let sources = try CheckpointSources(
            catalog: catalog, directory: directory, towerName: files.root.string("mm_vision_tower"))
        let vision = try VisionConfiguration(
            sources: sources.tensors, order: sources.order, files: files, location: location)
        try tower?.check(vision, against: files.root)
        let isTied = try catalog.repeatsEmbedding(sources.tensors)
        let text = try DecoderConfiguration(
            files.text, kind: files.decoderKind, sources: sources.tensors, isTied: isTied, location: location,
            remarks: &remarks)
        let isHuggingFace = files.isTransformers(vision)
        configuration = try ModelConfiguration(
            files: files, vision: vision, text: text, isHuggingFace: isHuggingFace,
            storesOutput: ["decoder.output.weight", "decoder.scores.weight"].contains {
                sources.tensors[$0] != nil
            },
            remarks: &remarks)

        var assembly = WeightAssembly(
            sources: sources.tensors, order: sources.order, quantization: try QuantizationRule(files.root),
            location: location)
        try assembly.addVision(vision)
        try assembly.addProjector(features: vision.featureChannels, hidden: text.hiddenSize)
        if case .anyResolution(let tiling) = configuration.preprocessing.tiling, tiling.merge == .rows {
            try assembly.plain("projector.newline", shape: [text.hiddenSize])
        }
        try assembly.addDecoder(text)
        var weights = try assembly.finished(catalog: catalog)
        let names = SourceNames(storedNames: catalog.tensors.keys)
        for folder in adapters {
            try weights.merge(LowRankAdapter(directory: folder), names: names, isTied: isTied)
        }
        if adapters.isEmpty,
            try FileAccess.isPresent(directory.appending(path: LowRankAdapter.configurationFile))
        {
            remarks.append(
                .changesAnswers(
                    "\(LowRankAdapter.configurationFile) is beside whole weights: its adapter is not applied; give the "
                        + "folder with --adapter as well if it is not merged yet"))
        }
        self.weights = weights

        let quantization = assembly.quantizations.max { ($0.value, $0.key.bits) < ($1.value, $1.key.bits) }?
            .key
        if quantization == nil, sources.packed == nil, assembly.quantization.global != nil {
            remarks.append(.notice("config.json has a quantization, but no tensor is quantised"))
        }
        let isMLX = sources.order == .outputHeightWidthInput || quantization != nil || sources.hasMLXNames
        layout = CheckpointLayout(
            family: sources.packed != nil
                ? .packed
                : isMLX ? .mlx : isHuggingFace ? .huggingFace : vision.isFastViTHD ? .apple : .llava,
            trainTime: assembly.isTrainTime,
            quantization: quantization, packedPrecision: sources.packed?.precision)
        self.remarks = remarks
    }

    /// How the checkpoint asks to be sampled. Read only when asked for: a wrong value there is no fault of a model that
    /// is not sampled so.
    /// - Throws: `CheckpointError.invalidConfiguration` for a value out of range.
    package func generationDefaults() throws(CheckpointError) -> GenerationDefaults {
        var defaults = try GenerationDefaults(generationReaders)
        defaults.endOfSequenceIDs = configuration.endOfSequenceIDs
        return defaults
    }

    /// Checks that every token that text can lead to has a row in the embedding table: the others could be asked for and
    /// not looked up.
    /// - Parameter tokens: one more than the highest id of such a token.
    /// - Throws: `CheckpointError.configurationContradictsTensors`.
    package func check(tokens: Int) throws(CheckpointError) {
        let rows = configuration.text.vocabularySize
        guard tokens > rows else { return }
        throw .configurationContradictsTensors(
            file: directory.path, key: "tokenizer", configuration: "there are token ids up to \(tokens - 1)",
            tensors: "the embedding table has rows 0 to \(rows - 1)")
    }

    /// Checks that nobody wrote into the weight files since the checkpoint was opened.
    /// - Throws: `CheckpointError.changedFile`.
    package func checkUnchanged() throws(CheckpointError) { try weights.catalog.checkUnchanged() }
}
