internal import StrictJSON
internal import Tensors

/// What configuration files say about images: side, geometry, normalisation. All optional in one layout or
/// other.
extension ImagePreprocessing {
    /// FastVLM's published side, where no file names one.
    static let usualSize = 1024

    /// - Parameters:
    ///   - root: config.json.
    ///   - processor: the image processor's part of processor_config.json, or preprocessor_config.json.
    ///   - other: the second of the two files, where both have an image processor.
    ///   - remarks: gets a line where values disagree or are assumed.
    init(
        root: ConfigurationReader, processor: ConfigurationReader?, other: ConfigurationReader?,
        isHuggingFace: Bool, vision: VisionConfiguration, remarks: inout [CheckpointRemark]
    ) throws(CheckpointError) {
        if let processor { try Self.refuseUnsupported(processor) }
        let isTiled = try Self.isTiled(root)
        self.init(
            geometry: isTiled
                ? .pad : try Self.geometry(root, processor: processor, isHuggingFace: isHuggingFace),
            size: Self.usualSize)
        if case .visionTransformer(let tower) = vision {
            // Where no file says it, as the published processors of the two families do it.
            (mean, standardDeviation) = tower.usualNormalisation
        }
        if let processor, try processor.bool("do_normalize") == false {
            (mean, standardDeviation) = ([0, 0, 0], [1, 1, 1])
        } else if let processor {
            mean = try Self.channels(processor, "image_mean", in: -16...16) ?? mean
            standardDeviation = try Self.channels(processor, "image_std", in: 1e-6...256) ?? standardDeviation
        }
        if let processor, let other { Self.compare(processor, other, remarks: &remarks) }
        let candidates = try Self.sides(root: root, processor: processor)
        if let first = candidates.first {
            size = first.side
            for other in candidates.dropFirst() where other.side != first.side {
                remarks.append(
                    .changesAnswers(
                        "\(first.source) says images of \(first.side), \(other.source) \(other.side); "
                            + "\(first.side) is used"))
            }
        } else if case .only(let side) = vision.sides {
            size = side
        } else {
            remarks.append(.changesAnswers("no file gives the image side; assuming \(size)"))
        }
        guard vision.sides.contain(size) else {
            throw root.unsupported(
                candidates.first?.source ?? "image size", expected: vision.sides.description, got: "\(size)")
        }
        if isTiled {
            tiling = .anyResolution(try AnyResolution(root: root, processor: processor, tile: size))
        }
    }

    /// Whether an image is cut into tiles: LLaVA-NeXT's `anyres`, LLaVA-OneVision's `anyres_max_N`.
    static func isTiled(_ root: ConfigurationReader) throws(CheckpointError) -> Bool {
        if ["llava_onevision", "llava_next"].contains(try root.string("model_type")) { return true }
        let ratio = try root.string("image_aspect_ratio") ?? ""
        if ratio == AnyResolution.name { return true }
        let tower = try root.string("mm_vision_tower")?.lowercased() ?? ""
        return ratio.hasPrefix(AnyResolution.reducingPrefix) && tower.contains("siglip")
    }

    /// Keys that decide what the encoder sees.
    private static let comparedKeys = [
        "crop_size", "do_center_crop", "do_normalize", "image_mean", "image_std", "size", "do_pad",
    ]

    private static func compare(
        _ used: ConfigurationReader, _ other: ConfigurationReader, remarks: inout [CheckpointRemark]
    ) {
        for key in comparedKeys {
            let absent: JSONValue? = ["do_center_crop", "do_normalize"].contains(key) ? .bool(true) : nil
            guard let first = used.value(key) ?? absent, let second = other.value(key) ?? absent,
                first != second
            else {
                continue
            }
            remarks.append(
                .changesAnswers(
                    "\(used.place(key)) and \(other.place(key)) disagree; \(used.file) is used, as in "
                        + "transformers"))
        }
    }

    private static func refuseUnsupported(_ processor: ConfigurationReader) throws(CheckpointError) {
        try processor.require("do_resize", is: .bool(true))
        try processor.require("do_rescale", is: .bool(true))
        // Pillow's number for bicubic.
        try processor.require("resample", is: .integer(3))
        try processor.require("aspect_ratio_setting", isOneOf: ["anyres"])
        if let factor = try processor.double("rescale_factor", in: 0...1), abs(factor * 255 - 1) > 1e-6 {
            throw processor.unsupported("rescale_factor", expected: "1/255", got: "\(factor)")
        }
    }

