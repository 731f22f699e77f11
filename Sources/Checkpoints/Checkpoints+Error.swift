internal import CheckpointFiles
package import SystemFiles
package import Tensors

/// Why a folder cannot be used as a checkpoint. Every case says where, what was expected and what was found;
/// the description ends in what to do.
package enum CheckpointError: Error, Sendable, Equatable {
    /// A file or folder that must be there is not, or is not a regular file.
    case missingFile(path: String, expected: String)
    /// Something under the name of a file that is none.
    case notARegularFile(path: String, found: String)
    /// A symbolic link that leads nowhere.
    case brokenLink(path: String, target: String)
    /// A folder, or a file in place of one, that is no checkpoint.
    case notACheckpoint(path: String, reason: String, advice: String)
    /// A file that plainly holds something else than its name promises.
    case foreignContent(path: String, what: String, advice: String)
    /// A file that was changed while it was being read.
    case changedFile(path: String)
    /// A file that the system would not let us read.
    case unreadableFile(path: String, reason: SystemReason)
    /// A file larger than anything that is sensible for its kind.
    case oversizedFile(path: String, bytes: Int, limit: Int)
    /// Weights are there, but in a format that is not read (pickle, GGUF, CoreML).
    case unsupportedWeightsFormat(directory: String, found: [String])
    /// Several weight files and nothing that says how they belong together.
    case ambiguousWeights(directory: String, found: [String])
    /// Text that is not JSON, at a byte offset.
    case invalidJSON(file: String, offset: Int, reason: String, advice: String)
    /// A safetensors file that breaks a rule of the format. `tensor` is empty when it concerns the whole
    /// file.
    case invalidSafetensors(file: String, tensor: String, reason: String)
    /// Packed weights whose description disagrees with itself or with the data.
    case invalidPackedWeights(file: String, tensor: String, reason: String)
    /// A shard index that disagrees with itself or with its shards.
    case invalidIndex(file: String, entry: String, expected: String, got: String)
    /// A configuration value that is missing, of the wrong kind or out of range.
    case invalidConfiguration(file: String, key: String, expected: String, got: String)
    /// A configuration value that means a network this library does not compute.
    case unsupportedConfiguration(file: String, key: String, expected: String, got: String)
    /// Weights quantised in a way that this library does not read. `key` may be empty.
    case foreignQuantization(file: String, key: String, method: String)
    /// A LoRA adapter in place of a whole model. `base` is the model that it was trained for, if it says.
    case adapterOnly(directory: String, base: String?)
    /// An adapter that cannot be merged. `place` is a key or tensor.
    case unsupportedAdapter(file: String, place: String, reason: String)
    /// The configuration says one thing and the tensors another.
    case configurationContradictsTensors(file: String, key: String, configuration: String, tensors: String)
    /// A whole part of the model is not in the folder.
    case incompleteCheckpoint(directory: String, missing: String, advice: String)
    /// A tensor that the configuration calls for is not there. `others` counts further ones.
    case missingTensor(tensor: String, shape: [Int], location: String, others: Int)
    /// A tensor that nothing in the network uses. `others` counts further ones.
    case unexpectedTensor(file: String, tensor: String, others: Int)
    /// Two stored tensors that mean the same weight.
    case duplicateTensor(tensor: String, first: String, second: String)
    /// A tensor of the wrong shape.
    case unexpectedShape(file: String, tensor: String, expected: [Int], got: [Int])
    /// A tensor of the wrong element type.
    case unexpectedDataType(file: String, tensor: String, expected: String, got: String)
    /// A weight that holds NaN or infinity.
    case notFinite(file: String, tensor: String)
    /// An image side that the encoder cannot take.
    case invalidResolution(side: Int, sides: VisionConfiguration.Sides, limit: Int)
    /// A file or folder that cannot be written.
    case output(OutputError)
    /// Memory or mapping trouble below.
    case tensor(TensorError)
}

extension CheckpointError {
    /// Runs what throws the errors of the module below, and passes them on as this module's.
    static func wrapping<Value>(_ body: () throws(TensorError) -> Value) throws(CheckpointError) -> Value {
        do {
            return try body()
        } catch {
            throw .tensor(error)
        }
    }

    /// Runs what writes, and passes its errors on as this module's.
    static func wrapping<Value>(_ body: () throws(OutputError) -> Value) throws(CheckpointError) -> Value {
        do {
            return try body()
        } catch {
            throw .output(error)
        }
    }
}

