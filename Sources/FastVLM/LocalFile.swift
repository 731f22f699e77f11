#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The path of a file or folder on this machine.
///
/// `URL.path` of a web address is the path on its server, which may well exist here too: the wrong file would be read
/// without a word.
/// - Parameters:
///   - what: for the message, as "an image".
///   - code: of the error.
/// - Throws: `FastVLMError` for an address of another scheme than `file`.
func localFile(_ url: URL, what: String, code: FastVLMError.Code) throws -> URL {
    guard let scheme = url.scheme, !url.isFileURL else { return url }
    throw FastVLMError(
        code,
        "\(url.absoluteString.prefix(200)): \(what) must be a file of this machine, got an address with the scheme "
            + "\"\(scheme)\"; download it first, and name the file with URL(filePath:)")
}
