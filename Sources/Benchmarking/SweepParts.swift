internal import Checkpoints

/// What turns an image into visual tokens in a sweep: a tower of published dimensions, and how an image is cut for it.
package enum SweepTower: String, Sendable, CaseIterable {
    /// FastVLM's, the image as a whole.
    case fastViTHD = "fastvithd"
    /// The same with 2×2 tiles of half the image's side, and the whole at that side before them (the paper's 2048 rows).
    case fastViTHDTiles = "fastvithd-2x2"
    /// LLaVA-1.5's, at its only size.
    case clip = "clip-l-336"
    /// The same with LLaVA-NeXT's tiles.
    case clipTiles = "clip-l-336-tiles"
    /// At its only size.
    case siglip = "siglip-so400m-384"
    /// The same with LLaVA-OneVision's tiles.
    case siglipTiles = "siglip-so400m-384-tiles"

    /// The sides of square images that it takes of those that were asked for, ascending; a tower of one size has that one
    /// alone, whatever was asked for.
    package func sides(of asked: [Int]) -> [Int] {
        let sides = Set(asked).sorted()
        return switch self {
        case .fastViTHD: sides.filter { $0.isMultiple(of: 64) }
        case .fastViTHDTiles: sides.filter { $0.isMultiple(of: 128) }
        case .clip: [336]
        case .siglip: [384]
        case .clipTiles, .siglipTiles: sides
        }
    }

    /// - Parameter side: pixels of the image, one of ``sides(of:)``
    func preprocessing(side: Int) -> ImagePreprocessing {
        switch self {
        case .fastViTHD: ImagePreprocessing(geometry: .pad, size: side)
        case .fastViTHDTiles:
            ImagePreprocessing(
                geometry: .pad, size: side / 2,
                tiling: .anyResolution(
                    AnyResolution(
                        canvases: [.init(height: side, width: side)], mostTiles: nil, merge: .tiles)))
        case .clip: ImagePreprocessing(geometry: .pad, size: 336)
        case .clipTiles: ImagePreprocessing(geometry: .pad, size: 336, tiling: .anyResolution(.next))
        case .siglip: ImagePreprocessing(geometry: .pad, size: 384)
        case .siglipTiles:
            ImagePreprocessing(geometry: .pad, size: 384, tiling: .anyResolution(.oneVision))
        }
    }

    var vision: VisionConfiguration {
        switch self {
        case .fastViTHD, .fastViTHDTiles: SyntheticModel.half.configuration.vision
        case .clip, .clipTiles: .visionTransformer(.clipLarge336)
        case .siglip, .siglipTiles: .visionTransformer(.siglipSO400M384)
        }
    }
}

/// What reads the visual tokens in a sweep, of published dimensions.
package enum SweepDecoder: String, Sendable, CaseIterable {
    case half = "0.5b"
    case oneAndAHalf = "1.5b"
    case seven = "7b"
    /// LLaVA-1.5's, with a key and a value for every query head.
    case vicuna = "vicuna-7b"

    var text: DecoderConfiguration {
        switch self {
        case .half: SyntheticModel.half.configuration.text
        case .oneAndAHalf: SyntheticModel.oneAndAHalf.configuration.text
        case .seven: SyntheticModel.seven.configuration.text
        case .vicuna: ComparedSystem.vicuna
        }
    }
}
