/// What a model runs on while its weights are quantised, to find out how large the inputs of each product are.
///
/// Random tokens serve nearly as well as text and need nothing from you. What a model will really be asked about is better
/// still for a decoder that was tuned to one kind of question.
///
/// ```swift
/// var data = CalibrationData()
/// data.texts = [try String(contentsOfFile: "questions.txt", encoding: .utf8)]
/// data.images = [.file(URL(filePath: "shelf.jpg"))]
/// try await VisionLanguageModel.quantize(.directory(original), to: small, precision: .int4, calibration: data)
/// ```
public struct CalibrationData: Sendable {
    /// Texts, each cut into pieces of 512 tokens.
    public var texts: [String] = []
    public var images: [ImageSource] = []
    /// Whether 2,048 random tokens are part of it, the same in every run.
    public var hasRandomTokens = true

    /// Random tokens alone.
    public init() {}

    /// Nothing: every weight is rounded by itself, as it is while loading with ``LoadOptions/precision``.
    public static var none: CalibrationData {
        var data = CalibrationData()
        data.hasRandomTokens = false
        return data
    }

    var isEmpty: Bool { texts.isEmpty && images.isEmpty && !hasRandomTokens }
}
