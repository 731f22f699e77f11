extension LoadOptions: Codable {
    private enum CodingKeys: String, CodingKey, CaseIterable {
        case precision, threads, imageSize, geometry, tiles, tokenReduction, adapters, template, contextLength
        case appliesOrientation, background, usesReferenceDepth, allowsTruncatedImages, ignoresColorProfiles,
            maximumPixels
        case maximumSide, maximumFileBytes, maximumImageBytes, imageFormats, rememberedImages
        case rememberedImageBytes, keyValueBytes, maximumRunning, prefersThroughput
        case maximumWaiting, requestBytes
    }

    /// Reads what ``encode(to:)`` writes, or a part of it: missing options keep their defaults. What is not data
    /// (`logger`, `metrics`, `progress`, `expectedImages`) is neither written nor read.
    ///
    /// ```swift
    /// let json = Data(#"{"precision": "int8", "imageFormats": ["jpeg"], "background": "drop"}"#.utf8)
    /// let options = try JSONDecoder().decode(LoadOptions.self, from: json)
    /// ```
    /// - Throws: `DecodingError` for a key that is no option, and for values of the wrong type. Whether they are within
    ///   their ranges is checked when a model is loaded with them.
    public init(from decoder: any Decoder) throws {
        self.init()
        let reader = try OptionReader(decoder, CodingKeys.self)
        try reader.read(.precision, into: &precision)
        try reader.read(.threads, into: &threads)
        try reader.read(.imageSize, into: &imageSize)
        try reader.read(.geometry, into: &geometry)
        try reader.read(.tiles, into: &tiles)
        try reader.read(.tokenReduction, into: &tokenReduction)
        try reader.read(.adapters, into: &adapters)
        try reader.read(.template, into: &template)
        try reader.read(.contextLength, into: &contextLength)
        try reader.read(.appliesOrientation, into: &appliesOrientation)
        try reader.read(.background, into: &background)
        try reader.read(.usesReferenceDepth, into: &usesReferenceDepth)
        try reader.read(.allowsTruncatedImages, into: &allowsTruncatedImages)
        try reader.read(.ignoresColorProfiles, into: &ignoresColorProfiles)
        try reader.read(.maximumPixels, into: &maximumPixels)
        try reader.read(.maximumSide, into: &maximumSide)
        try reader.read(.maximumFileBytes, into: &maximumFileBytes)
        try reader.read(.maximumImageBytes, into: &maximumImageBytes)
        try reader.read(.imageFormats, into: &imageFormats)
        try reader.read(.rememberedImages, into: &rememberedImages)
        try reader.read(.rememberedImageBytes, into: &rememberedImageBytes)
        try reader.read(.keyValueBytes, into: &keyValueBytes)
        try reader.read(.maximumRunning, into: &maximumRunning)
        try reader.read(.prefersThroughput, into: &prefersThroughput)
        try reader.read(.maximumWaiting, into: &maximumWaiting)
        try reader.read(.requestBytes, into: &requestBytes)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(precision, forKey: .precision)
        try container.encodeIfPresent(threads, forKey: .threads)
        try container.encodeIfPresent(imageSize, forKey: .imageSize)
        try container.encodeIfPresent(geometry, forKey: .geometry)
        try container.encodeIfPresent(tiles, forKey: .tiles)
        try container.encodeIfPresent(tokenReduction, forKey: .tokenReduction)
        try container.encode(adapters, forKey: .adapters)
        try container.encodeIfPresent(template, forKey: .template)
        try container.encodeIfPresent(contextLength, forKey: .contextLength)
        try container.encode(appliesOrientation, forKey: .appliesOrientation)
        try container.encode(background, forKey: .background)
        try container.encode(usesReferenceDepth, forKey: .usesReferenceDepth)
        try container.encode(allowsTruncatedImages, forKey: .allowsTruncatedImages)
        try container.encode(ignoresColorProfiles, forKey: .ignoresColorProfiles)
        try container.encode(maximumPixels, forKey: .maximumPixels)
        try container.encode(maximumSide, forKey: .maximumSide)
        try container.encode(maximumFileBytes, forKey: .maximumFileBytes)
        try container.encode(maximumImageBytes, forKey: .maximumImageBytes)
        try container.encode(imageFormats.sorted { $0.rawValue < $1.rawValue }, forKey: .imageFormats)
        try container.encode(rememberedImages, forKey: .rememberedImages)
        try container.encode(rememberedImageBytes, forKey: .rememberedImageBytes)
        try container.encode(keyValueBytes, forKey: .keyValueBytes)
        try container.encode(maximumRunning, forKey: .maximumRunning)
        try container.encode(prefersThroughput, forKey: .prefersThroughput)
        try container.encode(maximumWaiting, forKey: .maximumWaiting)
        try container.encode(requestBytes, forKey: .requestBytes)
    }
}

extension ImageBackground: Codable {
    /// Reads `"white"`, `"black"`, `"drop"` or `"#rrggbb"`.
    /// - Throws: `DecodingError` for anything else.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let background = ImageBackground(text) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "\"\(text)\" is none of white, black, drop and #rrggbb")
        }
        self = background
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
