internal import Foundation
internal import Models
internal import Synchronization
internal import Tensors

/// Visual tokens of the images encoded last, so that another question about one of them needs no encoder.
///
/// Images are distinguished by the bytes of their files, all of them: a digest of an untrusted file could be made to
/// collide. Only what was encoded is remembered, so files that are no images push nothing out.
final class ImageMemory: Sendable {
    /// An image that was encoded.
    struct Known: Sendable {
        /// Differs for different bytes.
        let identity: Int
        /// [tokens, hidden size].
        let tokens: Tensor
        /// What is worth telling about the file.
        let remarks: [String]
    }

    private struct Entry: Sendable {
        let bytes: Data
        let known: Known

        var byteCount: Int { bytes.count + known.tokens.byteCount }
    }

    private struct State {
        /// The one used last is the last one.
        var entries: [Entry] = []
        var next = 0
    }

    /// Larger files are not kept.
    static let largestFile = 16 << 20

    private let capacity: Int
    private let byteLimit: Int
    private let state = Mutex(State())

    /// - Parameters:
    ///   - capacity: most images
    ///   - byteLimit: most bytes of their files and visual tokens
    init(capacity: Int, byteLimit: Int) {
        self.capacity = capacity
        self.byteLimit = byteLimit
    }

    /// Bytes held.
    var byteCount: Int { state.withLock { $0.entries.reduce(0) { $0 + $1.byteCount } } }

    /// What is known of a file; an image that is found counts as used.
    func find(_ bytes: Data) -> Known? {
        // Compared without the lock: megabytes, while other requests look for theirs.
        let entries = state.withLock { $0.entries }
        guard let found = entries.last(where: { $0.bytes == bytes }) else { return nil }
        state.withLock { state in
            guard let place = state.entries.firstIndex(where: { $0.known.identity == found.known.identity })
            else { return }
            state.entries.append(state.entries.remove(at: place))
        }
        return found.known
    }

    /// For an image that is not known.
    func newIdentity() -> Int {
        state.withLock { state in
            defer { state.next += 1 }
            return state.next
        }
    }

    func keep(_ tokens: Tensor, of bytes: Data, identity: Int, remarks: [String] = []) {
        guard capacity > 0, bytes.count <= Self.largestFile, bytes.count + tokens.byteCount <= byteLimit,
            find(bytes) == nil
        else { return }
        // A copy: the caller's bytes may be a part of something larger, or a mapped file that changes.
        let copy = bytes.withUnsafeBytes { raw in
            raw.baseAddress.map { Data(bytes: $0, count: raw.count) } ?? Data()
        }
        state.withLock { state in
            state.entries.append(
                Entry(bytes: copy, known: Known(identity: identity, tokens: tokens, remarks: remarks)))
            var held = state.entries.reduce(0) { $0 + $1.byteCount }
            while state.entries.count > capacity || held > byteLimit {
                held -= state.entries.removeFirst().byteCount
            }
        }
    }

    /// Identities are not given again: conversations that go on still hold the old ones.
    func forget() { state.withLock { $0.entries = [] } }
}

/// One element of a sequence.
enum PromptSymbol: Hashable {
    case token(Int)
    /// An image, by its identity in the ``ImageMemory``, with the positions it takes.
    case image(Int, positions: Int)

    var positions: Int {
        switch self {
        case .token: 1
        case .image(_, let positions): positions
        }
    }
}

/// Conversations whose keys and values later prompts may begin with: the system prompt, the same image.
struct PromptMemory {
    /// Fewer positions are sooner computed than looked for.
    static let fewest = 8

    private let byteLimit: Int
    /// The one used last is the last one.
    private var conversations: [Conversation] = []

    init(byteLimit: Int) { self.byteLimit = byteLimit }

    mutating func keep(_ conversation: Conversation) {
        conversations.removeAll { $0 === conversation }
        guard conversation.cache.byteCount <= byteLimit else { return }
        conversations.append(conversation)
        while conversations.reduce(0, { $0 + $1.cache.byteCount }) > byteLimit {
            conversations.removeFirst()
        }
    }

    mutating func forget() { conversations = [] }

    /// Fills an empty conversation with what it can share with an earlier one.
    /// - Parameter symbols: of the whole prompt, of which at least the last stays to be computed
    func fill(_ conversation: Conversation, from symbols: [PromptSymbol]) throws(TensorError) {
        var best: (conversation: Conversation, symbols: Int, positions: Int)?
        for other in conversations {
            let common = zip(symbols.dropLast(), other.symbols).prefix { $0 == $1 }
            let positions = common.reduce(0) { $0 + $1.0.positions }
            if positions > best?.positions ?? Self.fewest - 1 { best = (other, common.count, positions) }
        }
        guard let best else { return }
        try conversation.cache.copy(best.positions, from: best.conversation.cache)
        conversation.symbols = Array(symbols.prefix(best.symbols))
    }
}
