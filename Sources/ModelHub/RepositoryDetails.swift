internal import StrictJSON

/// What a hub says of a repository, beside its files.
package struct RepositoryDetails: Sendable, Hashable {
    /// 40 digits.
    package let commit: String
    package let licence: Licence

    init(commit: String, card: JSONValue) {
        self.commit = commit
        let tag = card["tags"]?.elements?.lazy.compactMap(\.string).first { $0.hasPrefix("license:") }
        let data = card["cardData"]
        let identifier = data?["license"]?.string ?? tag.map { String($0.dropFirst("license:".count)) }
        // "other" has its name beside it.
        let name = identifier == "other" ? data?["license_name"]?.string ?? identifier : identifier
        licence = Licence(
            name: name.map { printable($0, limit: 60) },
            link: data?["license_link"]?.string.flatMap { WebLocation($0)?.text })
    }
}

/// Under which licence a model is published, as its card says.
package struct Licence: Sendable, Hashable {
    /// The hub's identifier, such as `apple-amlr`; nil where the card names none.
    package let name: String?
    package let link: String?

    /// Licences that allow every use: nobody has to be asked.
    private static let open: Set<String> = [
        "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0", "unlicense", "cc-by-4.0",
    ]

    package var isOpen: Bool { name.map { Self.open.contains($0.lowercased()) } ?? false }

    /// What everybody should know before the download.
    package var summary: String {
        switch name?.lowercased() {
        case nil: "none is named; ask its authors before you use it"
        case "apple-amlr"?, "apple-ascl"?:
            "\(name ?? ""): Apple's licence for machine learning research; for research purposes only, no product, no service"
        case let name?: isOpen ? "\(name)" : "\(name): read it before you use the model"
        }
    }
}

/// Under which terms somebody gets a model.
package struct Terms: Sendable {
    /// The model: its repository's name, or an archive's address.
    package let subject: String
    package let licence: Licence
    /// The licence's text, where it comes along.
    package let text: [UInt8]?
    /// Where a browser shows that text.
    package let page: String?
}
