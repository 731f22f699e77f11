/// Why an image was not fetched.
package struct MediaFetchError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable, CaseIterable {
        /// It is no address, or one with more than one reading.
        case invalidAddress = "invalid_image_url"
        /// The host, its port or its network is not one that images are fetched from.
        case notAllowed = "image_url_not_allowed"
        /// The host cannot be reached, has no valid certificate, or breaks the rules of HTTP.
        case unreachable = "image_url_unreachable"
        /// Another status than 200 to 299.
        case badStatus = "image_url_failed"
        case tooManyRedirects = "image_url_redirects"
        case tooLarge = "image_too_large"
        case timedOut = "image_url_timeout"
        /// As many are being fetched as may be at a time.
        case busy = "image_url_busy"
        /// The caller was cancelled.
        case cancelled = "cancelled"
    }

    package let code: Code
    /// What follows "the address of the image": fit for whoever asked. It says nothing about the networks that this
    /// machine sees, nor which names they know.
    package let description: String
    /// For the log.
    package let details: String

    init(_ code: Code, _ description: String, details: String = "") {
        self.code = code
        self.description = description
        self.details = details
    }
}
