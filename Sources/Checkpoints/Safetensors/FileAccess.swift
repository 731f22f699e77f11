internal import Foundation
internal import StrictJSON
internal import Tensors

/// Files of a checkpoint folder: regular ones only, with a limit where they are read whole.
enum FileAccess {
    /// Configuration files are a few kilobytes; the index of a large model a few hundred.
    static let textLimit = 64 << 20
    /// config.json and its relatives.
    static let configurationLimits = JSONLimits(depth: 32, elements: 1 << 20, members: 1 << 20)
    /// A safetensors header: tensors → tensor → shape.
    static let headerLimits = JSONLimits(depth: 4, elements: 16, members: 200_000)

    /// Maps a regular file. Links are followed: model stores keep files as links to blobs.
    static func map(_ url: URL) throws(CheckpointError) -> Storage {
        let path = url.resolvingSymlinksInPath().path
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
            attributes[.type] as? FileAttributeType == .typeRegular
        else { throw .missingFile(path: url.path, expected: "a regular file") }
        do {
            return try Storage(mapping: path)
        } catch .mappingFailed(_, let reason) {
            throw .unreadableFile(path: url.path, reason: reason)
        } catch {
            throw .tensor(error)
        }
    }

    /// Reads a JSON document.
    static func json(_ url: URL) throws(CheckpointError) -> JSONValue {
        let storage = try map(url)
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
            throw .invalidJSON(file: file, offset: error.offset, reason: error.reason)
        }
    }

    /// Reads a JSON document when the file is there.
    static func jsonIfPresent(_ url: URL) throws(CheckpointError) -> JSONValue? {
        guard FileManager.default.fileExists(atPath: url.path) else { return nil }
        return try json(url)
    }

    /// The names in a folder, sorted.
    static func names(in directory: URL) throws(CheckpointError) -> [String] {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: directory.path, isDirectory: &isDirectory),
            isDirectory.boolValue
        else {
            throw .missingFile(path: directory.path, expected: "a folder with config.json and *.safetensors")
        }
        do {
            return try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
        } catch {
            throw .unreadableFile(path: directory.path, reason: "the folder cannot be listed")
        }
    }
}
