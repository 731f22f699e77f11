internal import Checkpoints
internal import Models
public import Tensors

#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

extension VisionLanguageModel {
    /// Quantises a checkpoint once and for all: writes one whose integer weights are used where they stand in the
    /// file, so that loading takes hardly longer than reading it.
    ///
    /// The decoder runs on a few tokens first, in bfloat16, to find out how large the inputs of its products are. Rounding
    /// errors of its weights are then made up for by other weights where it counts most (GPTQ). So answers are nearer to the
    /// original's than those of the same precision while loading, which rounds every weight by itself; without calibration
    /// the two are equal.
    ///
    /// The integers are packed for this processor's kernels. On one with another width or another range of 8-bit
    /// weights the checkpoint loads as well, but its weights are packed anew.
    ///
    /// ```swift
    /// try await VisionLanguageModel.quantize(.directory(original), to: small, precision: .int4)
    /// let model = try await VisionLanguageModel(contentsOf: .directory(small))
    /// ```
    /// - Parameters:
    ///   - source: any checkpoint that can be loaded; integers of an MLX checkpoint are kept where they fit.
    ///   - directory: is made, under its name only once it is complete; if it exists, it must be empty. Place,
    ///     permissions and room are checked before any work. What a killed process left is replaced.
    ///   - precision: `.int8` or `.int4`.
    ///   - calibration: what the decoder runs on
    ///   - threads: as in ``LoadOptions/threads``.
    ///   - progress: told the fraction of the weights quantised, 0...1.
    /// - Returns: what rounding changes, per matrix of the decoder.
    /// - Throws: `FastVLMError`; nothing is left behind then.
    @discardableResult
    public static func quantize(
        _ source: ModelSource, to directory: URL, precision: Precision,
        calibration: CalibrationData = CalibrationData(), threads: Int? = nil,
        progress: (@Sendable (Double) -> Void)? = nil
    ) async throws -> [QuantizationError] {
        guard precision == .int8 || precision == .int4 else {
            throw FastVLMError(
                .invalidOption, "a checkpoint is quantised to int8 or int4, not \(precision.rawValue)",
                option: "precision")
        }
        try LoadOptions.check(threads: threads)
        guard directory.isFileURL else {
            throw FastVLMError(
                .output, "a checkpoint is written to a folder, not to \(directory.scheme ?? "")://")
        }
        do {
            let prompts = try await prompts(of: calibration, source, threads: threads)
            return try await offTaskThreads { cancellation in
                try quantizeNow(
                    source, to: directory, precision, prompts: prompts,
                    hasRandomTokens: calibration.hasRandomTokens, threads: threads,
                    cancellation: cancellation
                ) { fraction in
                    try cancellation.check()
                    progress?(fraction)
                }
            }
        } catch {
            throw FastVLMError.translating(error)
        }
    }

    /// What the user's texts and images are to the decoder. The model that encodes the images is gone afterwards.
    private static func prompts(
        of data: CalibrationData, _ source: ModelSource, threads: Int?
    ) async throws -> [Calibration.Prompt] {
        var texts: [Calibration.Prompt] = []
        if !data.texts.isEmpty {
            let tokenizer = try TextTokenizer(contentsOf: source)
            texts = Calibration.prompts(data.texts.map { tokenizer.encode($0) })
        }
        guard !data.images.isEmpty else { return texts }
        var options = LoadOptions()
        options.precision = .bfloat16
        options.threads = threads
        options.imageFormats = LoadOptions.ImageFormat.built
        let model = try await VisionLanguageModel(contentsOf: source, options: options)
        let words = model.tokenizer.encode("\nDescribe the image.")
        var images: [Calibration.Prompt] = []
        for image in data.images {
            let features = try await model.encode(image)
            let (values, width) = (features.projected, features.hiddenSize)
            let rows = stride(from: 0, to: values.count, by: width).map { Array(values[$0..<($0 + width)]) }
            images.append(Calibration.Prompt(visualTokens: rows, ids: words))
        }
        return texts + images
    }

    private static func quantizeNow(
        _ source: ModelSource, to directory: URL, _ precision: Precision, prompts: [Calibration.Prompt],
        hasRandomTokens: Bool, threads: Int?, cancellation: Cancellation, progress: (Double) throws -> Void
    ) throws -> [QuantizationError] {
        let checkpoint = try Checkpoint(
            directory: source.directory(), tower: source.visionTower())
        let writer = PackedCheckpointWriter(checkpoint)
        let folder = try writer.folder(directory, precision: precision)
        var configuration = checkpoint.configuration
        // Nothing is asked of this network, so its table of rotary positions need not be long.
        configuration.maximumSequenceLength = 1
        let compute = try Compute(threads: threads)
        // Inputs must be those of the weights that are rounded.
        let weights = EqualizedWeights(checkpoint.weights, configuration: checkpoint.configuration)
        let calibration = Calibration(
            weights, configuration: checkpoint.configuration, compute: compute)
        var moments: [String: InputMoments] = [:]
        let all = prompts + (hasRandomTokens ? calibration.randomPrompts : [])
        if !all.isEmpty, calibration.isUseful {
            moments = try calibration.moments(all) { try progress($0 / 2) }
        }
        let recorder = PanelRecorder()
        _ = try VisionLanguageNetwork(
            weights, configuration: configuration, precision: precision,
            compute: compute, recorder: recorder,
            feedback: moments.compactMapValues { $0.feedback(for: precision.textFormat) }
        ) { try progress(moments.isEmpty ? $0 : 0.5 + $0 / 2) }
        try checkpoint.checkUnchanged()
        let errors = try calibration.errors(of: recorder.panels, moments)
        try writer.write(
            recorder.panels, changed: try weights.changedVectors(), precision: precision, errors: errors,
            to: folder, isCancelled: { cancellation.isCancelled })
        return QuantizationError.sorted(errors)
    }
}

/// What rounding a matrix of the decoder to integers changes.
///
/// ```swift
/// let errors = try await VisionLanguageModel.quantize(.directory(original), to: small, precision: .int4)
/// for error in errors.prefix(3) { print(error.matrix, error.relativeError) }
/// ```
public struct QuantizationError: Sendable, Hashable, Codable {
    /// The matrix's name, such as `decoder.layers.3.mlp.down.weight`; of a gated pair that of its gate.
    public let matrix: String
    /// Size of the change of the products' results ÷ their size, for independent inputs of the sizes that were seen while
    /// calibrating; from every sixteenth output.
    public let relativeError: Double

    static func sorted(_ errors: [String: Double]) -> [QuantizationError] {
        errors.map { QuantizationError(matrix: $0, relativeError: $1) }
            .sorted { ($1.relativeError, $0.matrix) < ($0.relativeError, $1.matrix) }
    }

    /// What is usual and what is largest, in words; nil of none.
    /// - Parameter errors: most first
    package static func summary(_ errors: [QuantizationError]) -> String? {
        guard let largest = errors.first else { return nil }
        func percent(_ error: QuantizationError) -> String {
            "\((100 * error.relativeError).written(decimals: 1)) %"
        }
        return
            "the results of \(errors.count) matrices of the decoder by \(percent(errors[errors.count / 2])) (median), "
            + "most those of \(largest.matrix): \(percent(largest))"
    }
}
