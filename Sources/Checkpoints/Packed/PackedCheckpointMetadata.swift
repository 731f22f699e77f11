internal import Tensors

/// What the file of a packed checkpoint says about itself, in the `__metadata__` of its header.
///
/// Tensors have the names and shapes of this package's own vocabulary (``SourceNames``) behind a prefix. Those with
/// an entry in the metadata are bytes, `PanelLayout.byteCount` of them: integer weights packed for the kernels of
/// `panel_width`, `weight_limit` and `weight_zero` (`CKernels/include/fv_quantised.h` draws the layout). Others are
/// what they are in any safetensors file. The `gate` and `up` matrices of a network stand together as `gate_up`.
///
/// ```
/// "format": "fastvlm-packed", "version": "1", "precision": "int4", "panel_width": "16", "weight_limit": "127",
/// "weight_zero": "128",
/// "fastvlm.decoder.layers.0.attention.query.weight": "bits=4 group=64 minima=0 rotated=1 shape=896x896"
/// ```
struct PackedCheckpointMetadata: Sendable {
    static let namePrefix = "fastvlm."
    static let format = "fastvlm-packed"
    static let version = "1"
    private static let pair = ".gate_up.weight"
    private static let layerPrefix = "decoder.layers."

    let precision: Precision
    private let panelWidth: Int
    private let weightLimit: Int
    private let weightZero: Int
    /// Per tensor that is packed.
    private let descriptions: [String: String]
    private let decoderLayers: Int

    /// - Returns: nil for a checkpoint of another kind.
    /// - Throws: `CheckpointError.invalidPackedWeights`.
    init?(_ catalog: TensorCatalog) throws(CheckpointError) {
        guard let file = catalog.files.first(where: { $0.metadata["format"] == Self.format }) else {
            return nil
        }
        func invalid(_ reason: String) -> CheckpointError {
            .invalidPackedWeights(file: file.name, tensor: "__metadata__", reason: reason)
        }
        guard catalog.files.count == 1 else { throw invalid("packed weights in more than one file") }
        let metadata = file.metadata
        guard metadata["version"] == Self.version else {
            throw invalid(
                "version \(metadata["version"] ?? "none") of packed weights, expected \(Self.version)")
        }
        guard let precision = metadata["precision"].flatMap(Precision.init(rawValue:)),
            let width = metadata["panel_width"].flatMap({ Int($0) }),
            let limit = metadata["weight_limit"].flatMap({ Int($0) }),
            let zero = metadata["weight_zero"].flatMap({ Int($0) })
        else {
            throw invalid(
                "precision, panel_width, weight_limit or weight_zero is missing or not what it should be")
        }
        guard precision == .int8 || precision == .int4 else {
            throw invalid("precision is \(precision.rawValue), but packed weights are int8 or int4")
        }
        guard [8, 16, 32, 64].contains(width) else { throw invalid("panel_width is \(width)") }
        guard PanelLayout.weightLimits[limit] != nil, zero == 0 || zero == limit + 1 else {
            throw invalid("weight_limit \(limit) and weight_zero \(zero) contradict each other")
        }
        self.precision = precision
        panelWidth = width
        weightLimit = limit
        weightZero = zero
        descriptions = metadata
        decoderLayers = SourceNames.count(below: Self.namePrefix + Self.layerPrefix, in: metadata.keys)
        for (name, text) in metadata.sorted(by: { $0.key < $1.key }) where name.hasPrefix(Self.namePrefix) {
            guard catalog.tensors[name] != nil else {
                throw invalid("\(name) is described as \"\(text)\", but there is no such tensor")
            }
        }
    }

    /// The metadata of a packed tensor.
    /// - Parameter error: what rounding changes of its products, as a share of their size
    static func description(_ layout: PanelLayout, shape: [Int], error: Double?) -> String {
        "bits=\(layout.format.bits) group=\(layout.format.group ?? 0) minima=\(layout.hasMinima ? 1 : 0) "
            + "rotated=\(layout.isRotated ? 1 : 0) "
            + "shape=\(shape.map(String.init).joined(separator: "x"))"
            + (error.map { " error=\(Double(Int($0 * 1e6)) / 1e6)" } ?? "")
    }

    var packing: CheckpointInspection.Packing {
        var errors: [String: Double] = [:]
        for (name, text) in descriptions where name.hasPrefix(Self.namePrefix) {
            for field in text.split(separator: " ") where field.hasPrefix("error=") {
                errors[String(name.dropFirst(Self.namePrefix.count))] = Double(
                    field.dropFirst("error=".count))
            }
        }
        return .init(bitsOfInt8: PanelLayout.weightLimits[weightLimit] ?? 0, errors: errors)
    }

