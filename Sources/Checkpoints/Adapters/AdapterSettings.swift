internal import StrictJSON

/// What adapter_config.json says: how strong each module's change is, and that it is nothing but LoRA.
struct AdapterSettings {
    private let rank: Int
    private let alpha: Double
    private let rankPattern: [(pattern: ModulePattern, value: Int)]
    private let alphaPattern: [(pattern: ModulePattern, value: Double)]
    private let dividesByRoot: Bool

    /// - Throws: `CheckpointError.unsupportedAdapter` for anything that changes weights otherwise.
    init(_ reader: ConfigurationReader) throws(CheckpointError) {
        try Self.refuseUnsupported(reader)
        let ranks = 1...LowRankAdapter.rankLimit
        guard let rank = try reader.integer("r", in: ranks) else {
            throw reader.invalid("r", expected: "a whole number", got: "nothing")
        }
        self.rank = rank
        alpha = try reader.double("lora_alpha", in: -1e6...1e6) ?? 8
        dividesByRoot = try reader.bool("use_rslora") ?? false
        var rankPattern: [(pattern: ModulePattern, value: Int)] = []
        if let section = try reader.section("rank_pattern") {
            for key in section.keysInOrder {
                guard let value = try section.integer(key, in: ranks) else { continue }
                rankPattern.append((try ModulePattern(key, in: section), value))
            }
        }
        var alphaPattern: [(pattern: ModulePattern, value: Double)] = []
        if let section = try reader.section("alpha_pattern") {
            for key in section.keysInOrder {
                guard let value = try section.double(key, in: -1e6...1e6) else { continue }
                alphaPattern.append((try ModulePattern(key, in: section), value))
            }
        }
        self.rankPattern = rankPattern
        self.alphaPattern = alphaPattern
    }

    /// The first pattern that fits decides, as in PEFT.
    func rank(_ module: String) throws(CheckpointError) -> Int {
        rankPattern.first { $0.pattern.matches(module) }?.value ?? rank
    }

    func scale(_ module: String) throws(CheckpointError) -> Double {
        let alpha = alphaPattern.first { $0.pattern.matches(module) }?.value ?? alpha
        let rank = Double(try rank(module))
        return alpha / (dividesByRoot ? rank.squareRoot() : rank)
    }

    private static func refuseUnsupported(_ reader: ConfigurationReader) throws(CheckpointError) {
        func fault(_ key: String, _ reason: String) -> CheckpointError {
            .unsupportedAdapter(file: reader.file, place: key, reason: reason)
        }
        guard let kind = try reader.string("peft_type") else {
            throw reader.invalid("peft_type", expected: "LORA", got: "nothing")
        }
        guard kind == "LORA" else {
            throw fault("peft_type", "the adapter is \(kind); only LORA is supported")
        }
        for (key, name) in [
            ("use_dora", "DoRA"), ("fan_in_fan_out", "weights stored inputs first"),
            ("lora_bias", "a bias in LoRA"),
            ("use_qalora", "QALoRA"), ("use_bdlora", "block-diagonal LoRA"),
        ] where try reader.bool(key) == true {
            throw fault(key, "\(name) is not supported")
        }
        if let bias = try reader.string("bias"), bias != "none" {
            throw fault("bias", "trained biases (\"\(bias)\") are not supported")
        }
        for (key, name) in [
            ("layer_replication", "replicated layers"),
            ("trainable_token_indices", "training of single tokens"),
            ("target_parameters", "LoRA of parameters that are no layers"),
            ("alora_invocation_tokens", "aLoRA"), ("megatron_config", "Megatron"), ("arrow_config", "Arrow"),
            ("kasa_config", "KaSA"), ("monteclora_config", "MonteCLoRA"), ("velora_config", "VeLoRA"),
        ] where !isEmpty(reader.value(key)) {
            throw fault(key, "\(name) is not supported")
        }
        // These ways to begin change the weights of the model as well, and the file does not hold that change.
        if let start = reader.value("init_lora_weights")?.string?.lowercased(),
            ["pissa", "olora", "corda", "loftq", "lora_ga"].contains(where: { start.hasPrefix($0) })
        {
            throw fault(
                "init_lora_weights",
                "training began with \"\(start)\", which changed the model's own weights; convert the adapter to plain "
                    + "LoRA with PEFT")
        }
    }

    private static func isEmpty(_ value: JSONValue?) -> Bool {
        guard let value else { return true }
        return value.elements?.isEmpty ?? value.object?.isEmpty ?? false
    }
}

/// A key of `rank_pattern` or `alpha_pattern`: a regular expression for the end of a module's path, of which plain names
/// are read. Expressions proper are refused: an untrusted one could take for ever.
struct ModulePattern {
    private let literal: String
    /// The whole path must match.
    private let isAnchored: Bool

    init(_ key: String, in section: ConfigurationReader) throws(CheckpointError) {
        var rest = key[...]
        isAnchored = rest.first == "^"
        if isAnchored { rest = rest.dropFirst() }
        if rest.last == "$" { rest = rest.dropLast() }
        let text = rest.replacing("\\.", with: ".")
        guard !text.isEmpty,
            text.allSatisfy({
                $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == "." || $0 == "-")
            })
        else {
            throw .unsupportedAdapter(
                file: section.file, place: section.key(key),
                reason: "this regular expression is not supported, only names of modules")
        }
        literal = String(text)
    }

    /// Whether the path ends in the name, at a dot or as a whole. A dot of the name stands for any character.
    func matches(_ module: String) -> Bool {
        let (path, name) = (Array(module.utf8), Array(literal.utf8))
        guard path.count >= name.count, !isAnchored || path.count == name.count else { return false }
        let start = path.count - name.count
        guard start == 0 || path[start - 1] == UInt8(ascii: ".") else { return false }
        return zip(path[start...], name).allSatisfy { $0 == $1 || $1 == UInt8(ascii: ".") }
    }
}
