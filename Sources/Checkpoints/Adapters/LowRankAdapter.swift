internal import CheckpointFiles
internal import StrictJSON
internal import Tensors

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// A LoRA adapter as PEFT stores it: adapter_config.json and adapter_model.safetensors.
///
/// Each adapted matrix has two of rank r, and counts as W + scale · B · A with A [r, inputs] and B [outputs, r]; the scale
/// is α / r, or α / √r where `use_rslora` says so. Matrices that were trained whole (`modules_to_save`) are stored under
/// their own names. Whatever changes weights in another way is refused by name.
struct LowRankAdapter: Sendable {
    static let configurationFile = "adapter_config.json"
    static let weightsFile = "adapter_model.safetensors"
    static let rankLimit = 65536

    struct Pair: Sendable {
        let a: StoredTensor
        let b: StoredTensor
        let scale: Double
    }

    let file: SafetensorsFile
    /// By the path of the module, as the trained model had it: `model.language_model.layers.0.self_attn.q_proj`.
    let pairs: [String: Pair]
    /// By the name of the weight, as the trained model had it.
    let replacements: [String: StoredTensor]

    /// - Throws: `CheckpointError` for a folder that is no adapter, and for an adapter of another kind.
    init(directory folder: URL) throws(CheckpointError) {
        let directory = try CheckpointFolder.resolve(adapter: folder)
        let names = try FileAccess.names(in: directory)
        let reader = try ConfigurationReader(
            FileAccess.json(directory.appending(path: Self.configurationFile)), file: Self.configurationFile)
        let settings = try AdapterSettings(reader)
        guard names.contains(Self.weightsFile) else {
            let foreign = ForeignWeights.among(names)
            guard !foreign.isEmpty else {
                throw .missingFile(
                    path: directory.appending(path: Self.weightsFile).path, expected: Self.weightsFile)
            }
            throw .unsupportedWeightsFormat(directory: directory.path, found: foreign)
        }
        // LLaVA's own training keeps the projector beside the adapter, in a pickle.
        if names.contains("non_lora_trainables.bin") {
            throw .unsupportedAdapter(
                file: directory.path, place: "non_lora_trainables.bin",
                reason:
                    "part of the adapter is a PyTorch file, which is not read; LLaVA's merge_lora_weights.py merges it"
            )
        }
        file = try SafetensorsFile(contentsOf: directory.appending(path: Self.weightsFile))
        (pairs, replacements) = try Self.sorted(file, settings)
    }

    // MARK: Tensors

    private static func sorted(
        _ file: SafetensorsFile, _ settings: AdapterSettings
    ) throws(CheckpointError) -> ([String: Pair], [String: StoredTensor]) {
        var halves: [String: [Substring: StoredTensor]] = [:]
        var whole: [String: StoredTensor] = [:]
        for stored in file.tensors {
            func fault(_ reason: String) -> CheckpointError {
                .unsupportedAdapter(file: file.name, place: stored.name, reason: reason)
            }
            guard stored.dataType.isFloatingPoint else {
                throw .unexpectedDataType(
                    file: file.name, tensor: stored.name, expected: "F32, F16 or BF16",
                    got: stored.dataType.rawValue)
            }
            switch AdapterName(stored.name) {
            case .half(let module, let half):
                guard stored.shape.count == 2 else {
                    throw fault("LoRA of a convolution is not supported")
                }
                guard halves[module, default: [:]].updateValue(stored, forKey: half) == nil else {
                    throw .duplicateTensor(tensor: module, first: stored.name, second: stored.name)
                }
            case .whole(let name):
                if let other = whole.updateValue(stored, forKey: name) {
                    throw .duplicateTensor(tensor: name, first: other.name, second: stored.name)
                }
            case .ignorable: break
            case .unsupported(let kind): throw fault("\(kind) is not supported")
            }
        }
        guard !halves.isEmpty || !whole.isEmpty else {
            throw .unsupportedAdapter(file: file.name, place: "", reason: "the adapter has no tensors")
        }
        var pairs: [String: Pair] = [:]
        for (module, found) in halves {
            guard let a = found["A"], let b = found["B"] else {
                throw .missingTensor(
                    tensor: "\(module).lora_\(found["A"] == nil ? "A" : "B").weight", shape: [],
                    location: file.name, others: 0)
            }
            let rank = try settings.rank(module)
            guard a.shape[0] == rank, b.shape[1] == rank else {
                throw .configurationContradictsTensors(
                    file: configurationFile, key: "r", configuration: "\(rank) for \(module)",
                    tensors: "\(a.shape) and \(b.shape)")
            }
            pairs[module] = Pair(a: a, b: b, scale: try settings.scale(module))
        }
        return (pairs, whole)
    }

    // MARK: Folders

