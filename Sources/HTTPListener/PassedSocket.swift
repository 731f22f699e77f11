#if Server
    internal import Foundation

    /// A socket that systemd listens on for a service (`fastvlm.socket`), as `sd_listen_fds(3)` describes it.
    package struct PassedSocket: Sendable {
        let descriptor: Int32
        /// Whether it can be reached from this machine only.
        package let isLoopback: Bool

        private static let first: Int32 = 3

        /// - Returns: nil where none was passed to this process.
        /// - Throws: for several, and for what is no stream socket that listens.
        package init?(_ environment: [String: String]) throws(HTTPListener.Failure) {
            guard let process = environment["LISTEN_PID"], let count = environment["LISTEN_FDS"],
                Int32(process) == getpid(), count != "0"
            else { return nil }
            guard count == "1" else {
                throw .listening(
                    "\(count) sockets were passed, and it takes one (ListenStream= of the socket unit)")
            }
            var isListening: Int32 = 0
            var size = socklen_t(MemoryLayout<Int32>.size)
            guard getsockopt(Self.first, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &size) == 0,
                isListening != 0
            else {
                throw .listening("what was passed as descriptor \(Self.first) is no socket that listens")
            }
            // Programs that are started later have no use for it.
            _ = fcntl(Self.first, F_SETFD, FD_CLOEXEC)
            descriptor = Self.first
            isLoopback = Self.isLoopback(Self.first)
        }

        private static func isLoopback(_ descriptor: Int32) -> Bool {
            var storage = sockaddr_storage()
            var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let status = withUnsafeMutablePointer(to: &storage) { storage in
                storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    getsockname(descriptor, $0, &size)
                }
            }
            guard status == 0 else { return false }
            let family = Int32(storage.ss_family)
            return withUnsafeBytes(of: storage) { bytes in
                switch family {
                case AF_UNIX: true
                // Behind the port.
                case AF_INET: bytes[4] == 127
                // Behind the port and the flow; 127.0.0.0/8 may be written in it too.
                case AF_INET6:
                    bytes[8..<24].elementsEqual(repeatElement(0, count: 15) + [1])
                        || bytes[8..<21].elementsEqual(repeatElement(0, count: 10) + [255, 255, 127])
                default: false
                }
            }
        }
    }
#endif
