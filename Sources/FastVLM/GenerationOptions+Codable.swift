extension GenerationOptions: Codable {
    private enum CodingKeys: String, CodingKey, CaseIterable {
        case temperature, topK, topP, minP, repetitionPenalty, frequencyPenalty, presencePenalty, logitBias
        case seed, maximumTokens, format, stop, stopIDs
        case timeLimit, priority, logProbabilities, system, placesImages, imageSize, requestID
    }

    /// Reads what ``encode(to:)`` writes, or a part of it: missing options keep their defaults.
    ///
    /// ```swift
    /// let json = Data(#"{"temperature": 0.2, "maximumTokens": 64}"#.utf8)
    /// let options = try JSONDecoder().decode(GenerationOptions.self, from: json)
    /// ```
    /// `timeLimit` is in seconds.
    /// - Throws: `DecodingError` for a key that is no option, and for values of the wrong type. Whether they are within
    ///   their ranges is checked when a question is asked with them.
    public init(from decoder: any Decoder) throws {
        self.init()
        let reader = try OptionReader(decoder, CodingKeys.self)
        try reader.read(.temperature, into: &temperature)
        try reader.read(.topK, into: &topK)
        try reader.read(.topP, into: &topP)
        try reader.read(.minP, into: &minP)
        try reader.read(.repetitionPenalty, into: &repetitionPenalty)
        try reader.read(.frequencyPenalty, into: &frequencyPenalty)
        try reader.read(.presencePenalty, into: &presencePenalty)
        try reader.read(.logitBias, into: &logitBias)
        try reader.read(.seed, into: &seed)
        try reader.read(.maximumTokens, into: &maximumTokens)
        try reader.read(.format, into: &format)
        try reader.read(.stop, into: &stop)
        try reader.read(.stopIDs, into: &stopIDs)
        var seconds: Double?
        try reader.read(.timeLimit, into: &seconds)
        if let seconds {
            guard seconds.isFinite else {
                throw DecodingError.dataCorrupted(
                    .init(codingPath: decoder.codingPath, debugDescription: "timeLimit is not a number"))
            }
            timeLimit = .seconds(min(max(seconds, 0), Double(Self.longestTimeLimit)))
        }
        try reader.read(.priority, into: &priority)
        try reader.read(.logProbabilities, into: &logProbabilities)
        try reader.read(.system, into: &system)
        try reader.read(.placesImages, into: &placesImages)
        try reader.read(.imageSize, into: &imageSize)
        try reader.read(.requestID, into: &requestID)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(temperature, forKey: .temperature)
        try container.encode(topK, forKey: .topK)
        try container.encode(topP, forKey: .topP)
        try container.encode(minP, forKey: .minP)
        try container.encode(repetitionPenalty, forKey: .repetitionPenalty)
        try container.encode(frequencyPenalty, forKey: .frequencyPenalty)
        try container.encode(presencePenalty, forKey: .presencePenalty)
        try container.encode(logitBias, forKey: .logitBias)
        try container.encodeIfPresent(seed, forKey: .seed)
        try container.encode(maximumTokens, forKey: .maximumTokens)
        try container.encodeIfPresent(format, forKey: .format)
        try container.encode(stop, forKey: .stop)
        try container.encode(stopIDs.sorted(), forKey: .stopIDs)
        try container.encodeIfPresent(timeLimit.map { Self.possible($0).seconds }, forKey: .timeLimit)
        try container.encode(priority, forKey: .priority)
        try container.encodeIfPresent(logProbabilities, forKey: .logProbabilities)
        try container.encodeIfPresent(system, forKey: .system)
        try container.encode(placesImages, forKey: .placesImages)
        try container.encodeIfPresent(imageSize, forKey: .imageSize)
        try container.encodeIfPresent(requestID, forKey: .requestID)
    }
}