    /// `image_aspect_ratio`: "pad" pads, other known values and null crop, as LLaVA's `process_images` does.
    /// Where the key is absent, LLaVA's image processor pads when told to; else Hugging Face's layout crops and
    /// the others pad.
    private static func geometry(
        _ root: ConfigurationReader, processor: ConfigurationReader?, isHuggingFace: Bool
    ) throws(CheckpointError) -> ImageGeometry {
        if let processor, try processor.bool("do_pad") == true {
            let kind = try processor.string("image_processor_type") ?? "unnamed processor"
            guard kind.hasPrefix("LlavaImageProcessor") || kind.hasPrefix("LlavaOnevisionImageProcessor")
            else {
                throw processor.unsupported("do_pad", expected: "LlavaImageProcessor's padding", got: kind)
            }
            if !root.has("image_aspect_ratio") { return .pad }
        }
        guard root.has("image_aspect_ratio") else { return isHuggingFace ? .crop : .pad }
        guard let ratio = try root.string("image_aspect_ratio") else { return .crop }
        switch ratio {
        case "pad": return .pad
        case "square", "crop": return .crop
        default: throw root.unsupported("image_aspect_ratio", expected: "pad or square", got: ratio)
        }
    }

    private static func channels(
        _ processor: ConfigurationReader, _ key: String, in range: ClosedRange<Double>
    ) throws(CheckpointError) -> [Float]? {
        // One number stands for all three.
        if processor.value(key)?.double != nil {
            return try processor.double(key, in: range).map { [Float($0), Float($0), Float($0)] }
        }
        guard let values = try processor.doubles(key, in: range, limit: 3) else { return nil }
        guard values.count == 3 else {
            throw processor.invalid(key, expected: "three numbers", got: "\(values.count)")
        }
        return values.map { Float($0) }
    }

    /// Every place that names the side, most trusted first: the processor's crop, the processor's size, the
    /// tower's name, the vision configuration.
    private static func sides(
        root: ConfigurationReader, processor: ConfigurationReader?
    ) throws(CheckpointError) -> [(side: Int, source: String)] {
        var sides: [(Int, String)] = []
        if let processor {
            let crops = try processor.bool("do_center_crop") ?? true
            for key in crops ? ["crop_size", "size"] : ["size"] {
                if let side = try square(processor, key) { sides.append((side, "\(processor.file) \(key)")) }
            }
        }
        if let tower = try root.string("mm_vision_tower"),
            let number = tower.split(separator: "_", omittingEmptySubsequences: false).last,
            let side = Int(number)
        {
            guard 1...ModelConfiguration.largestImageSide ~= side else {
                throw root.invalid(
                    "mm_vision_tower",
                    expected: "a side up to \(ModelConfiguration.largestImageSide) at its end",
                    got: tower)
            }
            sides.append((side, "config.json mm_vision_tower"))
        }
        if let vision = try root.section("vision_config"), let side = try square(vision, "image_size") {
            sides.append((side, "config.json vision_config.image_size"))
        }
        return sides
    }

    /// A side given as a number, as `{"shortest_edge": n}` or as equal height and width.
    private static func square(_ reader: ConfigurationReader, _ key: String) throws(CheckpointError) -> Int? {
        let range = 1...ModelConfiguration.largestImageSide
        guard let value = reader.value(key) else { return nil }
        if value.integer != nil { return try reader.integer(key, in: range) }
        if let elements = try? reader.integers(key, in: range, limit: 3), elements.count >= 2,
            elements[elements.count - 1] == elements[elements.count - 2]
        {
            return elements[elements.count - 1]
        }
        guard let section = try reader.section(key) else { return nil }
        if let edge = try section.integer("shortest_edge", in: range) { return edge }
        guard let height = try section.integer("height", in: range),
            let width = try section.integer("width", in: range)
        else { throw reader.invalid(key, expected: "shortest_edge, or height and width", got: value.summary) }
        guard height == width else {
            throw reader.unsupported(key, expected: "a square", got: "\(width)×\(height)")
        }
        return height
    }
}
