public import Foundation
private import Synchronization

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Darwin)
    private import Darwin
#endif

/// A web server on 127.0.0.1 that gives chosen answers, one connection after the other.
public final class LocalServer: Sendable {
    public enum Answer: Sendable {
        /// Status, header lines and body.
        case response(Int, [String], Data)
        /// These bytes, and the connection is closed.
        case bytes(String)
        /// As above.
        case data(Data)
        /// Zeros until the client goes away.
        case endless
        /// Nothing, until the client goes away.
        case silence
    }

    public struct Request: Sendable {
        /// With its leading slash.
        public let path: String
        /// By lower-case name.
        public let fields: [String: String]
        /// The server's.
        public let port: UInt16
    }

    public var port: UInt16 { socket.port }
    private let socket: LoopbackSocket
    private let requests = Mutex<[String]>([])

    /// Requests as they came, line by line.
    public var received: [String] { requests.withLock { $0 } }
    public func url(_ path: String) -> String { "http://127.0.0.1:\(port)/\(path)" }

    /// - Parameter answer: by path, with its leading slash, and port
    public convenience init(_ answer: @escaping @Sendable (_ path: String, _ port: UInt16) -> Answer) throws {
        try self.init(requests: { answer($0.path, $0.port) })
    }

    /// - Parameter requests: what to answer
    public init(requests answer: @escaping @Sendable (Request) -> Answer) throws {
        // Where the machine reaches the web through a proxy, this server is not behind it.
        setenv("no_proxy", "127.0.0.1", 1)
        socket = try LoopbackSocket()
        socket.serve { [self] client in serve(client, answer) }
    }

    public func stop() { socket.stop() }

    private func serve(_ client: Int32, _ answer: (Request) -> Answer) {
        var request: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 4096)
        while !String(decoding: request, as: UTF8.self).contains("\r\n\r\n") {
            let count = recv(client, &part, part.count, 0)
            guard count > 0 else { return }
            request += part[..<count]
        }
        let lines = String(decoding: request, as: UTF8.self).components(separatedBy: "\r\n")
        requests.withLock { $0 += lines }
        let words = lines[0].split(separator: " ")
        var fields: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(
                in: .whitespaces)
        }
        switch answer(Request(path: words.count > 1 ? String(words[1]) : "", fields: fields, port: port)) {
        case .response(let status, let headers, let body):
            let head =
                ["HTTP/1.1 \(status) X", "Content-Length: \(body.count)", "Connection: close"] + headers
            _ = send(Array((head.joined(separator: "\r\n") + "\r\n\r\n").utf8) + body, to: client)
        case .bytes(let text): _ = send(Array(text.utf8), to: client)
        case .data(let data): _ = send(Array(data), to: client)
        case .endless:
            _ = send(Array("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".utf8), to: client)
            while send([UInt8](repeating: 0, count: 1 << 16), to: client) {}
        case .silence:
            while recv(client, &part, part.count, 0) > 0 {}
        }
    }

    private func send(_ bytes: [UInt8], to client: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { bytes in
                #if canImport(Glibc)
                    Glibc.send(client, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
                #else
                    Darwin.send(client, bytes.baseAddress, bytes.count, 0)
                #endif
            }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}
