public import Checkpoints
internal import Generation
public import Logging
public import Metrics
public import Tensors

#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

/// Where a model comes from.
///
/// ```swift
/// let large = try await VisionLanguageModel(contentsOf: .directory(URL(filePath: "FastVLM-0.5B")))
/// ```
///
/// The product `FastVLMEmbedded` adds `.embedded`, the small model that is part of this package.
public struct ModelSource: Sendable, Hashable {
    enum Place: Sendable, Hashable {
        case directory(URL, visionTower: URL?)
        case resource(folder: String, bundle: String)
    }

    let place: Place

    /// A checkpoint folder in one of the published layouts (Apple, Hugging Face, MLX), or written by
    /// ``VisionLanguageModel/quantize(_:to:precision:calibration:threads:progress:)``. `models--org--name` of a Hugging Face cache
    /// stands for the snapshot that its `refs/main` names.
    ///
    /// The weight files are mapped, not copied. While a model loads, its files must not be written to: a change is found
    /// at the end of loading and is an error, but a file that is cut short meanwhile ends the process with SIGBUS, as
    /// reading a page beyond the end of a mapped file does. Afterwards only the files of a packed checkpoint (written by
    /// `quantize`) stay in use for as long as the model lives; all others may go. To exchange a model under a running
    /// program, write the new files elsewhere and rename them, or write into a new folder: who has the old files mapped
    /// keeps them.
    ///
    /// ```swift
    /// let model = try await VisionLanguageModel(contentsOf: .directory(folder))
    /// let llava = try await VisionLanguageModel(contentsOf: .directory(original, visionTower: other))
    /// ```
    /// - Parameters:
    ///   - url: the folder
    ///   - visionTower: a folder with the CLIP or SigLIP model that a checkpoint of LLaVA's original program names and
    ///     leaves out
    public static func directory(_ url: URL, visionTower: URL? = nil) -> ModelSource {
        ModelSource(place: .directory(url, visionTower: visionTower))
    }

    /// A checkpoint folder among the resources that a Swift package carries, beside the program or below
    /// `share/fastvlm` of where it is installed. It is looked for when the model is loaded; SwiftPM's own accessor would
    /// end a program whose resources are missing.
    ///
    /// ```swift
    /// // A target MyModel of the package my-app with the resource .copy("receipts")
    /// let model = try await VisionLanguageModel(contentsOf: .resource("receipts", bundle: "my-app_MyModel"))
    /// ```
    /// - Parameters:
    ///   - folder: its name in the bundle
    ///   - bundle: the bundle's name without its ending, as SwiftPM makes it: package, underscore, target
    public static func resource(_ folder: String, bundle: String) -> ModelSource {
        ModelSource(place: .resource(folder: folder, bundle: bundle))
    }

    /// Whether the model came with the program.
    var isResource: Bool { if case .resource = place { true } else { false } }

    /// The folder on disk.
    ///
    /// ```swift
    /// let folder = try ModelSource.directory(URL(filePath: "FastVLM-0.5B")).directory()
    /// ```
    /// - Throws: `FastVLMError` with the code `checkpoint` when resources are not beside the program; with
    ///   `invalidOption` for an address of another scheme than `file`.
    public func directory() throws -> URL {
        switch place {
        case .directory(let url, _): try localFile(url, what: "a model folder", code: .invalidOption)
        case .resource(let folder, let bundle): try ResourceFolder.find(folder, bundle: bundle)
        }
    }

    /// The folder of its vision tower, where that is another one.
    ///
    /// ```swift
    /// let tower = try ModelSource.directory(original, visionTower: other).visionTower()
    /// ```
    /// - Throws: `FastVLMError` with the code `invalidOption` for an address of another scheme than `file`.
    public func visionTower() throws -> URL? {
        guard case .directory(_, let tower?) = place else { return nil }
        return try localFile(tower, what: "a vision tower's folder", code: .invalidOption)
    }
}

