internal import Checkpoints

/// How many visual tokens an image has, where the caller asks for others than the checkpoint's.
extension LoadOptions {
    /// The configuration with the tiles and the reduction of these options.
    /// - Throws: `FastVLMError` with the code `invalidOption`.
    func applyingVisualTokens(to configuration: ModelConfiguration) throws -> ModelConfiguration {
        var configuration = configuration
        if let tiles { try Self.cut(&configuration, into: tiles) }
        configuration.tokenReduction = try tokenReduction.map { try Self.checked($0, for: configuration) }
        return configuration
    }

    private static func cut(_ configuration: inout ModelConfiguration, into tiles: TileGrid) throws {
        func refusal(_ why: String) -> FastVLMError {
            FastVLMError(.invalidOption, "tiles of \(tiles): \(why)", option: "tiles")
        }
        guard configuration.preprocessing.tiling == .none else {
            throw refusal("this model cuts images into tiles by itself; leave the option out")
        }
        guard tiles.isPossible else {
            throw refusal("rows and columns must be 1 to \(TileGrid.limit), and more than one tile together")
        }
        let side = configuration.preprocessing.size
        guard let tiling = tiles.tiling(side: side) else {
            throw refusal(
                "so many of \(side)×\(side) pixels are too large a picture; choose fewer, or a smaller imageSize"
            )
        }
        configuration.preprocessing.tiling = tiling
    }

    private static func checked(
        _ reduction: TokenReduction, for configuration: ModelConfiguration
    ) throws -> TokenReduction {
        func refusal(_ why: String) -> FastVLMError {
            FastVLMError(.invalidOption, why, option: "tokenReduction")
        }
        let tokens = reduction.tokens
        guard tokens > 0 else {
            throw refusal("the tokens of tokenReduction must be at least 1, got \(tokens)")
        }
        guard reduction.method == .average else { return reduction }
        let instead = "choose merge:\(tokens) or select:\(tokens)"
        guard configuration.preprocessing.tiling == .none else {
            throw refusal(
                "\(reduction) is for images that are encoded as a whole, and this model cuts them into tiles; \(instead)"
            )
        }
        guard reduction.side != nil else {
            throw refusal("\(reduction) gives no square, \(tokens) is no square number; \(instead)")
        }
        let side = configuration.tokensPerSide
        guard side * side == configuration.visualTokens else {
            throw refusal(
                "\(reduction) is for square maps, and this model's has \(configuration.visualTokens) tokens; \(instead)"
            )
        }
        return reduction
    }
}