    /// The metadata of a file.
    static func header(_ precision: Precision, _ layout: PanelLayout) -> [String: String] {
        [
            "format": format, "version": version, "precision": precision.rawValue,
            "panel_width": "\(layout.panelWidth)", "weight_limit": "\(layout.weightLimit)",
            "weight_zero": "\(layout.weightZero)",
        ]
    }

    /// The name under which a gated pair is stored, by the source name of its first matrix.
    static func pairName(gate: String) -> String {
        String(gate.dropLast(".gate.weight".count)) + pair
    }

    /// The weights that a stored tensor holds, by source name.
    /// - Throws: `CheckpointError.invalidPackedWeights` when metadata and bytes do not agree.
    func unfold(_ name: String, _ stored: StoredTensor) throws(CheckpointError) -> [(String, StoredTensor)] {
        guard let text = descriptions[stored.name] else { return [(name, stored)] }
        func invalid(_ reason: String) -> CheckpointError {
            .invalidPackedWeights(file: stored.file, tensor: stored.name, reason: reason)
        }
        var fields: [Substring: Substring] = [:]
        for field in text.split(separator: " ") {
            let parts = field.split(separator: "=", maxSplits: 1)
            guard parts.count == 2,
                ["bits", "group", "minima", "rotated", "shape", "error"].contains(parts[0])
            else {
                throw invalid("\"\(field)\" in \"\(text)\" means nothing")
            }
            if let other = fields.updateValue(parts[1], forKey: parts[0]), other != parts[1] {
                throw invalid(
                    "\(parts[0])=\(other) and \(parts[0])=\(parts[1]) contradict each other in \"\(text)\"")
            }
        }
        // An int4 checkpoint has 8 bits in some places, but most of its decoder's layers are what it is named after.
        if precision == .int4, fields["bits"] == "8",
            let layer = SourceNames.index(below: Self.layerPrefix, in: name),
            !Precision.keepsEightBits(layer: layer, of: decoderLayers),
            !name.hasSuffix("attention.key.weight"), !name.hasSuffix("attention.value.weight")
        {
            throw invalid("bits=8 in \"\(text)\" contradicts the file's precision int4")
        }
        guard fields["minima"] == "0" || fields["minima"] == "1" else {
            throw invalid("minima is \(fields["minima"] ?? "missing") in \"\(text)\", expected 0 or 1")
        }
        // Files of before there was such a thing say nothing of it.
        guard [nil, "0", "1"].contains(fields["rotated"]) else {
            throw invalid("rotated is \(fields["rotated"] ?? "") in \"\(text)\", expected 0 or 1")
        }
        let shape = (fields["shape"] ?? "").split(separator: "x").map { Int($0) ?? 0 }
        let isPair = name.hasSuffix(Self.pair)
        guard let group = fields["group"].flatMap({ Int($0) }), shape.count == 2 || shape.count == 4,
            shape.dropFirst(2).allSatisfy({ $0 == 1 }), fields["bits"] == "4" || fields["bits"] == "8",
            let layout = PanelLayout(
                outputs: shape[0], inputs: shape[1], isGated: isPair,
                format: fields["bits"] == "4" ? .int4(group: group) : .int8(group: group),
                hasMinima: fields["minima"] == "1", isRotated: fields["rotated"] == "1",
                panelWidth: panelWidth, weightLimit: weightLimit, weightZero: weightZero)
        else { throw invalid("cannot be packed as \"\(text)\"") }
        guard stored.dataType == .uint8, stored.byteCount == layout.byteCount else {
            throw invalid(
                "\"\(text)\" takes \(layout.byteCount) bytes, the file has \(stored.byteCount) of "
                    + stored.dataType.rawValue)
        }
        func part(isSecond: Bool) -> StoredTensor {
            StoredTensor(
                name: stored.name, file: stored.file, fileIndex: stored.fileIndex, dataType: .float32,
                shape: shape, byteOffset: stored.byteOffset, byteCount: stored.byteCount,
                packing: .init(layout: layout, isSecond: isSecond))
        }
        guard isPair else { return [(name, part(isSecond: false))] }
        let module = name.dropLast(Self.pair.count)
        return [
            ("\(module).gate.weight", part(isSecond: false)), ("\(module).up.weight", part(isSecond: true)),
        ]
    }
}