/// Finds the resources of a package without the trap that SwiftPM's generated accessor has.
enum ResourceFolder {
    static func find(_ name: String, bundle: String) throws -> URL {
        let bundle = bundle + ".resources"
        let named = URL(filePath: CommandLine.arguments.first ?? "").resolvingSymlinksInPath()
        let folders = [program, named].compactMap { $0?.deletingLastPathComponent() }
        var candidates = folders.map { $0.appending(path: bundle) }
        // An installed program: <prefix>/bin/fastvlm with <prefix>/share/fastvlm beside it.
        if let folder = folders.first {
            candidates.append(folder.deletingLastPathComponent().appending(path: "share/fastvlm"))
        }
        for candidate in candidates.map({ $0.appending(path: name) })
        where FileManager.default.fileExists(atPath: candidate.appending(path: "config.json").path) {
            return candidate
        }
        throw FastVLMError(
            .checkpoint,
            "the model \(name) is not beside the program (looked for \(bundle)/\(name) in "
                + "\(folders.first?.path ?? "")); copy that folder there or choose another with --model")
    }

    /// The file that this process runs, links resolved; nil where the system does not say.
    private static var program: URL? {
        #if canImport(FoundationEssentials)
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
                .map { URL(filePath: $0) }
        #else
            Bundle.main.executableURL?.resolvingSymlinksInPath()
        #endif
    }
}

/// How a model is loaded.
///
/// ```swift
/// var options = LoadOptions()
/// options.precision = .float32
/// options.imageSize = 512
/// let model = try await VisionLanguageModel(contentsOf: .directory(folder), options: options)
/// ```
public struct LoadOptions: Sendable {
    /// nil takes the one that the checkpoint stores: its own integers where it is quantised, else bfloat16.
    public var precision: Precision?
    /// Worker threads, see ``possibleThreads``; nil takes one per physical core that the process may run on, and no more
    /// than its container's quota (``SystemInformation``). Answers do not depend on it.
    public var threads: Int?
    /// Pixels per side that images are brought to, a multiple of 64; nil takes the checkpoint's.
    public var imageSize: Int?
    /// nil takes the checkpoint's.
    public var geometry: Geometry?
    /// Tiles that an image is cut into beside the whole of it, for a model that takes images whole; nil takes them as the
    /// checkpoint does.
    public var tiles: TileGrid?
    /// Fewer visual tokens of an image than the encoder gives; nil takes all of them.
    public var tokenReduction: TokenReduction?
    /// Folders of LoRA adapters in PEFT's format (`adapter_config.json`, `adapter_model.safetensors`), merged into the
    /// decoder, the projector and the attention of the encoder in this order, in float32, before the weights are packed.
    public var adapters: [URL] = []
    /// The conversation template, one of ``templates``; nil takes the one that the checkpoint's chat template stands
    /// for, else the one that fits the checkpoint.
    public var template: String?
    /// The names of the conversation templates.
    public static let templates = ChatTemplate.all.map(\.name)
    /// Longest sequence in positions; nil takes the checkpoint's, at most 8,192 or what its largest image and a talk about
    /// it need.
    public var contextLength: Int?
    /// Whether photographs are turned as their EXIF or XMP orientation says. Apple's script does not.
    public var appliesOrientation = true
    /// What shows behind transparent pixels.
    public var background = ImageBackground.white
    /// Whether grey of more than 8 bits is clipped at 255, as the reference does it (Pillow's `convert("RGB")`),
    /// instead of scaled. Clipping turns most such images white.
    public var usesReferenceDepth = false
    /// Whether an image whose pixels are partly missing or damaged is answered about, the missing part grey, with a
    /// remark (``Answer/remarks``); otherwise it is an error.
    public var allowsTruncatedImages = false
    /// Whether colours are taken as sRGB, as the reference does it, whatever colour profile an image has.
    public var ignoresColorProfiles = false
    /// Most pixels an image may have. Images are resized while they are decoded, so this bounds time rather than memory.
    public var maximumPixels = 1_000_000_000
    /// Longest side an image may have, in pixels.
    public var maximumSide = 100_000
    /// Most bytes an image file may have.
    public var maximumFileBytes = 256 << 20
    /// Most bytes that decoding an image may take. A baseline JPEG or a PNG of any size takes some ten megabytes;
    /// progressive JPEG, interlaced PNG and WebP take 1 to 8 bytes a pixel.
    public var maximumImageBytes = 1 << 30
    /// The formats that are looked at; files of others are refused by their signature. ``ImageFormat/web`` unless more
    /// are asked for: a service that takes untrusted files should leave it at that.
    public var imageFormats = ImageFormat.web
    /// How many images the model remembers the visual tokens of: another question about one of them, in whatever
    /// conversation, needs no encoder. 0 remembers none.
    public var rememberedImages = 8
    /// Most bytes that the files of these images and their visual tokens take together.
    public var rememberedImageBytes = 128 << 20
    /// Most bytes of keys and values, of requests that are worked on and of earlier ones, which are kept so that prompts
    /// with the same beginning (system prompt, image, conversation) need not compute it again. What was used least
    /// recently goes first. 0 keeps nothing of earlier ones. A single request may take more, up to the whole context.
    public var keyValueBytes = 256 << 20
    /// Most requests that are worked on at once. More of them answer more tokens per second in total, each of them fewer.
    public var maximumRunning = 8
    /// Whether answers that have begun halt while images of other requests are encoded and their prompts computed, so that
    /// more of them go on together: all requests are done earlier, but the words of an answer come in bursts. For batches
    /// that nobody watches.
    public var prefersThroughput = false
    /// Most requests that wait beside them; further ones get an error with the code `overloaded` at once. A request that
    /// waits has not decoded its images yet; it holds what it brought, see ``requestBytes``.
    public var maximumWaiting = 256
    /// Most bytes that requests bring which are not finished, all of them together: text of messages, images as `.data` and
    /// `.pixels`, what pipes give, and files, of which each counts as a mebibyte at least. A request that brings more than
    /// is left gets an error with the code `overloaded` at once; its files wait until there is room. One that is larger
    /// than all of it is taken when no other holds any. The files of one request are read whatever the others have given,
    /// so that nobody waits for ever.
    public var requestBytes = 256 << 20
    /// Images that the first questions will be about, at most eight: they are decoded and brought to size while the
    /// weights load, which ends when both are ready, and wait in memory until they are asked about or
    /// ``VisionLanguageModel/forget()`` is called. What is wrong with one is told by the question.
    public var expectedImages: [ImageSource] = []
    /// Told the fraction of the weights loaded, 0...1.
    public var progress: (@Sendable (Double) -> Void)?

