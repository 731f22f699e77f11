internal import Foundation
internal import Models
internal import Tensors

/// Visual tokens of the images seen last, so that another question about one of them needs no encoder.
///
/// Images are told apart by the bytes of their files, all of them: a digest of a stranger's file could be made to
/// collide.
struct ImageMemory {
    /// A file that was seen.
    struct Known {
        /// Differs for different bytes.
        let identity: Int
        /// [tokens, hidden size]; nil until the image has been encoded.
        fileprivate(set) var tokens: Tensor?
    }

    private struct Entry {
        let bytes: Data
        var known: Known
    }

    /// Larger files are not kept.
    static let largestFile = 16 << 20

    private let capacity: Int
    /// The one used last stands last.
    private var entries: [Entry] = []
    private var next = 0

    init(capacity: Int) { self.capacity = capacity }

    /// What is known of a file; remembers it if it is new.
    mutating func find(_ bytes: Data) -> Known {
        if let place = entries.firstIndex(where: { $0.bytes == bytes }) {
            entries.append(entries.remove(at: place))
            return entries[entries.count - 1].known
        }
        let known = Known(identity: next)
        next += 1
        if capacity > 0, bytes.count <= Self.largestFile {
            entries.append(Entry(bytes: bytes, known: known))
            if entries.count > capacity { entries.removeFirst() }
        }
        return known
    }

    mutating func keep(_ tokens: Tensor, of known: Known) {
        guard let place = entries.firstIndex(where: { $0.known.identity == known.identity }) else { return }
        entries[place].known.tokens = tokens
    }

    /// Identities are not given again: conversations that go on still hold the old ones.
    mutating func forget() { entries = [] }
}

/// What stands at a place of a sequence.
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
    /// The one used last stands last.
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
