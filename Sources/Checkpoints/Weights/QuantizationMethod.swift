internal import StrictJSON

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Recognises quantisation by other programs than MLX and this one, before any tensor is looked at: their tensors have
/// names and types that would only be reported as unknown tensors.
enum QuantizationMethod {
    /// Where transformers and its relatives describe a quantisation.
    private static let keys = ["quantization_config", "compression_config", "quantization"]
    /// Files beside config.json of tools that leave it as it was.
    private static let files = [
        "quantize_config.json": "gptq", "quant_config.json": "awq", "hf_quant_config.json": "modelopt",
    ]
    private static let names = [
        "bitsandbytes": "bitsandbytes", "awq": "AWQ", "gptq": "GPTQ",
        "compressed-tensors": "compressed-tensors",
        "fp8": "FP8", "fbgemm_fp8": "FBGEMM FP8", "hqq": "HQQ", "quanto": "Quanto", "aqlm": "AQLM",
        "torchao": "torchao", "eetq": "EETQ", "higgs": "HIGGS", "vptq": "VPTQ", "spqr": "SpQR",
        "modelopt": "ModelOpt", "mxfp4": "MXFP4", "auto-round": "AutoRound", "autoround": "AutoRound",
        "bitnet": "BitNet", "exl2": "EXL2", "exl3": "EXL3",
    ]

    /// - Throws: `CheckpointError.foreignQuantization` that names the method.
    static func refuseForeign(_ root: ConfigurationReader, directory: URL) throws(CheckpointError) {
        for reader in [root, try root.section("text_config")].compactMap({ $0 }) {
            for key in keys {
                guard let section = try reader.section(key), let method = try method(section) else {
                    continue
                }
                throw .foreignQuantization(
                    file: root.file, key: section.key("quant_method"),
                    method: names[method.lowercased()] ?? method)
            }
        }
        // MLX's key says whose integers they are, whatever stands beside it.
        guard root.value("quantization") == nil else { return }
        for (name, method) in files.sorted(by: { $0.key < $1.key })
        where try FileAccess.isPresent(directory.appending(path: name)) {
            throw .foreignQuantization(file: name, key: "", method: names[method] ?? method)
        }
    }

    /// The method that a description names or shows; nil for MLX's, which names none.
    private static func method(_ section: ConfigurationReader) throws(CheckpointError) -> String? {
        if let name = try section.string("quant_method") { return name }
        for (key, method) in [
            ("load_in_4bit", "bitsandbytes"), ("load_in_8bit", "bitsandbytes"),
            ("_load_in_4bit", "bitsandbytes"), ("_load_in_8bit", "bitsandbytes"),
            ("config_groups", "compressed-tensors"), ("quant_algo", "modelopt"),
            ("weight_block_size", "fp8"), ("w_bit", "awq"), ("desc_act", "gptq"),
        ] where section.value(key) != nil && section.value(key) != .bool(false) {
            return method
        }
        return nil
    }
}
