import ArgumentParser
import Checkpoints
import CommandInput
import Foundation
import ModelHub
import SystemFiles

/// Models on this machine, as the environment says.
private struct LocalModels {
    let hub: HubCache
    let archives: ArchiveCache

    init() {
        let folders = HubFolders(environment: ProcessInfo.processInfo.environment)
        hub = HubCache(folders.cache)
        archives = ArchiveCache(folders)
    }

    /// A model that came as an archive, by its name or its address.
    func archive(_ name: String) throws -> ArchiveCache.Model? {
        let text = ByteText.shown(name)
        return archives.model(ArchiveAddress.isMeant(text) ? try ArchiveAddress(text).name : text)
    }
}

private func repository(_ name: String) throws -> RepositoryName {
    guard let repository = ShortNames.repository(ByteText.shown(name)) else {
        throw CommandFailure(
            .usage,
            "'\(ByteText.shown(name))' is no model of a hub; write owner/name, as 'fastvlm list' shows it")
    }
    return repository
}

struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the downloaded models that can be run.")

    @Flag(help: "List other models too.")
    var all = false

    @Flag(help: "One JSON array on stdout.")
    var json = false

    private struct Line: Encodable {
        let name: String
        let folder: String
        let commit: String?
        /// Where an archive came from.
        let archive: String?
        let bytes: Int
        let unfinishedBytes: Int
        let isReady: Bool
    }

    func run() async throws {
        let (all, json) = (all, json)
        try await running {
            let local = LocalModels()
            var lines = try local.hub.models().map { model in
                Line(
                    name: "\(model.repository)", folder: model.folder,
                    commit: local.hub.commit(model.repository, "main"), archive: nil, bytes: model.bytes,
                    unfinishedBytes: model.unfinished,
                    isReady: model.modelFolder.map(Self.isRunnable) ?? false)
            }
            lines += local.archives.models.map { model in
                Line(
                    name: model.name, folder: model.folder, commit: nil, archive: model.address,
                    bytes: model.bytes, unfinishedBytes: 0, isReady: Self.isRunnable(model.folder))
            }
            lines = lines.filter { all || $0.isReady || $0.unfinishedBytes > 0 }
            if json { return try Terminal.json(lines, pretty: true) }
            if lines.isEmpty {
                return Terminal.note(
                    "There is no model in \(local.hub.root); download one: fastvlm pull NAME")
            }
            let width = lines.map(\.name.count).max() ?? 0
            for line in lines {
                let state =
                    line.isReady ? "" : line.unfinishedBytes > 0 ? "  not complete" : "  cannot be run"
                try Terminal.answer(
                    "\(line.name.padding(toLength: width + 2, withPad: " ", startingAt: 0))"
                        + "\(byteCount(line.bytes))  \(line.commit?.prefix(8) ?? line.archive?[...] ?? "-")\(state)",
                    terminator: "\n")
            }
        }
    }

    private static func isRunnable(_ folder: String) -> Bool {
        guard
            let bytes = try? BoundedFile.read("\(folder)/config.json", limit: 4 << 20, regularOnly: true)
        else { return false }
        return CheckpointFolder.refusal(configuration: bytes) == nil
    }
}

struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a downloaded model: where it is, its revisions and files.",
        discussion:
            "What is in its files: fastvlm inspect NAME; what is wrong with them: fastvlm doctor NAME.")

    @Argument(help: "The repository, owner/name, a short name, or the name of an archive.")
    var name: String

    @Flag(help: "One JSON object on stdout.")
    var json = false

    private struct File: Encodable {
        let path: String
        let bytes: Int
    }

    private struct Report: Encodable {
        let name: String
        var archive: String?
        let folder: String
        let bytes: Int
        let unfinishedBytes: Int
        let revisions: [String: String]
        let commits: [String]
        let model: String?
        let files: [File]
    }

    func run() async throws {
        let (name, json) = (name, json)
        try await running {
            let local = LocalModels()
            if let model = try local.archive(name) { return try Self.show(model, json: json) }
            let repository = try repository(name)
            guard let model = local.hub.cachedModel(repository) else {
                throw CommandFailure(
                    .model,
                    "there is no \(repository) in \(local.hub.root); download it: fastvlm pull \(repository)")
            }
            let report = Report(
                name: "\(repository)", folder: model.folder, bytes: model.bytes,
                unfinishedBytes: model.unfinished,
                revisions: Dictionary(model.references.map { ($0.name, $0.commit) }) { $1 },
                commits: model.commits, model: model.modelFolder,
                files: model.modelFolder.map(Self.files) ?? [])
            if json { return try Terminal.json(report, pretty: true) }
            var lines = [
                "name         \(report.name)", "cache        \(report.folder), \(byteCount(report.bytes))",
                "model        \(report.model ?? "none: download it with 'fastvlm pull \(report.name)'")",
            ]
            if report.unfinishedBytes > 0 {
                lines.append("not complete \(byteCount(report.unfinishedBytes)) of unfinished downloads")
            }
            lines += model.references.map { "revision     \($0.name) is \($0.commit)" }
            try Self.show(lines, report.files)
        }
    }

    private static func show(_ model: ArchiveCache.Model, json: Bool) throws {
        let report = Report(
            name: model.name, archive: model.address, folder: model.folder, bytes: model.bytes,
            unfinishedBytes: 0, revisions: [:], commits: [], model: model.folder, files: files(model.folder))
        if json { return try Terminal.json(report, pretty: true) }
        try show(
            [
                "name         \(model.name)", "archive      \(model.address)",
                "model        \(model.folder), \(byteCount(model.bytes))",
            ], report.files)
    }

    private static func show(_ lines: [String], _ files: [File]) throws {
        let lines = lines + files.map { "file         \($0.path), \(byteCount($0.bytes))" }
        try Terminal.answer(lines.joined(separator: "\n"), terminator: "\n")
    }

    private static func files(_ folder: String) -> [File] {
        let names = ((try? BoundedFile.names(inFolder: folder)) ?? []).filter { !$0.hasPrefix(".") }
        return names.sorted().map { file in
            let path = URL(filePath: "\(folder)/\(file)").resolvingSymlinksInPath().path
            let size = (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int
            return File(path: file, bytes: size ?? 0)
        }
    }
}

struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Remove a downloaded model.",
        discussion: "The cache is shared with the hub's Python client: what is removed is gone for it too.")

    @Argument(help: "The repository, owner/name, a short name, or the name of an archive.")
    var name: String

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    func run() async throws {
        let (name, yes) = (name, yes)
        try await running {
            let local = LocalModels()
            if let model = try local.archive(name) {
                try Self.confirm(model.name, model.folder, model.bytes, yes)
                try local.archives.remove(model.name)
                return Terminal.note("removed \(model.name), \(byteCount(model.bytes))")
            }
            let repository = try repository(name)
            guard let model = local.hub.cachedModel(repository) else {
                throw CommandFailure(
                    .usage,
                    "there is no \(repository) in \(local.hub.root); 'fastvlm list' shows what is there")
            }
            try Self.confirm("\(repository)", model.folder, model.bytes, yes)
            try local.hub.remove(repository)
            Terminal.note("removed \(repository), \(byteCount(model.bytes))")
        }
    }

    private static func confirm(_ name: String, _ folder: String, _ bytes: Int, _ yes: Bool) throws {
        if yes { return }
        guard Terminal.canAsk else {
            throw CommandFailure(
                .usage,
                "rm asks before it removes \(name), and stdin or stderr is not a terminal; give --yes")
        }
        guard Terminal.confirms("Remove \(folder) (\(byteCount(bytes)))?") else {
            throw CommandFailure(.usage, "nothing was removed")
        }
    }
}
