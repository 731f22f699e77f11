/// Where models and what belongs to them are on this machine, as the environment says.
package struct HubFolders: Sendable {
    /// `HF_HUB_CACHE`, else the older `HUGGINGFACE_HUB_CACHE`, else `hub` in `HF_HOME`, which is `huggingface` in
    /// `XDG_CACHE_HOME` or `~/.cache`.
    package let cache: String
    /// Models that came as archives: `fastvlm` in `HF_HOME`, of which the hub's other clients know nothing.
    package let archives: String
    /// `HF_TOKEN_PATH`, else `token` in `HF_HOME`.
    let tokenFile: String
    /// Where accepted licences are remembered, in `XDG_STATE_HOME` or `~/.local/state`.
    let state: String

    package init(environment: [String: String]) {
        func value(_ names: String...) -> String? {
            names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
        }
        let user = value("HOME") ?? "/"
        func expanded(_ path: String) -> String {
            var path = path == "~" || path.hasPrefix("~/") ? user + path.dropFirst() : path
            while path.count > 1, path.hasSuffix("/") { path.removeLast() }
            return path
        }
        let home = expanded(
            value("HF_HOME") ?? (value("XDG_CACHE_HOME") ?? user + "/.cache") + "/huggingface")
        cache = expanded(value("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE") ?? home + "/hub")
        archives = home + "/fastvlm"
        tokenFile = expanded(value("HF_TOKEN_PATH") ?? home + "/token")
        state = expanded(value("XDG_STATE_HOME") ?? user + "/.local/state") + "/fastvlm"
    }
}