extension CheckpointError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .missingFile(let path, let expected):
            path.hasSuffix("/" + expected)
                ? "\(path): there is no such file; check the path, or download the checkpoint again"
                : "\(path): expected \(expected), found none; check the path, or download the checkpoint again"
        case .notARegularFile(let path, let found):
            "\(path): expected a file, found \(found); download the checkpoint again"
        case .brokenLink(let path, let target):
            "\(path): the link leads to \(target), which does not exist; download the checkpoint again, or remove "
                + "the link if the file is not needed"
        case .notACheckpoint(let path, let reason, let advice):
            "\(path): \(reason); \(advice)"
        case .foreignContent(let path, let what, let advice):
            "\(path): the file is \(what); \(advice)"
        case .changedFile(let path):
            "\(path): the file was changed while the model was loading; load it again once it is complete"
        case .unreadableFile(let path, let reason):
            "\(path): cannot be read: \(reason); \(reason.advice ?? "check the file")"
        case .oversizedFile(let path, let bytes, let limit):
            "\(path): \(bytes) bytes, at most \(limit) expected; "
                + "check that it is the right file"
        case .unsupportedWeightsFormat(let directory, let found):
            "\(directory): expected *.safetensors, found only \(Self.list(found)); "
                + ForeignWeights.advice(found)
        case .ambiguousWeights(let directory, let found):
            "\(directory): expected one safetensors file or a *.safetensors.index.json, found "
                + "\(Self.list(found)); keep the files of one model only"
        case .invalidJSON(let file, let offset, let reason, let advice):
            "\(file): not valid JSON at byte \(offset): \(reason); \(advice)"
        case .invalidSafetensors(let file, let tensor, let reason):
            "\(file)\(tensor.isEmpty ? "" : ": \(tensor)"): not a valid safetensors file: \(reason); "
                + "fetch the file again"
        case .invalidPackedWeights(let file, let tensor, let reason):
            "\(file): \(tensor): the packed weights are not valid: \(reason); quantise the original checkpoint "
                + "again (fastvlm quantize)"
        case .invalidIndex(let file, let entry, let expected, let got):
            "\(file): \(entry): expected \(expected), got \(got); "
                + "the index and its shards must come from one download"
        case .invalidConfiguration(let file, let key, let expected, let got):
            "\(file): \(key): expected \(expected), got \(got); correct the file or fetch it again"
        case .unsupportedConfiguration(let file, let key, let expected, let got):
            "\(file): \(key): only \(expected) is supported, got \(got); choose another checkpoint"
        case .foreignQuantization(let file, let key, let method):
            "\(file)\(key.isEmpty ? "" : ": \(key)"): the weights are quantised with \(method), which is not supported; "
                + "use the checkpoint before it was quantised, with --precision int8 or int4, or an MLX one of 4 or 8 bits"
        case .adapterOnly(let directory, let base):
            "\(directory): this is a LoRA adapter\(base.map { " for \($0)" } ?? ""), not a whole model; give it with "
                + "--adapter beside the model that it was trained for, or merge it once with peft: "
                + "merge_and_unload(), then save_pretrained(folder)"
        case .unsupportedAdapter(let file, let place, let reason):
            "\(file)\(place.isEmpty ? "" : ": \(place)"): \(reason); merge the adapter with peft "
                + "(merge_and_unload) and load the merged model"
        case .configurationContradictsTensors(let file, let key, let configuration, let tensors):
            "\(file): \(key): the configuration says \(configuration), the tensors say \(tensors); "
                + "configuration, tokenizer and weights must come from one model"
        case .incompleteCheckpoint(let directory, let missing, let advice):
            "\(directory): the checkpoint has no \(missing); \(advice)"
        case .missingTensor(let tensor, let shape, let location, let others):
            "\(location): tensor \(tensor) \(shape.isEmpty ? "" : "of shape \(shape) ")is missing"
                + "\(Self.more(others)); the download is incomplete or config.json belongs to another model"
        case .unexpectedTensor(let file, let tensor, let others):
            "\(file): tensor \(tensor) is not part of the network that config.json describes"
                + "\(Self.more(others)); check that config.json and weights come from one FastVLM model"
        case .duplicateTensor(let tensor, let first, let second):
            first == second
                ? "\(tensor) is there twice; keep one of them"
                : "\(tensor) is stored twice, as \(first) and as \(second); keep one of them"
        case .unexpectedShape(let file, let tensor, let expected, let got):
            "\(file): tensor \(tensor): expected shape \(expected), got \(got); "
                + "check that config.json and weights come from one model"
        case .unexpectedDataType(let file, let tensor, let expected, let got):
            "\(file): tensor \(tensor): expected \(expected), got \(got); "
                + "convert the weights to F32, F16 or BF16"
        case .notFinite(let file, let tensor):
            "\(file): tensor \(tensor) holds numbers that are NaN or infinite; the file is damaged or its training "
                + "failed: fetch it again, or choose another checkpoint"
        case .invalidResolution(let side, .multiples(let stride), let limit):
            "image side \(side): expected a multiple of \(stride) from \(stride) to \(limit); "
                + "choose such a side"
        case .invalidResolution(let side, .only(let one), _):
            "image side \(side): this vision tower takes images of \(one) alone; leave the side out"
        case .output(let error):
            error.description
        case .tensor(let error):
            error.description
        }
    }

    private static func list(_ names: [String]) -> String {
        let shown = names.prefix(4).joined(separator: ", ")
        return names.count > 4 ? "\(shown) and \(names.count - 4) more" : shown
    }

    private static func more(_ others: Int) -> String {
        switch others {
        case 0: ""
        case 1: " (and 1 more)"
        default: " (and \(others) more)"
        }
    }
}
