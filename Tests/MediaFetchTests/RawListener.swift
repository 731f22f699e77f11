import Synchronization
import TestSupport

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Takes connections on 127.0.0.1, keeps the first bytes that come, and closes them.
final class RawListener: Sendable {
    private let socket: LoopbackSocket
    private let bytes = Mutex<[UInt8]>([])

    var port: UInt16 { socket.port }
    var received: [UInt8] { bytes.withLock { $0 } }

    init() throws {
        socket = try LoopbackSocket()
        socket.serve { [self] client in
            var part = [UInt8](repeating: 0, count: 4096)
            let count = recv(client, &part, part.count, 0)
            bytes.withLock { $0 += part.prefix(max(count, 0)) }
        }
    }

    func stop() { socket.stop() }
}
