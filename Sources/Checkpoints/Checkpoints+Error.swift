package import Tensors

/// Why a folder cannot be used as a checkpoint. Every case says where, what was expected and what was found;
/// the description ends in what to do.
package enum CheckpointError: Error, Sendable, Equatable {
    /// A file or folder that must be there is not, or is not a regular file.
    case missingFile(path: String, expected: String)
    /// A file that the system would not let us read.
    case unreadableFile(path: String, reason: String)
    /// A file larger than anything that is sensible for its kind.
    case oversizedFile(path: String, bytes: Int, limit: Int)
    /// Weights are there, but in a format that is not read (pickle, GGUF, CoreML).
    case unsupportedWeightsFormat(directory: String, found: [String])
    /// Several weight files and nothing that says how they belong together.
    case ambiguousWeights(directory: String, found: [String])
    /// Text that is not JSON, at a byte offset.
    case invalidJSON(file: String, offset: Int, reason: String)
    /// A safetensors file that breaks a rule of the format. `tensor` is empty when it concerns the whole
    /// file.
    case invalidSafetensors(file: String, tensor: String, reason: String)
    /// A shard index that disagrees with itself or with its shards.
    case invalidIndex(file: String, entry: String, expected: String, got: String)
    /// A configuration value that is missing, of the wrong kind or out of range.
    case invalidConfiguration(file: String, key: String, expected: String, got: String)
    /// A configuration value that means a network this library does not compute.
    case unsupportedConfiguration(file: String, key: String, expected: String, got: String)
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
    /// An image side that the encoder cannot take.
    case invalidResolution(side: Int, stride: Int, limit: Int)
    /// A file that could not be written.
    case unwritableFile(path: String, reason: String)
    /// Memory or mapping trouble below.
    case tensor(TensorError)
}

extension CheckpointError {
    /// Runs what throws the room below's errors, and passes them on as this room's.
    static func wrapping<Value>(_ body: () throws(TensorError) -> Value) throws(CheckpointError) -> Value {
        do {
            return try body()
        } catch {
            throw .tensor(error)
        }
    }
}

extension CheckpointError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .missingFile(let path, let expected):
            "\(path): expected \(expected), found none; check the path, or download the checkpoint again"
        case .unreadableFile(let path, let reason):
            "\(path): cannot be read: \(reason); check its permissions"
        case .oversizedFile(let path, let bytes, let limit):
            "\(path): \(bytes) bytes, at most \(limit) expected; "
                + "this is not a file of its kind, fetch it again"
        case .unsupportedWeightsFormat(let directory, let found):
            "\(directory): expected *.safetensors, found only \(Self.list(found)); "
                + "convert the weights to safetensors"
        case .ambiguousWeights(let directory, let found):
            "\(directory): expected one safetensors file or a *.safetensors.index.json, found "
                + "\(Self.list(found)); keep the files of one model only"
        case .invalidJSON(let file, let offset, let reason):
            "\(file): not valid JSON at byte \(offset): \(reason); fetch the file again"
        case .invalidSafetensors(let file, let tensor, let reason):
            "\(file)\(tensor.isEmpty ? "" : ": \(tensor)"): not a valid safetensors file: \(reason); "
                + "fetch the file again"
        case .invalidIndex(let file, let entry, let expected, let got):
            "\(file): \(entry): expected \(expected), got \(got); "
                + "the index and its shards must come from one download"
        case .invalidConfiguration(let file, let key, let expected, let got):
            "\(file): \(key): expected \(expected), got \(got); correct the file or fetch it again"
        case .unsupportedConfiguration(let file, let key, let expected, let got):
            "\(file): \(key): only \(expected) is supported, got \(got); choose another checkpoint"
        case .configurationContradictsTensors(let file, let key, let configuration, let tensors):
            "\(file): \(key): the configuration says \(configuration), the tensors say \(tensors); "
                + "config.json and weights must come from one model"
        case .incompleteCheckpoint(let directory, let missing, let advice):
            "\(directory): the checkpoint has no \(missing); \(advice)"
        case .missingTensor(let tensor, let shape, let location, let others):
            "\(location): tensor \(tensor) \(shape.isEmpty ? "" : "of shape \(shape) ")is missing"
                + "\(Self.more(others)); the download is incomplete or config.json belongs to another model"
        case .unexpectedTensor(let file, let tensor, let others):
            "\(file): tensor \(tensor) is not part of the network that config.json describes"
                + "\(Self.more(others)); check that config.json and weights come from one FastVLM model"
        case .duplicateTensor(let tensor, let first, let second):
            "\(tensor) is stored twice, as \(first) and as \(second); keep one of them"
        case .unexpectedShape(let file, let tensor, let expected, let got):
            "\(file): tensor \(tensor): expected shape \(expected), got \(got); "
                + "check that config.json and weights come from one model"
        case .unexpectedDataType(let file, let tensor, let expected, let got):
            "\(file): tensor \(tensor): expected \(expected), got \(got); "
                + "convert the weights to F32, F16 or BF16"
        case .invalidResolution(let side, let stride, let limit):
            "image side \(side): expected a multiple of \(stride) from \(stride) to \(limit); "
                + "choose such a side"
        case .unwritableFile(let path, let reason):
            "\(path): cannot be written: \(reason); choose another place"
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
