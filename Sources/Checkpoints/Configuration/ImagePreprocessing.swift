/// How a picture of any shape becomes the square that the encoder takes.
///
/// ```swift
/// var options = LoadOptions()
/// options.geometry = .crop
/// ```
public enum ImageGeometry: String, Sendable, Hashable, CaseIterable, Codable {
    /// Centred on a square of the mean colour, black in the published models: nothing is lost (Apple's script).
    case pad
    /// Shortest side to the model's resolution, then the centre (Hugging Face's processor).
    case crop
}

/// How a checkpoint wants an image turned into the numbers that its vision tower takes: what the image processors of
/// the reference call their configuration.
package struct ImagePreprocessing: Sendable, Equatable {
    /// How pixels are interpolated, always in 8 bits.
    package enum Resampling: Sendable, Equatable {
        /// As Pillow does it.
        case bicubic
    }

    /// Into how many pictures an image is cut, each encoded on its own.
    package enum Tiling: Sendable, Equatable {
        /// One picture, the whole image.
        case none
        /// The whole image, then tiles of it; for some models only where it is the only image of its conversation, while
        /// several are one picture each, padded to a square.
        case anyResolution(AnyResolution)
    }

    package var geometry: ImageGeometry
    /// Pixels per side of the square that the encoder sees.
    package var size: Int
    /// Per channel (RGB), subtracted from pixels in 0…1.
    package var mean: [Float]
    /// Per channel (RGB), divided by.
    package var standardDeviation: [Float]
    package var resampling: Resampling
    package var tiling: Tiling

    package init(
        geometry: ImageGeometry, size: Int, mean: [Float] = [0, 0, 0],
        standardDeviation: [Float] = [1, 1, 1], resampling: Resampling = .bicubic, tiling: Tiling = .none
    ) {
        self.geometry = geometry
        self.size = size
        self.mean = mean
        self.standardDeviation = standardDeviation
        self.resampling = resampling
        self.tiling = tiling
    }

    /// How an image of a size is cut where images are cut; nil where they are not.
    package func arrangement(height: Int, width: Int) -> TileArrangement? {
        guard case .anyResolution(let tiling) = tiling else { return nil }
        return tiling.arrangement(of: .init(height: height, width: width), tile: size)
    }
}
