internal import Checkpoints
public import Foundation
internal import Models
public import Tensors

extension VisionLanguageModel {
    /// Quantises a checkpoint once and for all: writes one whose integer weights are used where they stand in the
    /// file, so that loading takes hardly longer than reading it.
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
    ///   - threads: as in ``LoadOptions/threads``.
    ///   - progress: told the fraction of the weights quantised, 0...1.
    /// - Throws: `FastVLMError`; nothing is left behind then.
    public static func quantize(
        _ source: ModelSource, to directory: URL, precision: Precision, threads: Int? = nil,
        progress: (@Sendable (Double) -> Void)? = nil
    ) async throws {
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
            try await offTaskThreads { cancellation in
                try quantizeNow(
                    source.directory(), to: directory, precision, threads: threads,
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

    private static func quantizeNow(
        _ source: URL, to directory: URL, _ precision: Precision, threads: Int?,
        cancellation: Cancellation, progress: (Double) throws -> Void
    ) throws {
        let checkpoint = try Checkpoint(directory: source)
        let writer = PackedCheckpointWriter(checkpoint)
        let folder = try writer.folder(directory, precision: precision)
        var configuration = checkpoint.configuration
        // Nothing is asked of this network, so its table of rotary positions need not be long.
        configuration.maximumSequenceLength = 1
        let recorder = PanelRecorder()
        _ = try VisionLanguageNetwork(
            checkpoint.weights, configuration: configuration, precision: precision,
            compute: Compute(threads: threads), recorder: recorder, progress: progress)
        try checkpoint.checkUnchanged()
        try writer.write(
            recorder.panels, precision: precision, to: folder, isCancelled: { cancellation.isCancelled })
    }
}
