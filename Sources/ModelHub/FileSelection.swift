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
        return files.filter { file in
            file.isAtRoot && needed.contains { fnmatch($0, file.path, 0) == 0 }
                && (file.path.hasSuffix(".safetensors") || file.size <= largestDocument)
        }
    }

    /// Without the weights that an index does not name, where there is one.
    static func following(index names: Set<String>, _ files: [RepositoryFile]) -> [RepositoryFile] {
        files.filter { !$0.path.hasSuffix(".safetensors") || names.contains($0.path) }
    }

    /// What a licence's text is called.
    static func licence(_ files: [RepositoryFile]) -> RepositoryFile? {
        files.first { $0.isAtRoot && fnmatch("LICEN[SC]E*", $0.path, 0) == 0 && $0.size <= 1 << 20 }
    }

    /// Why a repository cannot be run, as far as its names tell.
    static func refusal(_ files: [RepositoryFile], of repository: RepositoryName) -> HubError? {
        func has(_ pattern: String) -> Bool { files.contains { fnmatch(pattern, $0.path, 0) == 0 } }
        let hasWeights = files.contains { $0.isAtRoot && $0.path.hasSuffix(".safetensors") }
        let what: String
        switch true {
        case hasWeights && has("config.json"): return nil
        case has("adapter_config.json"):
            return HubError(
                .unusable,
                "\(repository) is a LoRA adapter, not a model; pull it with --include '*' --local-dir FOLDER and give the "
                    + "folder with --adapter")
        case has("*.onnx"): what = "has its weights in ONNX only"
        case has("*.mlpackage/*"), has("*.mlmodelc/*"): what = "has its weights for Core ML only"
        case has("*.gguf"): what = "has its weights in GGUF only"
        case has("*.bin"), has("*.pt"), has("*.pth"): what = "has its weights in PyTorch's format only"
        case hasWeights: what = "has no config.json at its root"
        default: what = "has no weights (*.safetensors) at its root"
        }
        return HubError(
            .unusable,
            "\(repository) \(what), which cannot be run; nothing was downloaded. What works: a FastVLM repository with "
                + "config.json and safetensors, such as \(ShortNames.example)")
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
