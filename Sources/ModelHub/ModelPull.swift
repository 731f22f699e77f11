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
        package let terms: Terms
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
        /// A file of an archive.
        case unpacking(String)
    }

    private var destination: any DownloadDestination {
        if let localFolder { return FolderDestination(localFolder, repository: repository) }
        return CacheDestination(cache: HubCache(settings.folders.cache), repository: repository)
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
        let client = try HubClient(settings, cancellation)
        let details = try client.details(repository, revision: revision)
        let all = try client.files(repository, commit: details.commit)
        var files = FileSelection.matching(all, include)
        if include.isEmpty {
            if let (reason, advice) = FileSelection.refusal(all.map(\.path)) {
                throw HubError(.unusable, "\(repository) \(reason); nothing was downloaded. \(advice)")
            }
            try checkConfiguration(files, client, details.commit)
            try checkTower(all, files, client, details.commit)
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
            commit: details.commit,
            terms: Terms(
                subject: "\(repository)", licence: details.licence, text: licenceText,
                page: licence.map {
                    "\(settings.endpoint)/\(repository)/blob/\(details.commit)/\(WebLocation.escaped($0.path))"
                }), files: files,
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
                "\(repository) cannot be run: \(reason); nothing was downloaded. \(FileSelection.advice)")
        }
    }

    /// Exports for Apple's devices have their vision tower for Core ML, and only the decoder in safetensors.
    private func checkTower(
        _ all: [RepositoryFile], _ files: [RepositoryFile], _ client: HubClient, _ commit: String
    ) throws {
        guard let tower = FileSelection.coreMLModel(all.map(\.path)) else { return }
        let names: Set<String>?
        if let index = files.first(where: { $0.path == FileSelection.index }) {
            names = FileSelection.tensors(inIndex: try client.content(index, of: repository, commit: commit))
        } else if let weights = files.first(where: { $0.path.hasSuffix(".safetensors") }) {
            let beginning = try client.beginning(of: weights, of: repository, commit: commit) { bytes in
                bytes.count >= 8 && bytes.count >= FileSelection.headerBytes(ofWeights: bytes) ?? 0
            }
            names = FileSelection.tensors(inWeights: beginning)
        } else {
            names = nil
        }
        if let names, !FileSelection.hasVisionTower(names) {
            throw HubError(
                .unusable,
                "\(repository) \(FileSelection.towerReason(tower)); nothing was downloaded. \(FileSelection.advice)"
            )
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
        // What is wrong with an index is said when the model is loaded.
        guard let names = FileSelection.files(inIndex: bytes) else { return files }
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

    func run(_ plan: Plan, _ cancellation: Cancellation, _ event: @escaping (Event) -> Void) throws -> Outcome
    {
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
        let client = try HubClient(settings, cancellation)
        var (done, downloaded) = (0, 0)
        for file in plan.files {
            try cancellation.check()
            let lock = try FileLock(destination.lock(file), cancellation) { event(.waiting(file.path)) }
            defer { withExtendedLifetime(lock) {} }
            if destination.holds(file), try isWhole(file, destination, cancellation, event) {
                done += file.size
            } else {
                try destination.checkReplacing(file, cancellation)
                var transfer = FileTransfer(client: client)
                transfer.checking = { event(.checking(file.path)) }
                transfer.received = { count in
                    done += count
                    downloaded += max(count, 0)
                    event(.progress(done, of: plan.bytes))
                }
                let start = try client.location(repository, commit: plan.commit, path: file.path)
                try transfer.run(
                    RemoteFile(file, at: start, of: repository, commit: plan.commit),
                    FileTransfer.Places(
                        partial: destination.partial(file), parts: destination.parts(file),
                        complete: destination.path(file))
                ) { count in
                    done += count
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
    static let reservedBytes = 16 << 20

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
