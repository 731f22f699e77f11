import CommandInput
import FastVLM
import FastVLMEmbedded
import Foundation
import ModelHub

/// What `--model` and its like may name: a folder, a model of a hub by its repository (`owner/name`, with `@revision`) or
/// its short name, found in the hub's cache, or an archive that was pulled, by its address or its name. A folder of that
/// name goes first.
enum ModelName {
    enum Meaning {
        case folder(URL)
        /// Of a hub, and not in the cache.
        case absent(RepositoryName, revision: String)
        case absentArchive(ArchiveAddress)
    }

    static func meaning(_ name: String) throws -> Meaning {
        let text = ByteText.shown(name)
        let url = URL(filePath: text)
        var information = stat()
        guard lstat(url.path, &information) != 0 else { return .folder(url) }
        let folders = HubFolders(environment: ProcessInfo.processInfo.environment)
        if ArchiveAddress.isMeant(text) {
            let address = try ArchiveAddress(text)
            guard let model = ArchiveCache(folders).model(address.name), model.address == "\(address)" else {
                return .absentArchive(address)
            }
            return .folder(URL(filePath: model.folder))
        }
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        guard let repository = ShortNames.repository(String(parts[0])) else {
            return .folder(ArchiveCache(folders).model(text).map { URL(filePath: $0.folder) } ?? url)
        }
        let revision = try Revision.checked(parts.count > 1 ? String(parts[1]) : "main")
        guard let folder = HubCache(folders.cache).modelFolder(repository, revision: revision) else {
            return .absent(repository, revision: revision)
        }
        return .folder(URL(filePath: folder))
    }

    /// - Parameter tower: likewise, for a checkpoint without a vision tower of its own
    /// - Throws: `CommandFailure` that says how to download what is not there.
    static func source(_ name: String, tower: String? = nil) throws -> ModelSource {
        .directory(try folder(name), visionTower: try tower.map(folder))
    }

    private static func folder(_ name: String) throws -> URL {
        do {
            switch try meaning(name) {
            case .folder(let url): return url
            case .absent(let repository, let revision): throw absence(name, repository, revision)
            case .absentArchive(let address): throw absence(address)
            }
        } catch let error as HubError {
            throw CommandFailure(error)
        }
    }

    private static func absence(
        _ name: String, _ repository: RepositoryName, _ revision: String
    ) -> CommandFailure {
        let command = "fastvlm pull \(repository)" + (revision == "main" ? "" : " --revision \(revision)")
        return CommandFailure(
            .model,
            "there is no folder '\(ByteText.shown(name))', and no such model in the hub's cache; check the path, or "
                + "download it: \(command)")
    }

    private static func absence(_ address: ArchiveAddress) -> CommandFailure {
        CommandFailure(.model, "the archive \(address) is not here; download it: fastvlm pull \(address)")
    }

    /// Asks whoever sits at a terminal whether to download a model that is not there, and does it.
    static func fetchIfMissing(_ name: String?) async throws {
        guard let name, Terminal.canAsk else { return }
        do {
            let session = PullSession(isQuiet: false, accepts: false, asksFirst: true)
            let environment = ProcessInfo.processInfo.environment
            switch try meaning(name) {
            case .folder: return
            case .absent(let repository, let revision):
                let settings = try HubSettings(environment: environment)
                // It may be a path that was mistyped, which is nobody else's business.
                Terminal.note(
                    "There is no folder '\(ByteText.shown(name))', and no such model in the hub's cache.")
                guard Terminal.confirms("Look for \(repository) at \(settings.endpoint)?") else {
                    throw absence(name, repository, revision)
                }
                _ = try await session.run(ModelPull(repository, revision: revision, settings: settings))
            case .absentArchive(let address):
                _ = try await session.run(
                    ArchivePull(address, settings: HubSettings(environment: environment)))
            }
        } catch let error as HubError {
            throw CommandFailure(error)
        }
    }
}

extension CommandFailure {
    init(_ error: HubError) {
        switch error.kind {
        case .usage: self.init(.usage, error.description)
        case .hub, .access, .unusable, .damaged: self.init(.model, error.description)
        case .storage: self.init(.output, error.description)
        }
    }
}
