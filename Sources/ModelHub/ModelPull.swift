internal import StrictJSON

/// Downloads a model of a hub: first a plan, which costs some kilobytes and which somebody may look at, then the files.
package struct ModelPull: Sendable {
    package let settings: HubSettings
    package let repository: RepositoryName
    package let revision: String
    /// Patterns of a shell in place of what a model needs.
    package var include: [String] = []
    /// A folder for the files themselves, in place of the cache.
    package var localFolder: String?
    /// Looks at config.json and says why its model cannot be run, or nil.
    package var examine: @Sendable ([UInt8]) -> String? = { _ in nil }

    package init(_ repository: RepositoryName, revision: String = "main", settings: HubSettings)
        throws(HubError)
    {
        self.repository = repository
        self.settings = settings
        self.revision = try Revision.checked(revision)
    }

    /// What is going to be downloaded.
    package struct Plan: Sendable {
        package let commit: String
        package let licence: Licence
        /// The licence's text in the repository, if there is one.
        package let licenceText: [UInt8]?
        /// Where a browser shows that text.
        package let licencePage: String?
        package let files: [RepositoryFile]
        /// Bytes of all files.
        package let bytes: Int
        /// Bytes that are not there yet.
        package let missing: Int
    }

    /// What was done.
    package struct Outcome: Sendable {
        package let folder: String
        package let downloaded: Int
    }

    package enum Event: Sendable {
        /// Files that are there are read, to see whether they are whole.
        case checking(String)
        /// Another process downloads this file.
        case waiting(String)
        /// Bytes that are there, of all.
        case progress(Int, of: Int)
    }

    private var destination: any DownloadDestination {
        if let localFolder { return FolderDestination(localFolder, repository: repository) }
        return CacheDestination(cache: HubCache(settings.cache), repository: repository)
    }

    // MARK: The plan

    package func plan() async throws -> Plan {
        try await Cancellation.onThread { try plan($0) }
    }

    func plan(_ cancellation: Cancellation) throws -> Plan {
        guard !settings.isOffline else {
            throw HubError(
                .usage,
                "HF_HUB_OFFLINE is set, so \(repository) is not asked for; unset it, or use what 'fastvlm list' shows"
            )
        }
        let client = HubClient(settings, cancellation)
        let details = try client.details(repository, revision: revision)
        let all = try client.files(repository, commit: details.commit)
        var files = FileSelection.matching(all, include)
        if include.isEmpty {
            if let refusal = FileSelection.refusal(all, of: repository) { throw refusal }
            try checkConfiguration(files, client, details.commit)
            files = try withoutStrayWeights(files, client, details.commit)
        } else if files.isEmpty {
            throw HubError(
                .usage, "\(repository) has no file like \(include.map { "'\($0)'" }.joined(separator: ", "))")
        }
        let licence = FileSelection.licence(all)
        let licenceText = try licence.map { try client.content($0, of: repository, commit: details.commit) }
        // Small files first: what is wrong with them shows before the large ones.
        files.sort { ($0.size, $0.path) < ($1.size, $1.path) }
        let (destination, bytes) = (destination, files.reduce(0) { $0 + $1.size })
        return Plan(
            commit: details.commit, licence: details.licence, licenceText: licenceText,
            licencePage: licence.map {
                "\(settings.endpoint)/\(repository)/blob/\(details.commit)/\(WebLocation.escaped($0.path))"
            }, files: files,
            bytes: bytes, missing: bytes - files.reduce(0) { $0 + min(destination.bytes(of: $1), $1.size) })
    }

    private func checkConfiguration(_ files: [RepositoryFile], _ client: HubClient, _ commit: String) throws {
        guard let file = files.first(where: { $0.path == "config.json" }), file.size <= 4 << 20 else {
            return
        }
        let bytes = try client.content(file, of: repository, commit: commit)
        if let reason = examine(bytes) {
            throw HubError(
                .unusable,
                "\(repository) cannot be run: \(reason); nothing was downloaded. What works: a FastVLM repository such as "
                    + ShortNames.example)
        }
    }

    /// Where an index says which weights belong to the model, only these.
    private func withoutStrayWeights(
        _ files: [RepositoryFile], _ client: HubClient, _ commit: String
    ) throws -> [RepositoryFile] {
        let weights = files.filter { $0.path.hasSuffix(".safetensors") }
        guard let file = files.first(where: { $0.path == FileSelection.index }), weights.count > 1 else {
            return files
        }
        let bytes = try client.content(file, of: repository, commit: commit)
        let document = bytes.withUnsafeBytes {
            try? JSONParser.parse($0, limits: JSONLimits(depth: 8, elements: 10_000, members: 200_000))
        }
        // What is wrong with an index is said when the model is loaded.
        guard let members = document?["weight_map"]?.object?.members else { return files }
        let names = Set(members.compactMap(\.value.string))
        let missing = names.subtracting(weights.map(\.path))
        guard missing.isEmpty else {
            throw HubError(
                .unusable,
                "\(repository) is not complete: its index names \(printable(missing.sorted().prefix(3).joined(separator: ", ")))"
                    + ", which it does not have; nothing was downloaded")
        }
        return FileSelection.following(index: names, files)
    }

    // MARK: The files

    /// Downloads what is missing, and checks what is there.
    package func run(_ plan: Plan, event: @escaping @Sendable (Event) -> Void = { _ in }) async throws
        -> Outcome
    {
        try await Cancellation.onThread { try run(plan, $0, event) }
    }

    func run(_ plan: Plan, _ cancellation: Cancellation, _ event: (Event) -> Void) throws -> Outcome {
        let destination = destination
        if let available = System.availableBytes(destination.root),
            available < plan.missing + Self.reservedBytes
        {
            throw HubError(
                .storage,
                "\(repository) needs \(byteCount(plan.missing)) more in '\(destination.root)', and \(byteCount(available)) are free; "
                    + "remove something, or choose another destination with HF_HUB_CACHE or --local-dir")
        }
        try destination.prepare(plan.commit)
        let client = HubClient(settings, cancellation)
        let transfer = FileTransfer(client: client, repository: repository, commit: plan.commit)
        var (done, downloaded) = (0, 0)
        for file in plan.files {
            try cancellation.check()
            let lock = try FileLock(destination.lock(file), cancellation) { event(.waiting(file.path)) }
            defer { withExtendedLifetime(lock) {} }
            if destination.holds(file), try isWhole(file, destination, cancellation, event) {
                done += file.size
            } else {
                try destination.checkReplacing(file, cancellation)
                let partial = try PartialFile(destination.partial(file), file, cancellation)
                done += partial.count
                event(.progress(done, of: plan.bytes))
                try transfer.run(file, into: partial, name: destination.path(file)) { count in
                    done += count
                    downloaded += max(count, 0)
                    event(.progress(done, of: plan.bytes))
                }
            }
            try destination.publish(file, plan.commit)
            event(.progress(done, of: plan.bytes))
        }
        try destination.finish(revision, plan.commit)
        return Outcome(folder: destination.result(plan.commit), downloaded: downloaded)
    }

    /// Kept free on the disk.
    private static let reservedBytes = 16 << 20

    /// Whether a file that is there has the right bytes. The Python client looks at sizes only.
    private func isWhole(
        _ file: RepositoryFile, _ destination: any DownloadDestination, _ cancellation: Cancellation,
        _ event: (Event) -> Void
    ) throws -> Bool {
        event(.checking(file.path))
        return try ContentHasher.matches(destination.path(file), file, cancellation)
    }
}

/// A number of bytes for people.
package func byteCount(_ bytes: Int) -> String {
    func rounded(_ unit: Int, _ name: String) -> String {
        let tenths = (bytes * 10 + unit / 2) / unit
        return tenths < 100 ? "\(tenths / 10).\(tenths % 10) \(name)" : "\(tenths / 10) \(name)"
    }
    return switch bytes {
    case ..<1000: "\(max(bytes, 0)) bytes"
    case ..<1_000_000: rounded(1000, "kB")
    case ..<1_000_000_000: rounded(1_000_000, "MB")
    default: rounded(1_000_000_000, "GB")
    }
}
