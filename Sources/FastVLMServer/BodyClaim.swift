internal import Synchronization

/// Bytes of a request's body that are held, among those of all requests; given back with the claim.
package final class BodyClaim: Sendable {
    private let service: FastVLMService
    private let count = Mutex(0)

    package init(_ service: FastVLMService) { self.service = service }

    deinit { service.release(bodyBytes: count.withLock { $0 }) }

    /// - Returns: false when others hold too many.
    package func add(_ bytes: Int) -> Bool {
        guard service.claim(bodyBytes: bytes) else { return false }
        count.withLock { $0 += bytes }
        return true
    }
}
