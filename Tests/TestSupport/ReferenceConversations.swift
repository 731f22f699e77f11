internal import Foundation

/// What transformers answers about drawn images with a small model, as the scripts of Tools/reference write it for models
/// that cut images into tiles or have a vision transformer.
public struct ReferenceConversations: Decodable, Sendable {
    public struct Image: Decodable, Sendable {
        public let height: Int
        public let width: Int
        /// Visual tokens of the image when it is the only one.
        public let tokens: Int
    }

    public struct Case: Decodable, Sendable {
        public let images: [Int]
        /// Ids before, between and behind the images.
        public let chunks: [[Int]]
        /// Visual tokens of each image.
        public let tokens: [Int]
        public let greedy: [Int]

        /// The whole prompt, with a placeholder for each visual token.
        public func ids(_ placeholder: Int) -> [Int] {
            zip(tokens, chunks.dropFirst()).reduce(chunks[0]) {
                $0 + Array(repeating: placeholder, count: $1.0) + $1.1
            }
        }
    }

    public let imageTokenId: Int
    public let images: [Image]
    public let cases: [Case]

    /// - Parameter fixture: path below Tests/Fixtures
    public init(_ fixture: String) throws {
        self = try JSONDecoder().decode(Self.self, from: Fixture.data(fixture))
    }

    /// The levels of the image with this number, [height, width, 3].
    public func pixels(_ index: Int) -> [UInt8] {
        Self.pixels(index, height: images[index].height, width: images[index].width)
    }

    /// The picture that the scripts draw with a number, in any size: [height, width, 3].
    public static func pixels(_ index: Int, height: Int, width: Int) -> [UInt8] {
        var pixels: [UInt8] = []
        for y in 0..<height {
            for x in 0..<width {
                let base = 37 * (x / 3) + 61 * (y / 3) + 113 * index + 17 * (x / 3) * (y / 3)
                pixels += (0..<3).map { UInt8((base + 89 * $0) % 256) }
            }
        }
        return pixels
    }
}
