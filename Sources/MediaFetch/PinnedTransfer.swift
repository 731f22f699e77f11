internal import CCurl

/// One request, to addresses that were checked, without following redirects. For one thread.
final class PinnedTransfer {
    enum Outcome {
        case body([UInt8])
        /// Where the server sends on to, made absolute and not checked.
        case redirect(String)
    }

    private let limit: Int
    private let fetch: Fetch
    private var bytes: [UInt8] = []
    private var headBytes = 0
    private var isTooLarge = false

    private static let mostHeadBytes = 64 << 10

    init(limit: Int, fetch: Fetch) {
        self.limit = limit
        self.fetch = fetch
    }

    func get(_ address: RemoteAddress, from peers: [IPAddress]) throws(MediaFetchError) -> Outcome {
        if let obstacle = ccurl_prepare() {
            throw MediaFetchError(
                .unreachable, "cannot be fetched by this server", details: String(cString: obstacle))
        }
        let response = send(address, peers)
        if isTooLarge || response.code == CURLE_FILESIZE_EXCEEDED {
            throw MediaFetchError(.tooLarge, "leads to more than \(limit) bytes")
        }
        if [301, 302, 303, 307, 308].contains(response.status), let target = text(of: response.redirect),
            !target.isEmpty
        {
            return .redirect(target)
        }
        switch response.code {
        case CURLE_OK: break
        case CURLE_OPERATION_TIMEDOUT, CURLE_ABORTED_BY_CALLBACK:
            throw MediaFetchError(.timedOut, "did not answer in time")
        default:
            throw MediaFetchError(
                .unreachable, "cannot be reached, or has no valid certificate or answer",
                details: "\(address.authority): \(text(of: response.reason) ?? "")")
        }
        guard (200..<300).contains(response.status) else {
            throw MediaFetchError(.badStatus, "was answered with status \(response.status)")
        }
        return .body(bytes)
    }

    private func send(_ address: RemoteAddress, _ peers: [IPAddress]) -> ccurl_response {
        var response = ccurl_response()
        let left = max((fetch.deadline - .now) / .milliseconds(1), 1)
        let list = peers.map(\.description).joined(separator: ",")
        let texts = [address.text, "Accept: image/*\nAccept-Encoding: identity", list, address.authority]
        withCStrings(texts) { texts in
            var request = ccurl_request()
            request.address = texts[0]
            request.headers = texts[1]
            request.addresses = texts[2]
            if address.literal == nil { request.authority = texts[3] }
            request.milliseconds = Int(left)
            request.most_bytes = curl_off_t(limit)
            request.context = Unmanaged.passUnretained(self).toOpaque()
            request.write = { bytes, size, count, context in
                guard let bytes, let context else { return 0 }
                let transfer = Unmanaged<PinnedTransfer>.fromOpaque(context).takeUnretainedValue()
                return transfer.append(UnsafeRawBufferPointer(start: bytes, count: size * count))
            }
            request.header = { _, size, count, context in
                guard let context else { return 0 }
                let transfer = Unmanaged<PinnedTransfer>.fromOpaque(context).takeUnretainedValue()
                transfer.headBytes += size * count
                return transfer.headBytes <= PinnedTransfer.mostHeadBytes ? size * count : 0
            }
            request.progress = { context, _, _, _, _ in
                guard let context else { return 1 }
                let transfer = Unmanaged<PinnedTransfer>.fromOpaque(context).takeUnretainedValue()
                return transfer.fetch.isOver ? 1 : 0
            }
            ccurl_get(&request, &response)
        }
        return response
    }

    /// - Returns: how much was taken.
    private func append(_ part: UnsafeRawBufferPointer) -> Int {
        guard part.count <= limit - bytes.count else {
            isTooLarge = true
            return 0
        }
        bytes += part
        return part.count
    }

    private func withCStrings(_ texts: [String], _ body: ([UnsafePointer<CChar>]) -> Void) {
        func add(_ index: Int, _ pointers: [UnsafePointer<CChar>]) {
            guard index < texts.count else { return body(pointers) }
            texts[index].withCString { add(index + 1, pointers + [$0]) }
        }
        add(0, [])
    }

    /// The text in an array of C characters.
    private func text<Characters>(of characters: Characters) -> String? {
        withUnsafeBytes(of: characters) { String(validating: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
