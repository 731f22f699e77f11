internal import CCurl

/// Connections to servers, kept open between requests. For one thread at a time.
final class WebConnection {
    struct Request {
        var location: WebLocation
        /// Sent as `Authorization: Bearer`.
        var token: String?
        /// The bytes that are wanted; nil for all, an end of nil for the rest.
        var part: (first: Int, end: Int?)?
        /// Longest time without a byte.
        var stallSeconds = 10
    }

    /// What a server says before the body.
    struct Head {
        var status = 0
        /// By lower-case name; of several the last one.
        var fields: [String: String] = [:]
        /// Of a redirect, made absolute.
        var target: WebLocation?
        var hasTarget = false

        var isRedirect: Bool { [301, 302, 303, 307, 308].contains(status) }
        var length: Int? { fields["content-length"].flatMap { Int($0) } }

        /// First byte and size of the whole, of a part (`Content-Range: bytes 5-9/10`).
        var part: (first: Int, whole: Int?)? {
            guard let text = fields["content-range"], text.lowercased().hasPrefix("bytes ") else {
                return nil
            }
            let parts = text.dropFirst(6).split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count == 2, let first = Int(parts[0].prefix { $0 != "-" }) else { return nil }
            return (first, Int(parts[1]))
        }
    }

    /// Why no answer came, or not all of it.
    enum Failure: Error {
        case cancelled
        /// `receive` wanted no more.
        case refused
        /// In words, in the middle of a sentence. Another attempt may succeed.
        case cut(String)
        /// Another attempt would not.
        case impossible(String)
    }

    private let handle: UnsafeMutableRawPointer?
    private let cancellation: Cancellation

    init(_ cancellation: Cancellation) {
        self.cancellation = cancellation
        handle = ccurl_prepare() == nil ? ccurl_connect() : nil
    }

    deinit { if let handle { ccurl_disconnect(handle) } }

    /// One request, without following redirects.
    /// - Parameters:
    ///   - receive: gets the head and the parts of a body with a status of 200 to 299, and says whether more is wanted.
    /// - Returns: the head, and the beginning of any other body, at most 64 KiB of it.
    func send(
        _ request: Request, receive: (Head, UnsafeRawBufferPointer) -> Bool
    ) throws(Failure) -> (head: Head, words: [UInt8]) {
        if let obstacle = ccurl_prepare() { throw .impossible(String(cString: obstacle)) }
        guard let handle else { throw .impossible("there is no memory for a connection") }
        var response = ccurl_response()
        let transfer = withoutActuallyEscaping(receive) { receive in
            let transfer = Transfer(cancellation, receive)
            perform(request, transfer, handle, &response)
            transfer.forget()
            return transfer
        }
        if cancellation.isCancelled { throw .cancelled }
        if transfer.isRefused { throw .refused }
        if let fault = transfer.fault { throw .impossible(fault) }
        var head = transfer.head
        head.status = response.status
        if head.isRedirect, let target = text(of: response.redirect), !target.isEmpty {
            head.hasTarget = true
            head.target = WebLocation(target)
        }
        switch response.code {
        case CURLE_OK: return (head, transfer.words)
        // What was wanted of the body of an error came.
        case CURLE_WRITE_ERROR where transfer.errorBodyIsFull: return (head, transfer.words)
        case CURLE_COULDNT_RESOLVE_HOST:
            throw .cut("there is no host '\(request.location.origin.host)', or no network")
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_UNSUPPORTED_PROTOCOL,
            CURLE_OUT_OF_MEMORY:
            throw .impossible(reason(response))
        case CURLE_OPERATION_TIMEDOUT:
            throw .cut("nothing came for \(request.stallSeconds) seconds")
        default: throw .cut(reason(response))
        }
    }

    private func perform(
        _ request: Request, _ transfer: Transfer, _ handle: UnsafeMutableRawPointer,
        _ response: inout ccurl_response
    ) {
        var headers = "Accept-Encoding: identity"
        // Checked to be one line where it came in (HubSettings).
        if let token = request.token { headers += "\nAuthorization: Bearer \(token)" }
        if let (first, end) = request.part {
            headers += "\nRange: bytes=\(first)-" + (end.map { "\($0 - 1)" } ?? "")
        }
        request.location.text.withCString { address in
            headers.withCString { headers in
                var settings = ccurl_request()
                settings.address = address
                settings.headers = headers
                settings.connection = handle
                settings.stall_seconds = request.stallSeconds
                settings.context = Unmanaged.passUnretained(transfer).toOpaque()
                settings.write = { bytes, size, count, context in
                    guard let bytes, let context else { return 0 }
                    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
                    return transfer.body(UnsafeRawBufferPointer(start: bytes, count: size * count))
                }
                settings.header = { bytes, size, count, context in
                    guard let bytes, let context else { return 0 }
                    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
                    return transfer.line(UnsafeRawBufferPointer(start: bytes, count: size * count))
                }
                settings.progress = { context, _, _, _, _ in
                    guard let context else { return 1 }
                    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
                    return transfer.cancellation.isCancelled ? 1 : 0
                }
                ccurl_get(&settings, &response)
            }
        }
    }

    /// libcurl's sentence; it names hosts and numbers where they help.
    private func reason(_ response: ccurl_response) -> String {
        text(of: response.reason).map { $0.prefix(1).lowercased() + $0.dropFirst() } ?? "the transfer failed"
    }

    /// The text in an array of C characters.
    private func text<Characters>(of characters: Characters) -> String? {
        withUnsafeBytes(of: characters) { String(validating: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

/// What comes in during one request.
private final class Transfer {
    let cancellation: Cancellation
    private var receive: ((WebConnection.Head, UnsafeRawBufferPointer) -> Bool)?
    private(set) var head = WebConnection.Head()
    private(set) var words: [UInt8] = []
    private(set) var isRefused = false
    private(set) var errorBodyIsFull = false
    private(set) var fault: String?
    private var headBytes = 0

    private static let errorBodyLimit = 64 << 10
    private static let mostHeadBytes = 256 << 10

    init(
        _ cancellation: Cancellation,
        _ receive: @escaping (WebConnection.Head, UnsafeRawBufferPointer) -> Bool
    ) {
        self.cancellation = cancellation
        self.receive = receive
    }

    func forget() { receive = nil }

    /// - Returns: how much was taken.
    func line(_ bytes: UnsafeRawBufferPointer) -> Int {
        headBytes += bytes.count
        guard headBytes <= Self.mostHeadBytes else {
            fault = "the server's headers have no end"
            return 0
        }
        let line = String(decoding: bytes, as: UTF8.self)
        if line.hasPrefix("HTTP/") {
            // Those of "100 Continue" are not the answer's.
            head = WebConnection.Head()
            let words = line.split(separator: " ", maxSplits: 2)
            head.status = words.count > 1 ? Int(words[1].prefix { $0.isNumber }) ?? 0 : 0
        } else if let colon = line.firstIndex(of: ":") {
            let value = line[line.index(after: colon)...]
            head.fields[line[..<colon].lowercased()] = String(
                value.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
        }
        return bytes.count
    }

    /// - Returns: how much was taken.
    func body(_ bytes: UnsafeRawBufferPointer) -> Int {
        if (200..<300).contains(head.status) {
            if let receive, receive(head, bytes) { return bytes.count }
            isRefused = true
            return 0
        }
        words += bytes.prefix(Self.errorBodyLimit - words.count)
        errorBodyIsFull = words.count >= Self.errorBodyLimit
        return errorBodyIsFull ? 0 : bytes.count
    }
}
