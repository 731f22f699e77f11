internal import CheckpointFiles
internal import SystemFiles

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// Finds the folder of a model, or of an adapter, in what a person names: the folder itself, or one of a Hugging Face
/// cache.
package enum CheckpointFolder {
    /// - Parameter marker: the file by which the folder is known.
    /// - Returns: the folder with that file; `url` itself where it is one.
    /// - Throws: `CheckpointError` that says what is there instead, and what to name.
    package static func resolve(_ url: URL, marker: String = "config.json") throws(CheckpointError) -> URL {
        switch FilePresence(path: url.path) {
        case .folder: break
        case .absent:
            throw .notACheckpoint(
                path: url.path, reason: "there is no such folder", advice: absentAdvice(url))
        case .file: throw named(file: url, marker)
        case .brokenLink(let target): throw .brokenLink(path: url.path, target: target)
        case .special:
            throw .notACheckpoint(
                path: url.path, reason: "expected a folder, found a pipe or device",
                advice: "name the folder with \(marker) and the weights")
        case .unknown(let reason): throw .unreadableFile(path: url.path, reason: reason)
        }
        guard FilePresence(path: url.appending(path: marker).path) == .absent else { return url }
        let names = try FileAccess.names(in: url)
        if names.contains("snapshots") { return try cached(url, marker) }
        if url.lastPathComponent == "snapshots", names.count == 1, has(marker, url.appending(path: names[0]))
        {
            return url.appending(path: names[0])
        }
        if marker == "config.json" { try explain(url, names) }
        return url
    }

    /// The folder of an adapter, likewise.
    package static func resolve(adapter url: URL) throws(CheckpointError) -> URL {
        try resolve(url, marker: LowRankAdapter.configurationFile)
    }

    /// Why a model with this config.json cannot be run, whatever its other files hold; nil where it may be.
    package static func refusal(configuration bytes: [UInt8]) -> String? {
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(CheckpointError) in try ConfigurationFiles.check(root: bytes) }
        }
        if case .failure(let error) = result { return error.description }
        return nil
    }

    private static func has(_ marker: String, _ url: URL) -> Bool {
        FilePresence(path: url.appending(path: marker).path) != .absent
    }

    private static func absentAdvice(_ url: URL) -> String {
        // What people copy from a hub's page: one slash, no folder of that name.
        let parts = url.relativePath.split(separator: "/", omittingEmptySubsequences: false)
        let looksLikeRepository = parts.count == 2 && !parts.contains { $0.isEmpty || $0.hasPrefix(".") }
        return looksLikeRepository
            ? "if this is a repository of a hub, download it first (\"fastvlm pull \(url.relativePath)\")"
            : "check the path"
    }

    /// A file where a folder should be.
    private static func named(file url: URL, _ marker: String) -> CheckpointError {
        let folder = url.deletingLastPathComponent()
        let name = url.lastPathComponent
        if !ForeignWeights.among([name]).isEmpty {
            return .notACheckpoint(
                path: url.path, reason: "expected a folder, found a file of weights in another format",
                advice: ForeignWeights.advice([name]))
        }
        let advice =
            has(marker, folder)
            ? "name the folder that it is in: \(folder.path)"
            : "name the folder with \(marker) and the weights"
        return .notACheckpoint(path: url.path, reason: "expected a folder, found a file", advice: advice)
    }

    // MARK: Hugging Face's cache

    /// `models--org--name`: refs/main names the commit, snapshots/<commit> is the folder.
    private static func cached(_ url: URL, _ marker: String) throws(CheckpointError) -> URL {
        let snapshots = url.appending(path: "snapshots")
        let commits = try FileAccess.names(in: snapshots).filter { !$0.hasPrefix(".") }
        let reference = url.appending(path: "refs/main")
        func fault(_ reason: String, _ advice: String) -> CheckpointError {
            .notACheckpoint(path: url.path, reason: reason, advice: advice)
        }
        if try FileAccess.isPresent(reference) {
            let commit = try self.commit(reference)
            let folder = snapshots.appending(path: commit)
            guard FilePresence(path: folder.path) == .folder else {
                throw fault(
                    "refs/main names the snapshot \(commit), which is not in snapshots",
                    commits.isEmpty
                        ? "download the model again"
                        : "download the model again, or name a snapshot: "
                            + commits.prefix(4).map { "snapshots/\($0)" }.joined(separator: ", "))
            }
            guard has(marker, folder) else {
                throw fault(
                    "the snapshot \(commit) has no \(marker)", "download the model again: it is incomplete")
            }
            return folder
        }
        let models = commits.filter { has(marker, snapshots.appending(path: $0)) }
        guard models.count == 1 else {
            throw fault(
                models.isEmpty
                    ? "there is no snapshot with \(marker), and no refs/main"
                    : "there are \(models.count) snapshots and no refs/main that chooses one",
                models.isEmpty
                    ? "download the model again"
                    : "name one of them: "
                        + models.prefix(4).map { "snapshots/\($0)" }.joined(separator: ", "))
        }
        return snapshots.appending(path: models[0])
    }

    /// A commit's name: it becomes part of a path, so it is letters and digits only.
    private static func commit(_ reference: URL) throws(CheckpointError) -> String {
        let text: String
        do {
            let bytes = try BoundedFile.read(reference.path, limit: 4096, regularOnly: true)
            text = String(decoding: bytes, as: UTF8.self)
        } catch {
            throw .unreadableFile(path: reference.path, reason: error.reason)
        }
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 1, let commit = words.first, commit.count <= 128,
            commit.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) })
        else {
            throw .notACheckpoint(
                path: reference.path, reason: "expected the name of a commit, found other text",
                advice: "download the model again, or name a folder in snapshots")
        }
        return String(commit)
    }

    // MARK: Folders without config.json

    /// Says what a folder is that has no config.json, where that can be seen.
    private static func explain(_ url: URL, _ names: [String]) throws(CheckpointError) {
        let caches = names.filter { $0.hasPrefix("models--") }
        if !caches.isEmpty {
            throw .notACheckpoint(
                path: url.path, reason: "this is a cache of several models, not a model",
                advice: "name one of its folders: " + caches.prefix(4).joined(separator: ", ")
                    + (caches.count > 4 ? " …" : ""))
        }
        if names.contains("hub"), FilePresence(path: url.appending(path: "hub").path) == .folder {
            throw .notACheckpoint(
                path: url.path, reason: "there is no config.json here",
                advice: "if this is the home of a Hugging Face cache, name a folder hub/models--…")
        }
        if names.contains(LowRankAdapter.configurationFile) {
            throw .adapterOnly(
                directory: url.path, base: LowRankAdapter.baseName(in: url))
        }
        let weights = ForeignWeights.among(names)
        if !weights.isEmpty, !names.contains(where: { $0.hasSuffix(".safetensors") }) {
            throw .unsupportedWeightsFormat(directory: url.path, found: weights)
        }
        let inner = names.filter { has("config.json", url.appending(path: $0)) }
        if !inner.isEmpty {
            throw .notACheckpoint(
                path: url.path, reason: "there is no config.json here",
                advice: "name a folder in it: " + inner.prefix(4).joined(separator: ", "))
        }
    }
}
