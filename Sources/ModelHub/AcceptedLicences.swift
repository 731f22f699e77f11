internal import SystemFiles

/// Which licences somebody agreed to, so that the question is asked once: a text file with a line for each model.
package struct AcceptedLicences: Sendable {
    private let path: String
    private static let limit = 1 << 20

    package init(_ settings: HubSettings) { path = "\(settings.folders.state)/accepted-licences" }

    /// A licence by its model, name and text: when one of them changes, it is another.
    private func line(_ terms: Terms) throws(HubError) -> String {
        let text = terms.text ?? []
        let hasher = try ContentHasher(.sha256(""), size: text.count)
        text.withUnsafeBytes { hasher.add($0) }
        let name = terms.licence.name?.split(whereSeparator: \.isWhitespace).joined(separator: "-") ?? "none"
        return "\(terms.subject) \(name) \(hasher.finish().digits)"
    }

    package func contains(_ terms: Terms) throws -> Bool {
        let line = try line(terms)
        return System.text(path, limit: Self.limit)?.split(separator: "\n").contains { $0 == line } ?? false
    }

    package func add(_ terms: Terms) throws {
        guard try !contains(terms) else { return }
        let line = try line(terms)
        let known = System.text(path, limit: Self.limit)
        // What cannot be read is not replaced.
        guard known != nil || System.information(path, followsLinks: false) == nil else { return }
        try System.makeFolders(parent(of: path))
        try System.write((known ?? "") + line + "\n", to: path)
    }
}
