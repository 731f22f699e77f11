internal import ImageInput
internal import Models
internal import Synchronization
internal import Tensors

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Visual tokens of the images encoded last, so that another question about one of them needs no encoder.
///
/// Images are distinguished by the bytes of their files, all of them: a digest of an untrusted file could be made to
/// collide. Those that have a key of the caller's are distinguished by that alone. Only what was encoded is remembered, so files that are no images push nothing out.
final class ImageMemory: Sendable {
    /// An image that was encoded.
    struct Known: Sendable {
        /// Differs for different bytes.
        let identity: Int
        /// [tokens, hidden size].
        let tokens: Tensor
        /// What is worth telling about the file.
        let remarks: [String]
        /// What it is as one of several images, where something else was encoded.
        var multiImagePixels: PixelTensor?
    }

    private struct Entry: Sendable {
        let name: ImageName
        let known: Known

        var byteCount: Int {
            name.byteCount + known.tokens.byteCount
                + (known.multiImagePixels?.values.count ?? 0) * MemoryLayout<Float>.stride
        }
    }

    /// An image that requests are about that are not finished.
    private struct Pending: Sendable {
        let name: ImageName
        let identity: Int
        var users = 1
    }

    private struct State {
        /// The one used last is the last one.
        var entries: [Entry] = []
        var pending: [Pending] = []
        var next = 0
        /// Identities of images that are to be remembered no more.
        var forgottenBelow = 0
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

    /// What is known of an image; one that is found counts as used.
    func find(_ name: ImageName) -> Known? {
        // Compared without the lock: megabytes, while other requests look for theirs.
        let entries = state.withLock { $0.entries }
        guard let found = entries.last(where: { $0.name == name }) else { return nil }
        state.withLock { state in
            guard let place = state.entries.firstIndex(where: { $0.known.identity == found.known.identity })
            else { return }
            state.entries.append(state.entries.remove(at: place))
        }
        return found.known
    }

    /// The visual tokens of an image by its identity.
    func tokens(of identity: Int) -> Tensor? {
        state.withLock { $0.entries.last { $0.known.identity == identity }?.known.tokens }
    }

    /// The identity of an image that is not known: the same for all requests that are about it at once. Each call is
    /// followed by one of ``release(identity:)`` when its request is finished.
    func claimIdentity(of name: ImageName) -> Int {
        state.withLock { state in
            if let place = state.pending.firstIndex(where: {
                $0.name == name && $0.identity >= state.forgottenBelow
            }) {
                state.pending[place].users += 1
                return state.pending[place].identity
            }
            defer { state.next += 1 }
            state.pending.append(Pending(name: name, identity: state.next))
            return state.next
        }
    }

    /// An identity that no other image has.
    func newIdentity() -> Int {
        state.withLock { state in
            defer { state.next += 1 }
            return state.next
        }
    }

    func release(identity: Int) {
        state.withLock { state in
            guard let place = state.pending.firstIndex(where: { $0.identity == identity }) else { return }
            state.pending[place].users -= 1
            if state.pending[place].users == 0 { state.pending.remove(at: place) }
        }
    }

    func keep(
        _ tokens: Tensor, of name: ImageName, identity: Int, remarks: [String] = [],
        multiImagePixels: PixelTensor? = nil
    ) {
        guard state.withLock({ identity >= $0.forgottenBelow }), capacity > 0,
            name.byteCount <= Self.largestFile,
            name.byteCount + tokens.byteCount <= byteLimit, find(name) == nil
        else { return }
        let copy = name.copied()
        state.withLock { state in
            state.entries.append(
                Entry(
                    name: copy,
                    known: Known(
                        identity: identity, tokens: tokens, remarks: remarks,
                        multiImagePixels: multiImagePixels)))
            var held = state.entries.reduce(0) { $0 + $1.byteCount }
            while state.entries.count > capacity || held > byteLimit {
                held -= state.entries.removeFirst().byteCount
            }
        }
    }

    /// Forgets all images, those too that requests are about now. Identities are not given again: conversations that go on
    /// still hold the old ones.
    func forget() {
        state.withLock { state in
            state.entries = []
            state.forgottenBelow = state.next
        }
    }
}

/// What tells an image from others.
enum ImageName: Sendable, Hashable {
    case bytes(ImageBytes)
    /// The caller's word (``ImageSource/keyed(_:)``).
    case key(String)
    /// One of several images of a conversation, where the only one is encoded otherwise.
    indirect case multiImage(ImageName)
    /// Brought to another side than the model's, in pixels.
    indirect case resized(ImageName, side: Int)

    var byteCount: Int {
        switch self {
        case .bytes(let bytes): bytes.data.count
        case .key(let key): key.utf8.count
        case .multiImage(let name), .resized(let name, _): name.byteCount
        }
    }

    /// With bytes of its own: the caller's may be a part of something larger, or a mapped file that changes.
    func copied() -> ImageName {
        if case .multiImage(let name) = self { return .multiImage(name.copied()) }
        if case .resized(let name, let side) = self { return .resized(name.copied(), side: side) }
        guard case .bytes(var bytes) = self else { return self }
        bytes.data = bytes.data.withUnsafeBytes { raw in
            raw.baseAddress.map { Data(bytes: $0, count: raw.count) } ?? Data()
        }
        return .bytes(bytes)
    }
}
