import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Takes connections on 127.0.0.1, keeps the first bytes that come, and closes them.
final class RawListener: Sendable {
    let port: UInt16
    private let listener: Int32
    private let bytes = Mutex<[UInt8]>([])

    var received: [UInt8] { bytes.withLock { $0 } }

    init() throws {
        #if canImport(Glibc)
            listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        #else
            listener = socket(AF_INET, SOCK_STREAM, 0)
        #endif
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, size) == 0 && listen(descriptor, 1) == 0
                    && getsockname(descriptor, pointer, &size) == 0
            }
        }
        guard isListening else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in
            var part = [UInt8](repeating: 0, count: 4096)
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else {
                    // Here and nowhere else: the next socket may get its number.
                    close(listener)
                    return
                }
                let count = recv(client, &part, part.count, 0)
                bytes.withLock { $0 += part.prefix(max(count, 0)) }
                close(client)
            }
        }
    }

    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }
}
