/// What a position of a sequence holds: a token, or a part of an image. Equal beginnings of two sequences have equal keys.
package struct PositionKey: Sendable, Hashable {
    private let bits: UInt64

    private static let imageBit: UInt64 = 1 << 63
    /// Most visual tokens of an image.
    package static let largestImage = 1 << 20

    package static func token(_ id: Int) -> PositionKey {
        PositionKey(bits: UInt64(UInt32(truncatingIfNeeded: id)))
    }

    /// - Parameters:
    ///   - identity: of the image, at least 0 and below 2^43
    ///   - index: of its visual token, below ``largestImage``
    package static func image(_ identity: Int, _ index: Int) -> PositionKey {
        PositionKey(
            bits: imageBit | UInt64(truncatingIfNeeded: identity) << 20 | UInt64(truncatingIfNeeded: index))
    }

    /// The token's id; nil for a part of an image.
    package var tokenID: Int? { bits & Self.imageBit == 0 ? Int(bits) : nil }

    /// The image's identity and which of its visual tokens this is; nil for a token.
    package var imagePart: (identity: Int, index: Int)? {
        guard bits & Self.imageBit != 0 else { return nil }
        return (Int(bits & ~Self.imageBit) >> 20, Int(bits & UInt64(Self.largestImage - 1)))
    }
}
