internal import StrictJSON

/// Keys that stand in two places, and which of them counts: docs/checkpoints.md has the whole list.
extension ConfigurationFiles {
    /// The decoder's values that no tensor shows.
    private static let answerKeys = [
        "rope_theta", "rope_parameters", "rope_scaling", "rms_norm_eps", "num_attention_heads",
        "num_key_value_heads", "head_dim", "max_position_embeddings",
    ]

    /// Says where `text_config` and the root disagree, or where a value is only at the root, where transformers does not
    /// look for it.
    func compareTextWithRoot(remarks: inout [CheckpointRemark]) {
        guard hasTextSection else { return }
        for key in Self.answerKeys {
            guard let outer = root.ownValue(key) else { continue }
            if let inner = text.ownValue(key) {
                guard inner != outer, inner.double == nil || inner.double != outer.double else { continue }
                remarks.append(
                    .disagreement(text, root, key, used: inner.summary, unused: outer.summary))
            } else if text.value(key) == nil {
                remarks.append(
                    .changesAnswers(
                        "\(root.place(key)) \(outer.summary) is not used: where there is a text_config, the decoder's "
                            + "values are read from it, as in transformers"))
            }
        }
    }

    /// Whether the embedding table scores the vocabulary is decided by the tensors, as in transformers; the flag only
    /// explains.
    func checkTying(
        _ decoder: DecoderConfiguration, storesOutput: Bool, remarks: inout [CheckpointRemark]
    ) throws(CheckpointError) {
        let outer = try root.bool("tie_word_embeddings")
        let inner = hasTextSection ? try text.bool("tie_word_embeddings") : nil
        // Either one ties.
        let flag = outer == true || inner == true ? true : outer ?? inner
        guard let flag, flag != decoder.tiedEmbeddings else { return }
        let text =
            "config.json says tie_word_embeddings \(flag); by the tensors the output projection is "
            + (decoder.tiedEmbeddings ? "the embedding table" : "a matrix of its own")
        // Transformers would start from a random matrix where none is stored.
        remarks.append(decoder.tiedEmbeddings && !storesOutput ? .changesAnswers(text) : .notice(text))
    }
}

/// The tokens that mean something to the program.
struct SpecialTokens {
    /// Ascending.
    var ends: [Int]
    var beginning: Int?
    /// Nil also for LLaVA's sentinel, a negative number.
    var image: Int?

    /// - Parameter rows: of the embedding table.
    /// - Throws: `CheckpointError.configurationContradictsTensors` for an id that no row belongs to.
    init(
        _ files: ConfigurationFiles, rows: Int, remarks: inout [CheckpointRemark]
    ) throws(CheckpointError) {
        ends = try Self.ends(files, rows: rows, remarks: &remarks)
        let reader = Self.first(
            files.hasTextSection ? [files.text, files.root] : [files.root], "bos_token_id")
        beginning = try reader.flatMap { (reader) throws(CheckpointError) in
            try Self.tokens(reader, "bos_token_id", rows: rows).first
        }
        // Nothing is padded here, but what is written there has to be an id.
        _ = try Self.tokens(files.text, "pad_token_id", rows: nil)
        image = try Self.image(files.root, rows: rows, remarks: &remarks)
    }

    private static let range = Int(Int32.min)...Int(Int32.max)

    private static func first(_ readers: [ConfigurationReader], _ key: String) -> ConfigurationReader? {
        readers.first { $0.ownValue(key) != nil }
    }

    /// generation_config.json decides where it gives the key, else config.json: the root, then `text_config`.
    ///
    /// Transformers stops nowhere when generation_config.json is there without the key; config.json's serves people
    /// better.
    private static func ends(
        _ files: ConfigurationFiles, rows: Int, remarks: inout [CheckpointRemark]
    ) throws(CheckpointError) -> [Int] {
        let key = "eos_token_id"
        var places = [files.generation, files.root].compactMap { $0 }
        if files.hasTextSection { places.append(files.text) }
        var found: [(place: ConfigurationReader, ids: Set<Int>)] = []
        for place in places where place.ownValue(key) != nil {
            let ids = Set(try tokens(place, key, rows: rows))
            if !ids.isEmpty { found.append((place, ids)) }
        }
        guard let (first, used) = found.first else {
            remarks.append(
                .changesAnswers("no file gives eos_token_id: answers end at the token limit only"))
            return []
        }
        for (place, ids) in found.dropFirst() where !ids.isSubset(of: used) {
            remarks.append(
                .changesAnswers(
                    "\(first.place(key)) is \(list(used)) and \(place.place(key)) has "
                        + "\(list(ids.subtracting(used))) as well; only \(list(used)) ends an answer, as in "
                        + "transformers"))
        }
        return used.sorted()
    }

    private static func image(
        _ root: ConfigurationReader, rows: Int, remarks: inout [CheckpointRemark]
    ) throws(CheckpointError) -> Int? {
        let newer = try root.integer("image_token_id", in: range)
        let older = try root.integer("image_token_index", in: range)
        guard let id = newer ?? older, id >= 0 else { return nil }
        let key = newer == nil ? "image_token_index" : "image_token_id"
        if let older, older != id {
            remarks.append(
                .notice("config.json image_token_id is \(id) and image_token_index \(older); \(id) is used"))
        }
        guard id < rows else { throw beyond(root, key, id, rows: rows) }
        return id
    }

    /// A token id or a list of them.
    private static func tokens(
        _ reader: ConfigurationReader, _ key: String, rows: Int?
    ) throws(CheckpointError) -> [Int] {
        let range = 0...DecoderConfiguration.vocabularyLimit
        let ids: [Int]
        if reader.value(key)?.elements != nil {
            ids = try reader.integers(key, in: range, limit: 256) ?? []
        } else if reader.value(key)?.integer == -1 {
            // Some configurations write -1 for "none".
            ids = []
        } else {
            ids = try reader.integer(key, in: range).map { [$0] } ?? []
        }
        if let rows, let id = ids.first(where: { $0 >= rows }) { throw beyond(reader, key, id, rows: rows) }
        return ids
    }

    private static func beyond(
        _ reader: ConfigurationReader, _ key: String, _ id: Int, rows: Int
    ) -> CheckpointError {
        reader.contradiction(
            key, configuration: "\(id)", tensors: "the embedding table has rows 0 to \(rows - 1)")
    }

    private static func list(_ ids: Set<Int>) -> String {
        ids.sorted().map(String.init).joined(separator: ", ")
    }
}
