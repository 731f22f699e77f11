/// A zip archive at an address of the web, as Apple publishes its checkpoints.
package struct ArchiveAddress: Sendable, Hashable, CustomStringConvertible {
    let location: WebLocation
    /// What its model is called on this machine: the archive's name without `.zip`.
    package let name: String

    package var description: String { location.shown }

    /// Whether somebody means an address.
    package static func isMeant(_ text: String) -> Bool {
        let text = text.prefix(8).lowercased()
        return text.hasPrefix("https://") || text.hasPrefix("http://")
    }

    /// - Throws: for what is no address of a zip archive, and for an address without encryption: nobody publishes a hash of
    ///   such an archive, so all that vouches for it is who sends it.
    package init(_ text: String) throws(HubError) {
        guard let location = WebLocation(text) else {
            throw HubError(
                .usage, "'\(printable(text))' is no address of the web; write https://host/name.zip")
        }
        let host = location.origin.host
        guard location.origin.isEncrypted || host == "localhost" || host.hasPrefix("127.") || host == "[::1]"
        else {
            throw HubError(
                .usage, "'\(location.shown)' is not encrypted, so anybody could have changed it; use https")
        }
        let file = location.shown.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
        guard file.lowercased().hasSuffix(".zip"), Self.isName(String(file.dropLast(4))) else {
            throw HubError(
                .usage,
                "'\(location.shown)' is no zip archive by its name; give the address of an archive (https://host/name.zip), "
                    + "or the name of a repository (owner/name)")
        }
        self.location = location
        name = String(file.dropLast(4))
    }

    /// Whether a model can be called so: a name of one folder, in plain characters.
    static func isName(_ text: String) -> Bool {
        (1...120).contains(text.utf8.count) && text.first != "." && text.first != "-"
            && text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
                    || "-_.".utf8.contains($0)
            }
    }

    private var isApples: Bool {
        [".apple.com", ".cdn-apple.com"].contains { location.origin.host.hasSuffix($0) }
    }

    /// Apple's archives name their licence on the page that links them only.
    var licence: Licence {
        isApples
            ? Licence(
                name: "apple-amlr", link: "https://github.com/apple/ml-fastvlm/blob/main/LICENSE_MODEL")
            : Licence(name: nil, link: nil)
    }

    /// Why the archive cannot be used, as far as its name tells.
    var refusal: HubError? {
        guard isApples, name.contains("_llm.") else { return nil }
        return HubError(
            .unusable,
            "\(name) is an export for Apple's devices, whose vision tower is for Core ML only; nothing was downloaded. What "
                + "works: the archives without '_llm', such as \(Self.example)")
    }

    package static let example =
        "https://ml-site.cdn-apple.com/datasets/fastvlm/llava-fastvithd_0.5b_stage3.zip"
}
