internal import SystemFiles

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Which hub, which cache, which token: what the environment says, under the names that the hub's Python client reads.
package struct HubSettings: Sendable {
    /// `HF_ENDPOINT`, without a slash at its end.
    package let endpoint: String
    let location: WebLocation
    package let folders: HubFolders
    /// `HF_TOKEN`, else the older `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH` or `token` in `HF_HOME`.
    let token: String?
    /// `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`.
    package let isOffline: Bool
    /// `HF_HUB_DOWNLOAD_TIMEOUT`: longest time without a byte.
    let stallSeconds: Int
    /// How long to wait before the attempt of a number, the first being 1.
    var pause: @Sendable (_ attempt: Int) -> Duration = { .seconds(min(1 << min($0 - 1, 5), 30)) }
    /// Attempts without a byte of progress before a transfer is given up.
    var attempts = 5
    /// A larger file comes in parts of so many bytes, several at once.
    var partBytes = 64 << 20

    /// - Parameter token: goes before those of the environment.
    /// - Throws: for an endpoint that is no address.
    package init(environment: [String: String], token given: String? = nil) throws(HubError) {
        let folders = HubFolders(environment: environment)
        func value(_ names: String...) -> String? {
            names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
        }
        func isTrue(_ name: String) -> Bool {
            ["1", "ON", "YES", "TRUE"].contains(environment[name]?.uppercased() ?? "")
        }
        var address = value("HF_ENDPOINT") ?? "https://huggingface.co"
        while address.hasSuffix("/") { address.removeLast() }
        guard let location = WebLocation(address), !address.contains("?") else {
            throw HubError(
                .usage,
                "HF_ENDPOINT is '\(printable(address))', which is not a web address; write https://host")
        }
        endpoint = address
        self.location = location
        self.folders = folders
        isOffline = isTrue("HF_HUB_OFFLINE") || isTrue("TRANSFORMERS_OFFLINE")
        stallSeconds =
            value("HF_HUB_DOWNLOAD_TIMEOUT").flatMap { Int($0) }.map { min(max($0, 1), 3600) } ?? 10
        let implicit =
            isTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN")
            ? nil
            : value("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
                ?? (try? BoundedFile.read(folders.tokenFile, limit: 4096, regularOnly: true))
                .map { String(decoding: $0, as: UTF8.self) }
        let token = (given ?? implicit).map { text in
            String(
                text.filter { !$0.isNewline }.drop(while: \.isWhitespace).reversed().drop(
                    while: \.isWhitespace
                ).reversed())
        }
        self.token = token?.isEmpty == false ? token : nil
    }

    /// What a token must be to stand in a header. Whoever sends none may have any.
    func checkToken() throws(HubError) {
        guard token?.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) != false, token?.utf8.count ?? 0 <= 4096
        else {
            throw HubError(
                .usage,
                "the access token has characters other than printable ASCII, or more than 4096; check --token, HF_TOKEN and "
                    + "the file that 'hf auth login' writes")
        }
    }
}
