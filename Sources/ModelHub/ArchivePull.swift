internal import SystemFiles

/// Downloads a model's zip archive and unpacks what a model needs.
package struct ArchivePull: Sendable {
    package let settings: HubSettings
    package let address: ArchiveAddress
    /// Looks at config.json and says why its model cannot be run, or nil.
    package var examine: @Sendable ([UInt8]) -> String? = { _ in nil }

    package init(_ address: ArchiveAddress, settings: HubSettings) {
        self.address = address
        self.settings = settings
    }

    /// What is going to be downloaded.
    package struct Plan: Sendable {
        /// Of the archive.
        package let bytes: Int
        /// Bytes that are not there yet; none where the model is.
        package let missing: Int
        package let terms: Terms
        /// What tells this archive from an earlier or a later one.
        let state: String
        let isThere: Bool
    }

    package struct Outcome: Sendable {
        package let folder: String
        package let files: [String]
        package let downloaded: Int
    }

    private var cache: ArchiveCache { ArchiveCache(settings.folders) }

    // MARK: The plan

    package func plan() async throws -> Plan {
        try await Cancellation.onThread { try plan($0) }
    }

    func plan(_ cancellation: Cancellation) throws -> Plan {
        if let refusal = address.refusal { throw refusal }
        guard !settings.isOffline else {
            throw HubError(
                .usage,
                "HF_HUB_OFFLINE is set, so \(address) is not asked for; unset it, or use what 'fastvlm list' shows"
            )
        }
        let client = try HubClient(settings, cancellation)
        let head = try client.head(of: address.location)
        guard let bytes = head.part?.whole ?? head.length, (1...RepositoryFile.largest).contains(bytes) else {
            throw HubError(
                .hub,
                "\(address.location.origin.host) does not say how large the archive is; download it by hand")
        }
        let state = try Self.state(
            "\(address) \(bytes) \(head.fields["etag"] ?? head.fields["last-modified"] ?? "")")
        let download = cache.download(address.name, state: state)
        let isThere = source(state) == System.text("\(cache.folder(address.name))/\(ArchiveCache.sourceName)")
        let known =
            isThere
            ? bytes
            : System.information(download)?.size ?? FileInParts.bytesThere(
                download + ".parts.incomplete", size: bytes)
                ?? System.information(download + ".incomplete", followsLinks: false)?.size ?? 0
        return Plan(
            bytes: bytes, missing: bytes - min(known, bytes),
            terms: Terms(subject: "\(address)", licence: address.licence, text: nil, page: nil), state: state,
            isThere: isThere)
    }

    /// Sixteen digits.
    private static func state(_ text: String) throws -> String {
        let bytes = Array(text.utf8)
        let hasher = try ContentHasher(.sha256(""), size: bytes.count)
        bytes.withUnsafeBytes { hasher.add($0) }
        return String(hasher.finish().digits.prefix(16))
    }

    private func source(_ state: String) -> String { "\(address)\n\(state)\n" }

    // MARK: The files

    package func run(
        _ plan: Plan, event: @escaping @Sendable (ModelPull.Event) -> Void = { _ in }
    ) async throws -> Outcome {
        try await Cancellation.onThread { try run(plan, $0, event) }
    }

    func run(
        _ plan: Plan, _ cancellation: Cancellation, _ event: @escaping (ModelPull.Event) -> Void
    ) throws -> Outcome {
        let (cache, name) = (cache, address.name)
        let lock = try FileLock(cache.lock(name), cancellation) { event(.waiting("\(name).zip")) }
        defer { withExtendedLifetime(lock) {} }
        let folder = cache.folder(name)
        if System.text("\(folder)/\(ArchiveCache.sourceName)") == source(plan.state) {
            return try outcome(folder, downloaded: 0)
        }
        guard System.information(folder, followsLinks: false) == nil || cache.model(name) != nil else {
            throw HubError(
                .storage, "'\(folder)' is in the way and was not downloaded; look into it and move it away")
        }
        let archive = cache.download(name, state: plan.state)
        // Of archives that were there before.
        for file in cache.downloads(of: name) where !file.hasPrefix(archive) { try System.remove(file: file) }
        let downloaded = try download(plan, to: archive, cancellation, event)
        event(.unpacking(name))
        do {
            try unpack(archive, plan, to: folder, cancellation, event)
        } catch let error as HubError where error.kind == .damaged || error.kind == .unusable {
            // Another attempt must not find it again.
            try System.remove(file: archive)
            throw error
        }
        try System.remove(file: archive)
        return try outcome(folder, downloaded: downloaded)
    }

    private func outcome(_ folder: String, downloaded: Int) throws -> Outcome {
        let names = (try? BoundedFile.names(inFolder: folder)) ?? []
        return Outcome(
            folder: folder, files: names.filter { !$0.hasPrefix(".") }.sorted(), downloaded: downloaded)
    }

    /// - Returns: how many bytes came.
    private func download(
        _ plan: Plan, to archive: String, _ cancellation: Cancellation,
        _ event: @escaping (ModelPull.Event) -> Void
    ) throws -> Int {
        if System.information(archive)?.size == plan.bytes { return 0 }
        // The archive, and about as much unpacked.
        try checkSpace(plan.missing + plan.bytes)
        let client = try HubClient(settings, cancellation)
        var (done, downloaded) = (0, 0)
        var transfer = FileTransfer(client: client)
        transfer.received = { count in
            done += count
            downloaded += max(count, 0)
            event(.progress(done, of: plan.bytes))
        }
        try transfer.run(
            RemoteFile(start: address.location, name: "what came from \(address)", size: plan.bytes),
            FileTransfer.Places(
                partial: archive + ".incomplete", parts: archive + ".parts.incomplete", complete: archive)
        ) { count in
            done += count
            event(.progress(done, of: plan.bytes))
        }
        return downloaded
    }

    private func checkSpace(_ bytes: Int) throws(HubError) {
        guard let available = System.availableBytes(cache.root), available < bytes + ModelPull.reservedBytes
        else {
            return
        }
        throw HubError(
            .storage,
            "\(address.name) needs \(byteCount(bytes)) in '\(cache.root)', and \(byteCount(available)) are free; remove "
                + "something, or choose another place with HF_HOME")
    }

    // MARK: Unpacking

    private func unpack(
        _ archive: String, _ plan: Plan, to folder: String, _ cancellation: Cancellation,
        _ event: (ModelPull.Event) -> Void
    ) throws {
        let contents = try ArchiveContents(try Self.entries(archive, cancellation), archiveBytes: plan.bytes)
        try checkSpace(contents.bytes)
        try examine(contents, archive)
        let temporary = "\(cache.root)/.unpacking-\(address.name)"
        // What a process left that was killed; nobody else has the lock.
        try System.remove(folder: temporary, in: cache.root)
        try System.makeFolders(temporary)
        do {
            var written: Set<String> = []
            let reader = try ZipArchive(archive)
            while let entry = try reader.next() {
                guard let size = contents.files[entry.path], written.insert(entry.path).inserted else {
                    continue
                }
                let name = String(entry.path.dropFirst(contents.folder.count))
                event(.unpacking(name))
                try Self.write(reader, size: size, to: "\(temporary)/\(name)", cancellation)
            }
            guard written.count == contents.files.count else { throw Self.changed }
            try System.write(source(plan.state), to: "\(temporary)/\(ArchiveCache.sourceName)")
            try System.remove(folder: folder, in: cache.root)
            try System.rename(temporary, to: folder)
        } catch {
            try? System.remove(folder: temporary, in: cache.root)
            throw error
        }
    }

    private static let changed = HubError(
        .damaged, "the archive has other files than its list says; it was thrown away: try again")

    private static func entries(_ archive: String, _ cancellation: Cancellation) throws -> [ZipArchive.Entry]
    {
        let reader = try ZipArchive(archive)
        var entries: [ZipArchive.Entry] = []
        while let entry = try reader.next() {
            try cancellation.check()
            entries.append(entry)
            guard entries.count <= ArchiveContents.mostEntries else {
                throw HubError(
                    .unusable,
                    "the archive has more than \(ArchiveContents.mostEntries) files; it is no model, and nothing was unpacked"
                )
            }
        }
        return entries
    }

    /// Looks at what says that a model cannot be run, before its weights are unpacked.
    private func examine(_ contents: ArchiveContents, _ archive: String) throws {
        let configuration = contents.folder + "config.json"
        if let size = contents.files[configuration], size <= 4 << 20 {
            let bytes = try Self.content(configuration, of: archive) { $0.count >= size }
            if let reason = examine(bytes) {
                throw HubError(.unusable, "\(address.name) cannot be run: \(reason); nothing was unpacked")
            }
        }
        guard let tower = FileSelection.coreMLModel(contents.paths) else { return }
        for path in contents.files.keys where path.hasSuffix(".safetensors") {
            let beginning = try Self.content(path, of: archive) { bytes in
                bytes.count >= 8 && bytes.count >= FileSelection.headerBytes(ofWeights: bytes) ?? 0
            }
            if FileSelection.tensors(inWeights: beginning).map(FileSelection.hasVisionTower) ?? true {
                return
            }
        }
        throw HubError(
            .unusable, "\(address.name) \(FileSelection.towerReason(tower)); nothing was unpacked")
    }

    /// The first bytes of a file, as many as it takes.
    private static func content(
        _ path: String, of archive: String, isEnough: ([UInt8]) -> Bool
    ) throws -> [UInt8] {
        let reader = try ZipArchive(archive)
        while let entry = try reader.next() {
            guard entry.path == path else { continue }
            var bytes: [UInt8] = []
            try withBuffer { buffer in
                while !isEnough(bytes), bytes.count <= HubClient.longestBeginning {
                    let count = try reader.read(into: buffer)
                    if count == 0 { break }
                    bytes += UnsafeRawBufferPointer(rebasing: buffer[..<count])
                }
            }
            return bytes
        }
        throw changed
    }

    private static func write(
        _ reader: ZipArchive, size: Int, to path: String, _ cancellation: Cancellation
    ) throws {
        let descriptor = try System.openForWriting(path, exclusively: true)
        defer { System.close(descriptor) }
        var written = 0
        try withBuffer { buffer in
            while true {
                try cancellation.check()
                let count = try reader.read(into: buffer)
                if count == 0 { break }
                // A list may say less than there is.
                guard count <= size - written else { throw changed }
                let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
                try System.write(bytes, at: written, descriptor, path)
                written += count
            }
        }
        guard written == size else { throw changed }
        try System.synchronize(descriptor, path)
    }

    private static func withBuffer(_ body: (UnsafeMutableRawBufferPointer) throws -> Void) throws {
        var bytes = [UInt8](repeating: 0, count: 1 << 18)
        try bytes.withUnsafeMutableBytes(body)
    }
}
