internal import Dispatch
internal import Synchronization

/// Fetches images whose addresses others name: the only code that opens an address of a request.
///
/// Every address, and every one that a server sends on to, goes through the same steps: it has one reading
/// (``RemoteAddress``), its host is allowed (``HostRule``), its name is resolved once, all that it resolves to is public,
/// and the connection goes to one of those addresses and nowhere else, with the original name in TLS. Nothing of this
/// machine is sent along: no cookies, no credentials; proxies that the environment names are not used.
package struct MediaFetcher: Sendable {
    package struct Limits: Sendable {
        /// Of one image.
        package var bytes = 10 << 20
        /// For one image, redirects included.
        package var seconds = 10.0
        package var redirects = 3
        /// At a time; further ones are refused.
        package var concurrent = 16

        package init() {}
    }

    /// From a name to its addresses; it may block. Empty where there are none.
    typealias Resolver = @Sendable (String) -> [IPAddress]

    private let rule: HostRule
    private let limits: Limits
    private let resolve: Resolver
    private let isPublic: @Sendable (IPAddress) -> Bool
    private let running = Running()

    package init(allowedHosts: HostRule, limits: Limits = Limits()) {
        self.init(allowedHosts: allowedHosts, limits: limits, resolve: SystemResolver.addresses(of:))
    }

    /// - Parameter isPublic: whether an address may be connected to
    init(
        allowedHosts: HostRule, limits: Limits = Limits(), resolve: @escaping Resolver,
        isPublic: @escaping @Sendable (IPAddress) -> Bool = \.isPublic
    ) {
        rule = allowedHosts
        self.limits = limits
        self.resolve = resolve
        self.isPublic = isPublic
    }

    /// The bytes of an image, of whatever format; nothing is believed of what the server says about it.
    package func image(at text: String) async throws(MediaFetchError) -> [UInt8] {
        let address = try RemoteAddress(text)
        // Before a thread is spent on it.
        _ = try rule.check(address)
        guard running.begin(atMost: limits.concurrent) else {
            throw MediaFetchError(.busy, "has to wait: too many images are being fetched; try again soon")
        }
        let fetch = Fetch(deadline: .now + .seconds(limits.seconds))
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                fetch.begin(continuation)
                // It waits for the network, which the threads of tasks must not.
                DispatchQueue.global().async {
                    fetch.end(with: self.result(of: fetch, address))
                    running.end()
                }
                // Looking up a name cannot be interrupted: that thread is left to itself.
                DispatchQueue.global().asyncAfter(deadline: .now() + limits.seconds) {
                    fetch.end(with: .failure(Self.late))
                }
            }
        } onCancel: {
            fetch.end(with: .failure(MediaFetchError(.cancelled, "was not fetched: cancelled")))
        }
        return try result.get()
    }

    private static let late = MediaFetchError(.timedOut, "did not answer in time")

    private func result(of fetch: Fetch, _ address: RemoteAddress) -> Result<[UInt8], MediaFetchError> {
        do throws(MediaFetchError) {
            return .success(try follow(address, fetch))
        } catch {
            return .failure(error)
        }
    }

    private func follow(_ first: RemoteAddress, _ fetch: Fetch) throws(MediaFetchError) -> [UInt8] {
        var address = first
        for _ in 0...limits.redirects {
            let wasNamed = try rule.check(address)
            let peers = try peers(of: address, wasNamed: wasNamed)
            if fetch.isOver { throw Self.late }
            switch try PinnedTransfer(limit: limits.bytes, fetch: fetch).get(address, from: peers) {
            case .body(let bytes): return bytes
            case .redirect(let target):
                let next = try RemoteAddress(target)
                guard next.isEncrypted || !address.isEncrypted else {
                    throw MediaFetchError(.notAllowed, "leads from an encrypted address to one that is not")
                }
                address = next
            }
        }
        throw MediaFetchError(.tooManyRedirects, "leads over more than \(limits.redirects) redirects")
    }

    /// Where the connection may go.
    private func peers(
        of address: RemoteAddress, wasNamed: Bool
    ) throws(MediaFetchError) -> [IPAddress] {
        let found = address.literal.map { [$0] } ?? resolve(address.host)
        if wasNamed { return found }
        // One sentence for both, so that nobody learns which names the own network knows.
        guard !found.isEmpty, found.allSatisfy(isPublic) else {
            throw MediaFetchError(
                .notAllowed, "names a host without an address of the public internet",
                details:
                    "\(address.host): \(found.isEmpty ? "no such host" : found.map(\.description).joined(separator: ", "))"
            )
        }
        return Array(found.prefix(Self.mostPeers))
    }

    private static let mostPeers = 8
}

/// How many images are being fetched.
private final class Running: Sendable {
    private let count = Mutex(0)

    func begin(atMost most: Int) -> Bool {
        count.withLock { count in
            guard count < most else { return false }
            count += 1
            return true
        }
    }

    func end() { count.withLock { $0 -= 1 } }
}

/// One image on its way: whoever is first (the bytes, the deadline, the caller's cancellation) ends it.
final class Fetch: Sendable {
    private struct State {
        var isOver = false
        var continuation: CheckedContinuation<Result<[UInt8], MediaFetchError>, Never>?
        /// Of a fetch that was over before anybody waited for it. Bytes are not kept here once they were handed on: the
        /// deadline's timer holds this object until its time.
        var early: Result<[UInt8], MediaFetchError>?
    }

    let deadline: ContinuousClock.Instant
    private let state = Mutex(State())

    init(deadline: ContinuousClock.Instant) { self.deadline = deadline }

    var isOver: Bool { state.withLock { $0.isOver } }

    func begin(_ continuation: CheckedContinuation<Result<[UInt8], MediaFetchError>, Never>) {
        let early = state.withLock { state in
            defer { state.early = nil }
            if state.early == nil { state.continuation = continuation }
            return state.early
        }
        if let early { continuation.resume(returning: early) }
    }

    func end(with result: Result<[UInt8], MediaFetchError>) {
        let continuation = state.withLock {
            state -> CheckedContinuation<Result<[UInt8], MediaFetchError>, Never>? in
            guard !state.isOver else { return nil }
            state.isOver = true
            if state.continuation == nil { state.early = result }
            defer { state.continuation = nil }
            return state.continuation
        }
        continuation?.resume(returning: result)
    }
}
