internal import SystemFiles

/// Which licences somebody agreed to, so that the question is asked once: a text file with a line for each model.
package struct AcceptedLicences: Sendable {
    private let path: String
    private static let limit = 1 << 20

    package init(_ settings: HubSettings) { path = "\(settings.stateFolder)/accepted-licences" }

    /// A licence by its repository, name and text: when one of them changes, it is another.
    private func line(_ repository: RepositoryName, _ plan: ModelPull.Plan) throws(HubError) -> String {
        let text = plan.licenceText ?? []
        let hasher = try ContentHasher(.sha256(""), size: text.count)
        text.withUnsafeBytes { hasher.add($0) }
        let name = plan.licence.name?.split(whereSeparator: \.isWhitespace).joined(separator: "-") ?? "none"
        return "\(repository) \(name) \(hasher.finish().digits)"
    }

    package func contains(_ repository: RepositoryName, _ plan: ModelPull.Plan) throws -> Bool {
        let line = try line(repository, plan)
        return System.text(path, limit: Self.limit)?.split(separator: "\n").contains { $0 == line } ?? false
    }

    package func add(_ repository: RepositoryName, _ plan: ModelPull.Plan) throws {
        guard try !contains(repository, plan) else { return }
        let line = try line(repository, plan)
        let known = System.text(path, limit: Self.limit)
        // What cannot be read is not replaced.
        guard known != nil || System.information(path, followsLinks: false) == nil else { return }
        try System.makeFolders(parent(of: path))
        try System.write((known ?? "") + line + "\n", to: path)
    }
}
