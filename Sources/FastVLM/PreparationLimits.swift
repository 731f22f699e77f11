internal import Synchronization

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// What requests that are not finished may have at once. Each is waited for once per request, in the order of the
/// declarations, so that no two requests can wait for each other.
struct PreparationLimits: Sendable {
    /// Requests that wait or are worked on.
    private let requests: RequestCounter
    /// Bytes that requests bring. What a caller gives is there already: it is counted when it comes, or refused. Files are
    /// waited for before they are read; those of one request are read whatever others have given, since these may wait
    /// for it.
    let bytes: WeightedSemaphore
    private let mostBytes: Int
    /// Requests that are worked on. Those that wait have the bytes that they brought only.
    let running: WeightedSemaphore
    /// Bytes of pictures that are decoded, and of pixels.
    let pixels = WeightedSemaphore(1 << 30)
    /// Requests whose images are being decoded.
    let decodings = WeightedSemaphore(ProcessInfo.processInfo.activeProcessorCount)

    /// A file that is open takes more than its bytes.
    static let leastFile = 1 << 20

    /// - Parameters:
    ///   - running: requests that are worked on at once
    ///   - waiting: requests that may wait beside them
    ///   - bytes: most bytes that all of them bring
    init(running: Int, waiting: Int, bytes: Int) {
        self.running = WeightedSemaphore(running)
        self.bytes = WeightedSemaphore(bytes)
        mostBytes = bytes
        requests = RequestCounter(running: running, waiting: waiting)
    }

    /// Requests that are not finished.
    var current: Int { requests.current }

    /// Lets a request in.
    /// - Parameter bytes: what it brings
    /// - Throws: `FastVLMError` with the code `overloaded` when there are as many requests, or bytes, as there may be.
    func admit(bytes given: Int) throws -> Admission {
        try requests.enter()
        guard let claim = bytes.take(given) else {
            requests.leave()
            throw overloaded(given)
        }
        return Admission(limits: self, bytes: claim)
    }

    private func overloaded(_ brought: Int) -> FastVLMError {
        FastVLMError(
            .overloaded,
            "the request brings \(brought) bytes, and others that are not finished hold \(bytes.taken) of "
                + "at most \(mostBytes); try again later", needed: brought, limit: mostBytes,
            option: "requestBytes")
    }

    /// A request that was let in, until it leaves.
    struct Admission: Sendable {
        fileprivate let limits: PreparationLimits
        fileprivate let bytes: WeightedSemaphore.Claim

        /// Counts bytes that are known later only.
        /// - Throws: `FastVLMError` with the code `overloaded` when there are as many as there may be.
        func bring(_ more: Int) throws {
            guard bytes.grow(by: more) else { throw limits.overloaded(more) }
        }

        func leave() {
            bytes.release()
            limits.requests.leave()
        }
    }
}

/// Counts requests up to a bound.
private final class RequestCounter: Sendable {
    private let most: Int
    private let waiting: Int
    private let count = Mutex(0)

    init(running: Int, waiting: Int) {
        let (sum, overflow) = running.addingReportingOverflow(waiting)
        most = overflow ? Int.max : sum
        self.waiting = waiting
    }

    /// - Throws: `FastVLMError` with the code `overloaded` when there are as many as there may be.
    func enter() throws {
        try count.withLock { count in
            guard count < most else {
                throw FastVLMError(
                    .overloaded, "too many requests wait already (\(waiting)); try again later",
                    limit: waiting, option: "maximumWaiting")
            }
            count += 1
        }
    }

    func leave() { count.withLock { $0 -= 1 } }

    var current: Int { count.withLock { $0 } }
}

extension Turn {
    /// Bytes that its caller gives.
    var bytes: Int {
        let system = (options.system?.utf8.count ?? 0) + (options.format?.textBytes ?? 0)
        return switch content {
        case .question(let text, let images):
            images.reduce(system + text.utf8.count) { $0 + $1.givenBytes }
        case .messages(let messages): messages.reduce(system) { $0 + $1.bytes }
        }
    }
}

extension Message {
    /// Bytes that its caller gives.
    var bytes: Int { images.reduce(textBytes) { $0 + $1.givenBytes } }
}

extension ImageSource {
    /// Bytes that are in memory before it is read.
    var givenBytes: Int {
        switch content {
        case .file: 0
        case .data(let data): data.count
        case .pixels(_, _, let rgb): rgb.count
        }
    }
}
