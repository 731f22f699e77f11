internal import CCurl
internal import Dispatch
public import Foundation
internal import Synchronization

/// Which addresses of the web are fetched.
enum WebAddress {
    static let mostRedirects = 5

    static func checked(_ text: String) throws(InputError) -> URL {
        guard let url = URL(string: text), let host = url.host(), !host.isEmpty else {
            throw InputError("'\(ByteText.shown(text))' is not a web address; write https://host/name.jpg")
        }
        guard isAllowed(url) else {
            throw InputError(
                "'\(host)' is named with a user or password, which are not sent; download the image yourself")
        }
        return url
    }

    /// http and https, without credentials.
    private static func isAllowed(_ url: URL) -> Bool {
        ["http", "https"].contains(url.scheme?.lowercased()) && url.user() == nil && url.password() == nil
            && url.host()?.isEmpty == false
    }

    /// Whether a server may send its reader on: to another web address, and never from an encrypted one to one that
    /// is not.
    /// - Parameter count: redirects before this one
    static func allowsRedirect(from: URL, to: URL?, count: Int) -> Bool {
        guard let to, isAllowed(to), count < mostRedirects else { return false }
        return from.scheme?.lowercased() != "https" || to.scheme?.lowercased() == "https"
    }
}

/// Fetches a file for somebody who typed its address.
///
/// Bytes, time and redirects are bounded, and nothing of the user's is sent along: no cookies, no credentials. Addresses
/// of the own network are fetched as others are, because it is the user's own network. **A server that fetches what its
/// clients name needs stricter guarding** (private and link-local addresses, names that change between the check and
/// the connection): this is not for it.
public enum WebFile {
    /// - Parameters:
    ///   - limit: most bytes
    ///   - seconds: until all of it must be there
    /// - Throws: ``InputError``, `CancellationError`.
    public static func fetch(_ url: URL, limit: Int, seconds: Int) async throws -> Data {
        let download = Download(url, limit: limit, deadline: .now + .seconds(seconds))
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                // It waits for the network, which the threads of tasks must not.
                DispatchQueue.global().async { continuation.resume(with: Result { try download.run() }) }
            }
        } onCancel: {
            download.cancel()
        }
    }
}

/// One download, with its redirects. Only the thread that runs it touches anything but the flag, which is what makes
/// `@unchecked Sendable` true.
private final class Download: @unchecked Sendable {
    private let url: URL
    private let limit: Int
    private let deadline: ContinuousClock.Instant
    private let isCancelled = Atomic<Bool>(false)
    private var data = Data()
    private var isTooLarge = false

    init(_ url: URL, limit: Int, deadline: ContinuousClock.Instant) {
        self.url = url
        self.limit = limit
        self.deadline = deadline
    }

    func cancel() { isCancelled.store(true, ordering: .relaxed) }

    func run() throws -> Data {
        if let obstacle = ccurl_prepare() { throw failure(String(cString: obstacle)) }
        var address = url
        for redirects in 0...WebAddress.mostRedirects {
            data = Data()
            let response = get(address)
            if isCancelled.load(ordering: .relaxed) { throw CancellationError() }
            if isTooLarge || response.code == CURLE_FILESIZE_EXCEEDED {
                throw failure(
                    "it has more than \(limit) bytes; shrink the image or raise the file size limit")
            }
            guard response.code == CURLE_OK else { throw failure(reason(of: response)) }
            if (300..<400).contains(response.status), let target = text(of: response.redirect),
                !target.isEmpty
            {
                let next = URL(string: target)
                guard WebAddress.allowsRedirect(from: address, to: next, count: redirects), let next else {
                    throw failure(
                        redirects == WebAddress.mostRedirects
                            ? "more than \(WebAddress.mostRedirects) redirects"
                            : "the server sends on to '\(target)', which is not followed")
                }
                address = next
                continue
            }
            guard (200..<300).contains(response.status) else {
                throw failure("the server answered \(response.status); check the address")
            }
            return data
        }
        throw failure("more than \(WebAddress.mostRedirects) redirects")
    }

    private func get(_ address: URL) -> ccurl_response {
        let left = max((deadline - .now) / .milliseconds(1), 1)
        var response = ccurl_response()
        // The part behind '#' is for the reader, not for the server.
        let text = address.absoluteString.prefix { $0 != "#" }
        let headers = "Accept: image/*, */*;q=0.5"
        withCStrings(String(text), headers) { text, headers in
            var request = ccurl_request()
            request.address = text
            request.headers = headers
            request.milliseconds = Int(left)
            request.most_bytes = curl_off_t(limit)
            request.context = Unmanaged.passUnretained(self).toOpaque()
            request.write = { bytes, size, count, context in
                guard let bytes, let context else { return 0 }
                let download = Unmanaged<Download>.fromOpaque(context).takeUnretainedValue()
                return download.append(UnsafeRawBufferPointer(start: bytes, count: size * count))
            }
            request.progress = { context, _, _, _, _ in
                guard let context else { return 1 }
                let download = Unmanaged<Download>.fromOpaque(context).takeUnretainedValue()
                return download.isCancelled.load(ordering: .relaxed) ? 1 : 0
            }
            ccurl_get(&request, &response)
        }
        return response
    }

    private func withCStrings(
        _ first: String, _ second: String, _ body: (UnsafePointer<CChar>, UnsafePointer<CChar>) -> Void
    ) {
        first.withCString { first in second.withCString { second in body(first, second) } }
    }

    /// - Returns: how much was taken.
    private func append(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard bytes.count <= limit - data.count else {
            isTooLarge = true
            return 0
        }
        data.append(contentsOf: bytes)
        return bytes.count
    }

    private func reason(of response: ccurl_response) -> String {
        switch response.code {
        case CURLE_OPERATION_TIMEDOUT: "it did not come in time (--fetch-seconds)"
        case CURLE_COULDNT_RESOLVE_HOST: "there is no such host; check the address"
        default:
            // libcurl's sentence; it names hosts and numbers where they help.
            text(of: response.reason).map { $0.prefix(1).lowercased() + $0.dropFirst() }
                ?? "the transfer failed"
        }
    }

    /// The text in an array of C characters.
    private func text<Characters>(of characters: Characters) -> String? {
        withUnsafeBytes(of: characters) { String(validating: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private func failure(_ reason: String) -> InputError {
        InputError("cannot fetch '\(url.absoluteString)': \(reason)")
    }
}
