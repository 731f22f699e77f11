internal import CheckpointFiles
internal import StrictJSON
internal import SystemFiles
internal import Tensors

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Files of a checkpoint folder: regular ones only, with a limit where they are read whole.
enum FileAccess {
    /// Configuration files are a few kilobytes; the index of a large model a few hundred.
    static let textLimit = 64 << 20
    /// config.json and its relatives. Python writes NaN and Infinity into them; they are wrong only where they are used.
    static let configurationLimits = JSONLimits(
        depth: 32, elements: 1 << 20, members: 1 << 20, nonFiniteNumbers: true)
    /// A safetensors header: tensors → tensor → shape.
    static let headerLimits = JSONLimits(depth: 4, elements: 16, members: 200_000)

    /// Maps a regular file that may be what is expected. Links are followed: model stores keep files as links to blobs.
    /// - Throws: `CheckpointError.foreignContent` where the file plainly is something else.
    static func map(_ url: URL, expected: ForeignContent.Expected) throws(CheckpointError) -> Storage {
        guard try isPresent(url) else {
            throw .missingFile(path: url.path, expected: url.lastPathComponent)
        }
        let path = url.resolvingSymlinksInPath().path
        // An empty file cannot be mapped.
        if (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? UInt == 0 {
            throw foreign(.empty, url)
        }
        let storage: Storage
        do {
            storage = try Storage(mapping: path)
        } catch .mappingFailed(_, let reason) {
            throw .unreadableFile(path: url.path, reason: reason)
        } catch {
            throw .tensor(error)
        }
        if let content = ForeignContent(storage.bytes, expected: expected) { throw foreign(content, url) }
        return storage
    }

    private static func foreign(_ content: ForeignContent, _ url: URL) -> CheckpointError {
        .foreignContent(path: url.path, what: content.what, advice: content.advice)
    }

    /// Whether there is a file.
    /// - Throws: `CheckpointError` for what cannot be read as one: a link that leads nowhere, a folder, a pipe. An
    ///   optional file that is broken is not an absent one.
    static func isPresent(_ url: URL) throws(CheckpointError) -> Bool {
        switch FilePresence(path: url.path) {
        case .absent: return false
        case .file: return true
        case .brokenLink(let target): throw .brokenLink(path: url.path, target: target)
        case .folder: throw .notARegularFile(path: url.path, found: "a folder")
        case .special: throw .notARegularFile(path: url.path, found: "a pipe or device")
        case .unknown(let reason): throw .unreadableFile(path: url.path, reason: reason)
        }
    }

    /// Reads a JSON document.
    static func json(_ url: URL) throws(CheckpointError) -> JSONValue {
        let storage = try map(url, expected: .json)
        guard storage.count <= textLimit else {
            throw .oversizedFile(path: url.path, bytes: storage.count, limit: textLimit)
        }
        return try json(storage.bytes, file: url.lastPathComponent, limits: configurationLimits)
    }

    /// Reads a JSON document from memory; `file` is named in errors.
    static func json(
        _ text: UnsafeRawBufferPointer, file: String, limits: JSONLimits
    ) throws(CheckpointError) -> JSONValue {
        do {
            return try JSONParser.parse(text, limits: limits)
        } catch {
            throw .invalidJSON(
                file: file, offset: error.offset, reason: error.reason, advice: error.advice)
        }
    }

    /// Reads a JSON document when the file is there.
    static func jsonIfPresent(_ url: URL) throws(CheckpointError) -> JSONValue? {
        try isPresent(url) ? try json(url) : nil
    }

    /// The names in a folder, sorted.
    static func names(in directory: URL) throws(CheckpointError) -> [String] {
        do {
            return try BoundedFile.names(inFolder: directory.path).sorted()
        } catch {
            throw .unreadableFile(path: directory.path, reason: error.reason)
        }
    }
}