    /// Told what was loaded and how long it took, and at its `debug` level each request, with the metadata `request`
    /// (``GenerationOptions/requestID``).
    public var logger = Logger(label: "fastvlm") { _ in SwiftLogNoOpLogHandler() }
    /// Told how many requests, tokens and cache hits there are and how long stages take, under labels that begin with
    /// `fastvlm_`; nil takes what the program has given to `MetricsSystem.bootstrap` before the model is loaded.
    public var metrics: (any MetricsFactory)?

    public init() {}

    /// What ``threads`` may be: many more than any machine has cores would only use up its memory.
    public static var possibleThreads: ClosedRange<Int> { ThreadPool.possibleThreads }

    /// - Throws: `FastVLMError` of kind `request` for a number out of range.
    func check() throws {
        try Self.check(threads: threads)
        for (name, value, least) in [
            ("maximumRunning", maximumRunning, 1), ("maximumWaiting", maximumWaiting, 1),
            ("requestBytes", requestBytes, 1),
            ("keyValueBytes", keyValueBytes, 0), ("maximumPixels", maximumPixels, 1),
            ("maximumSide", maximumSide, 1), ("maximumFileBytes", maximumFileBytes, 1),
            ("maximumImageBytes", maximumImageBytes, 1), ("rememberedImages", rememberedImages, 0),
            ("rememberedImageBytes", rememberedImageBytes, 0),
        ] where value < least {
            throw FastVLMError(
                .invalidOption, "\(name) must be at least \(least), got \(value)", option: name)
        }
    }

    /// - Throws: `FastVLMError` of kind `request` for a number of threads out of range.
    static func check(threads: Int?) throws {
        let range = possibleThreads
        guard let threads, !range.contains(threads) else { return }
        throw FastVLMError(
            .invalidOption,
            "threads must be between \(range.lowerBound) and \(range.upperBound), got \(threads)",
            option: "threads")
    }
}
