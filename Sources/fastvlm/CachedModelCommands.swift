import ArgumentParser
import Checkpoints
import CommandInput
import Foundation
import ModelHub
import SystemFiles

/// The cache of this user's environment.
private func hubCache() throws -> HubCache {
    HubCache(try HubSettings(environment: ProcessInfo.processInfo.environment).cache)
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
        abstract: "List the models in the hub's cache that can be run.")

    @Flag(help: "List other models too.")
    var all = false

    @Flag(help: "One JSON array on stdout.")
    var json = false

    private struct Line: Encodable {
        let name: String
        let folder: String
        let commit: String?
        let bytes: Int
        let unfinishedBytes: Int
        let isReady: Bool
    }

    func run() async throws {
        let (all, json) = (all, json)
        try await running {
            let cache = try hubCache()
            let lines = try cache.models().compactMap { model -> Line? in
                let isRunnable = Self.isRunnable(model)
                guard all || isRunnable || model.unfinished > 0 else { return nil }
                return Line(
                    name: "\(model.repository)", folder: model.folder,
                    commit: cache.commit(model.repository, "main"), bytes: model.bytes,
                    unfinishedBytes: model.unfinished, isReady: isRunnable)
            }
            if json { return try Terminal.json(lines, pretty: true) }
            if lines.isEmpty {
                return Terminal.note("There is no model in \(cache.root); download one: fastvlm pull NAME")
            }
            let width = lines.map(\.name.count).max() ?? 0
            for line in lines {
                let state =
                    line.isReady ? "" : line.unfinishedBytes > 0 ? "  not complete" : "  cannot be run"
                try Terminal.answer(
                    "\(line.name.padding(toLength: width + 2, withPad: " ", startingAt: 0))"
                        + "\(byteCount(line.bytes))  \(line.commit?.prefix(8) ?? "-")\(state)",
                    terminator: "\n")
            }
        }
    }

    static func isRunnable(_ model: CachedModel) -> Bool {
        guard let folder = model.modelFolder,
            let bytes = try? BoundedFile.read("\(folder)/config.json", limit: 4 << 20, regularOnly: true)
        else { return false }
        return CheckpointFolder.refusal(configuration: bytes) == nil
    }
}

struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a model in the hub's cache: where it is, its revisions and files.",
        discussion:
            "What is in its files: fastvlm inspect NAME; what is wrong with them: fastvlm doctor NAME.")

    @Argument(help: "The repository, owner/name, or a short name.")
    var name: String

    @Flag(help: "One JSON object on stdout.")
    var json = false

    private struct File: Encodable {
        let path: String
        let bytes: Int
    }

    private struct Report: Encodable {
        let name: String
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
            let (cache, repository) = (try hubCache(), try repository(name))
            guard let model = cache.cachedModel(repository) else {
                throw CommandFailure(
                    .model,
                    "there is no \(repository) in \(cache.root); download it: fastvlm pull \(repository)")
            }
            let files = model.modelFolder.map { folder in
                ((try? BoundedFile.names(inFolder: folder)) ?? []).sorted().map { file in
                    let path = URL(filePath: "\(folder)/\(file)").resolvingSymlinksInPath().path
                    let size = (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int
                    return File(path: file, bytes: size ?? 0)
                }
            }
            let report = Report(
                name: "\(repository)", folder: model.folder, bytes: model.bytes,
                unfinishedBytes: model.unfinished,
                revisions: Dictionary(model.references.map { ($0.name, $0.commit) }) { $1 },
                commits: model.commits, model: model.modelFolder, files: files ?? [])
            if json { return try Terminal.json(report, pretty: true) }
            var lines = [
                "name         \(report.name)", "cache        \(report.folder), \(byteCount(report.bytes))",
                "model        \(report.model ?? "none: download it with 'fastvlm pull \(report.name)'")",
            ]
            if report.unfinishedBytes > 0 {
                lines.append("not complete \(byteCount(report.unfinishedBytes)) of unfinished downloads")
            }
            lines += model.references.map { "revision     \($0.name) is \($0.commit)" }
            lines += report.files.map { "file         \($0.path), \(byteCount($0.bytes))" }
            try Terminal.answer(lines.joined(separator: "\n"), terminator: "\n")
        }
    }
}

struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Remove a model from the hub's cache.",
        discussion: "The cache is shared with the hub's Python client: what is removed is gone for it too.")

    @Argument(help: "The repository, owner/name, or a short name.")
    var name: String

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    func run() async throws {
        let (name, yes) = (name, yes)
        try await running {
            let (cache, repository) = (try hubCache(), try repository(name))
            guard let model = cache.cachedModel(repository) else {
                throw CommandFailure(
                    .usage, "there is no \(repository) in \(cache.root); 'fastvlm list' shows what is there")
            }
            if !yes {
                guard Terminal.canAsk else {
                    throw CommandFailure(
                        .usage,
                        "rm asks before it removes \(repository), and stdin or stderr is not a terminal; give --yes"
                    )
                }
                guard Terminal.confirms("Remove \(model.folder) (\(byteCount(model.bytes)))?") else {
                    throw CommandFailure(.usage, "nothing was removed")
                }
            }
            try cache.remove(repository)
            Terminal.note("removed \(repository), \(byteCount(model.bytes))")
        }
    }
}