    /// The model that an adapter was trained for, where its configuration names one.
    static func baseName(in directory: URL) -> String? {
        let document = try? FileAccess.json(directory.appending(path: configurationFile))
        return document?["base_model_name_or_path"]?.string.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Throws when a folder has an adapter and no model.
    static func refuseInPlaceOfModel(_ directory: URL) throws(CheckpointError) {
        let names = try FileAccess.names(in: directory)
        guard names.contains(configurationFile) || names.contains(weightsFile),
            !names.contains(where: { $0.hasSuffix(".safetensors") && $0 != weightsFile })
        else { return }
        let parts: Set<String> = ["adapter_model.bin", "non_lora_trainables.bin", "mm_projector.bin"]
        guard ForeignWeights.among(names).allSatisfy({ parts.contains($0) }) else { return }
        throw .adapterOnly(directory: directory.path, base: baseName(in: directory))
    }

    /// Throws when the weights of a folder are an adapter's, or a model with an adapter beside its weights.
    static func refuseUnmerged(_ catalog: TensorCatalog, directory: URL) throws(CheckpointError) {
        let marked = catalog.tensors.values.filter { stored in
            stored.name.hasPrefix(AdapterName.prefix)
                || [".lora_A.", ".lora_B.", ".lora_embedding_", ".base_layer."].contains {
                    stored.name.contains($0)
                }
        }
        guard let first = marked.min(by: { $0.name < $1.name }) else { return }
        let isWhole =
            marked.contains { $0.name.contains(".base_layer.") } || marked.count < catalog.tensors.count
        guard isWhole else { throw .adapterOnly(directory: directory.path, base: baseName(in: directory)) }
        throw .unsupportedAdapter(
            file: first.file, place: first.name,
            reason: "these weights are a model with a LoRA adapter that is not merged")
    }
}

/// What a tensor of an adapter's file is, by its name.
enum AdapterName: Equatable {
    static let prefix = "base_model.model."

    /// A or B of a module.
    case half(module: String, Substring)
    /// A weight that was trained whole.
    case whole(name: String)
    /// A copy of the original that PEFT may leave in the file.
    case ignorable
    case unsupported(kind: String)

    init(_ stored: String) {
        let name = stored.hasPrefix(Self.prefix) ? String(stored.dropFirst(Self.prefix.count)) : stored
        var parts = name.split(separator: ".", omittingEmptySubsequences: false)
        for (mark, kind) in [
            ("lora_magnitude_vector", "DoRA"), ("lora_embedding_A", "LoRA of an embedding table"),
            ("lora_embedding_B", "LoRA of an embedding table"), ("lora_bias", "a bias in LoRA"),
            ("token_adapter", "training of single tokens"),
        ] where parts.contains(mark[...]) {
            self = .unsupported(kind: kind)
            return
        }
        if parts.contains("original_module") || parts.contains("base_layer") {
            self = .ignorable
            return
        }
        if let at = parts.lastIndex(where: { $0 == "lora_A" || $0 == "lora_B" }) {
            // ….lora_A.weight, or ….lora_A.NAME.weight with the adapter's name.
            guard at > 0, parts.last == "weight", parts.count - at <= 3 else {
                self = .unsupported(kind: "this tensor")
                return
            }
            self = .half(module: parts[..<at].joined(separator: "."), parts[at].suffix(1))
            return
        }
        if let at = parts.firstIndex(of: "modules_to_save") {
            parts.removeSubrange(at..<min(at + 2, parts.count - 1))
        }
        self = .whole(name: parts.joined(separator: "."))
    }
}

extension CanonicalWeights {
    /// Puts an adapter's changes in place of what they change.
    /// - Parameters:
    ///   - names: of this checkpoint.
    ///   - isTied: whether the embedding table is the output projection too.
    /// - Throws: `CheckpointError` for a module that this network does not have, or has in another shape.
    mutating func merge(
        _ adapter: LowRankAdapter, names: SourceNames, isTied: Bool
    ) throws(CheckpointError) {
        let file = adapter.file.name
        func canonical(_ name: String, _ stored: StoredTensor) throws(CheckpointError) -> (String, [Int]) {
            func fault(_ reason: String) -> CheckpointError {
                .unsupportedAdapter(file: file, place: stored.name, reason: reason)
            }
            guard case .weight(let source) = names.meaning(of: name) else {
                throw fault("the model has no weight \(name)")
            }
            let name = source.replacing(".reparam.", with: ".")
            if isTied, ["decoder.output.weight", "decoder.embedding.weight"].contains(name) {
                throw fault(
                    "in this model the embedding table and the output projection are one matrix, of which the adapter "
                        + "changes one use")
            }
            guard let shape = shape(of: name) else { throw fault("the model has no weight \(name)") }
            return (name, shape)
        }
        var changed: Set<String> = []
        for (module, pair) in adapter.pairs.sorted(by: { $0.key < $1.key }) {
            let (name, shape) = try canonical("\(module).weight", pair.a)
            let rank = pair.a.shape[0]
            for (half, expected) in [(pair.a, [rank, shape.last ?? 0]), (pair.b, [shape[0], rank])]
            where half.shape != expected {
                throw .unexpectedShape(file: file, tensor: half.name, expected: expected, got: half.shape)
            }
            changed.insert(name)
            adapt(name, AdapterUpdate(file: adapter.file, change: .lowRank(pair)))
        }
        for (name, stored) in adapter.replacements.sorted(by: { $0.key < $1.key }) {
            let (name, shape) = try canonical(name, stored)
            guard shape == stored.shape else {
                throw .unexpectedShape(file: file, tensor: stored.name, expected: shape, got: stored.shape)
            }
            guard !changed.contains(name) else {
                throw .unsupportedAdapter(
                    file: file, place: stored.name,
                    reason: "it is a whole weight, and the adapter has low-rank matrices for it too")
            }
            adapt(name, AdapterUpdate(file: adapter.file, change: .replacement(stored)))
        }
    }
}
