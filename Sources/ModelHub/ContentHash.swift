internal import CCrypto

/// How the hub names the content of a file: Git's own hash of small ones, SHA-256 of those in Git LFS.
package enum ContentHash: Sendable, Hashable {
    /// SHA-1 of `blob <size>\0` and the content; 40 digits.
    case git(String)
    /// 64 digits.
    case sha256(String)

    /// The name of the file in the cache.
    package var digits: String {
        switch self {
        case .git(let digits), .sha256(let digits): digits
        }
    }

    /// - Returns: nil for what is neither 40 nor 64 hexadecimal digits.
    package init?(_ text: String) {
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }) else {
            return nil
        }
        switch text.utf8.count {
        case 40: self = .git(text)
        case 64: self = .sha256(text)
        default: return nil
        }
    }
}

/// Computes the hash of a file while its bytes come in.
final class ContentHasher {
    private let context: UnsafeMutableRawPointer
    private let kind: ContentHash

    /// - Parameters:
    ///   - kind: which hash; its digits do not matter
    ///   - size: of the whole file, which is part of Git's hash
    init(_ kind: ContentHash, size: Int) throws(HubError) {
        if let obstacle = ccrypto_prepare() {
            throw HubError(
                .storage, "cannot check what is downloaded: \(String(cString: obstacle)); install it")
        }
        self.kind = kind
        let made: UnsafeMutableRawPointer?
        switch kind {
        case .git: made = ccrypto_begin(ccrypto_sha1)
        case .sha256: made = ccrypto_begin(ccrypto_sha256)
        }
        guard let made else {
            throw HubError(.storage, "there is no memory for a hash; close other programs")
        }
        context = made
        if case .git = kind { Array("blob \(size)\0".utf8).withUnsafeBytes { add($0) } }
    }

    deinit { ccrypto_end(context) }

    func add(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
        _ = ccrypto_add(context, base, bytes.count)
    }

    /// The hash; no bytes may follow.
    func finish() -> ContentHash {
        var result = [UInt8](repeating: 0, count: 32)
        let count = result.withUnsafeMutableBufferPointer { ccrypto_finish(context, $0.baseAddress) }
        let digits = Array("0123456789abcdef".utf8)
        let text = String(
            decoding: result.prefix(count).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] },
            as: UTF8.self)
        if case .git = kind { return .git(text) }
        return .sha256(text)
    }
}
