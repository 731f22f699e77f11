/// The normalisation steps of a tokenizer, on UTF-8.
struct TextNormalizer: Sendable {
    private let steps: [TokenizerDefinition.Normalizer]

    init(_ steps: [TokenizerDefinition.Normalizer]) { self.steps = steps }

    /// - Parameter bytes: valid UTF-8.
    /// - Returns: the normalised text, or nil when it is the same.
    func normalized(_ bytes: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        var current: [UInt8]?
        for step in steps {
            let changed: [UInt8]?
            if let current {
                changed = current.withUnsafeBufferPointer { Self.apply(step, $0) }
            } else {
                changed = Self.apply(step, bytes)
            }
            if let changed { current = changed }
        }
        return current
    }

    func normalized(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBufferPointer { normalized($0) } ?? bytes
    }

    private static func apply(
        _ step: TokenizerDefinition.Normalizer, _ bytes: UnsafeBufferPointer<UInt8>
    ) -> [UInt8]? {
        switch step {
        case .nfc:
            CanonicalComposition.mayChange(bytes, properties: .shared)
                ? CanonicalComposition.normalize(bytes) : nil
        case .prepend(let prefix): bytes.isEmpty ? nil : Array(prefix.utf8) + bytes
        case .replace(let pattern, let replacement):
            replace(Array(pattern.utf8), with: Array(replacement.utf8), in: bytes)
        }
    }

    /// Replaces each occurrence of a non-empty pattern, from the left, without overlap.
    static func replace(
        _ pattern: [UInt8], with replacement: [UInt8], in bytes: UnsafeBufferPointer<UInt8>
    ) -> [UInt8]? {
        guard bytes.contains(pattern[0]) else { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count + bytes.count / 4)
        var position = 0
        while position < bytes.count {
            if bytes[position] == pattern[0], bytes[position...].starts(with: pattern) {
                result.append(contentsOf: replacement)
                position += pattern.count
            } else {
                result.append(bytes[position])
                position += 1
            }
        }
        return result
    }
}
