internal import StrictJSON

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Which files of a repository are downloaded, and why a repository is not.
enum FileSelection {
    private static let needed = [
        "*.json", "*.safetensors", "merges.txt", "vocab.txt", "tokenizer.model", "*.jinja", "LICEN[SC]E*",
        "NOTICE*",
        "README.md",
    ]
    /// Beyond it a JSON file is no configuration.
    private static let largestDocument = 64 << 20

    static let index = "model.safetensors.index.json"

    /// - Parameter patterns: of a shell, matched with the whole path; none for what a model needs.
    static func matching(_ files: [RepositoryFile], _ patterns: [String]) -> [RepositoryFile] {
        guard patterns.isEmpty else {
            return files.filter { file in
                // There are our notes in a folder of a person's choice: some people upload theirs.
                !file.path.lowercased().hasPrefix(".cache/")
                    && patterns.contains { fnmatch($0, file.path, 0) == 0 }
            }
        }
        return files.filter { isNeeded($0.path, size: $0.size) }
    }

    /// Whether a model needs a file, by its path below the model's folder.
    static func isNeeded(_ path: String, size: Int) -> Bool {
        !path.contains("/") && needed.contains { fnmatch($0, path, 0) == 0 }
            && (path.hasSuffix(".safetensors") || size <= largestDocument)
    }

    /// Without the weights that an index does not name, where there is one.
    static func following(index names: Set<String>, _ files: [RepositoryFile]) -> [RepositoryFile] {
        files.filter { !$0.path.hasSuffix(".safetensors") || names.contains($0.path) }
    }

    /// What a licence's text is called.
    static func licence(_ files: [RepositoryFile]) -> RepositoryFile? {
        files.first { $0.isAtRoot && fnmatch("LICEN[SC]E*", $0.path, 0) == 0 && $0.size <= 1 << 20 }
    }

    // MARK: What cannot be run

    /// Why what has these files cannot be run, as far as their names tell; continues a sentence that begins with its name.
    static func refusal(_ paths: [String]) -> (reason: String, advice: String)? {
        func has(_ pattern: String) -> Bool { paths.contains { fnmatch(pattern, $0, 0) == 0 } }
        let hasWeights = paths.contains { !$0.contains("/") && $0.hasSuffix(".safetensors") }
        let what: String
        switch true {
        case hasWeights && has("config.json"): return nil
        case has("adapter_config.json"):
            return (
                "is a LoRA adapter, not a model",
                "To use it, pull it with --include '*' --local-dir FOLDER and give the folder with --adapter"
            )
        case has("*.onnx"): what = "has its weights in ONNX only"
        case coreMLModel(paths) != nil: what = "has its weights for Core ML only"
        case has("*.gguf"): what = "has its weights in GGUF only"
        case has("*.bin"), has("*.pt"), has("*.pth"): what = "has its weights in PyTorch's format only"
        case hasWeights: what = "has no config.json at its root"
        default: what = "has no weights (*.safetensors) at its root"
        }
        return ("\(what), which cannot be run", advice)
    }

    static let advice =
        "What works: a FastVLM repository with config.json and safetensors, such as \(ShortNames.example)"

    /// The package of a Core ML model among files.
    static func coreMLModel(_ paths: [String]) -> String? {
        for path in paths {
            let parts = path.split(separator: "/")
            if let part = parts.dropLast().first(where: {
                $0.hasSuffix(".mlpackage") || $0.hasSuffix(".mlmodelc")
            }) {
                return String(part)
            }
        }
        return nil
    }

    /// - Parameter name: of the package
    static func towerReason(_ name: String) -> String {
        "has its vision tower for Core ML only (\(printable(name))), which cannot be run"
    }

    static func hasVisionTower(_ tensors: Set<String>) -> Bool {
        tensors.contains { $0.contains("vision_tower.") || $0.contains("vision_model.") }
    }

    // MARK: Which tensors there are

    /// The files that an index names; nil for what is none.
    static func files(inIndex bytes: [UInt8]) -> Set<String>? {
        members(bytes).map { members in Set(members.compactMap(\.value.string)) }
    }

    static func tensors(inIndex bytes: [UInt8]) -> Set<String>? {
        members(bytes).map { members in Set(members.map(\.key)) }
    }

    private static func members(_ bytes: [UInt8]) -> [JSONObject.Member]? {
        let document = bytes.withUnsafeBytes { try? JSONParser.parse($0, limits: limits) }
        return document?["weight_map"]?.object?.members
    }

    private static let limits = JSONLimits(depth: 8, elements: 10_000, members: 200_000)
    /// What the format's own library allows.
    private static let longestHeader = 100_000_000

    /// How many bytes of a safetensors file say what is in it, by its first eight; nil where that cannot be.
    static func headerBytes(ofWeights bytes: [UInt8]) -> Int? {
        guard bytes.count >= 8 else { return nil }
        let length = bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return length <= longestHeader ? 8 + Int(length) : nil
    }

    /// The tensors of a safetensors file, of which at least the header is there; nil for what is none.
    static func tensors(inWeights bytes: [UInt8]) -> Set<String>? {
        guard let count = headerBytes(ofWeights: bytes), bytes.count >= count else { return nil }
        let document = bytes[8..<count].withUnsafeBytes { try? JSONParser.parse($0, limits: limits) }
        return document?.object.map { Set($0.members.map(\.key)) }
    }
}

/// Names for people, in place of the hub's.
package enum ShortNames {
    package static let table: KeyValuePairs<String, String> = [
        "fastvlm-0.5b": "apple/FastVLM-0.5B",
        "fastvlm-1.5b": "apple/FastVLM-1.5B",
        "fastvlm-7b": "apple/FastVLM-7B",
        "fastvlm-0.5b-mlx": "mlx-community/FastVLM-0.5B-bf16",
        "fastvlm-0.5b-hf": "KamilaMila/FastVLM-0.5B",
        "fastvlm-1.5b-hf": "KamilaMila/FastVLM-1.5B",
        "fastvlm-7b-hf": "KamilaMila/FastVLM-7B",
        "fastvlm-tiny-random": "hf-tiny-v2/tiny-random-FastVlmModel",
    ]

    static let example = "apple/FastVLM-0.5B"

    /// The repository of a short name or of `owner/name`; nil for anything else.
    package static func repository(_ text: String) -> RepositoryName? {
        let name = text.lowercased()
        return table.first { $0.key == name }.flatMap { RepositoryName($0.value) } ?? RepositoryName(text)
    }
}
