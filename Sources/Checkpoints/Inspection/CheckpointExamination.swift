internal import CheckpointFiles

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// Everything that is wrong with a checkpoint folder, and not only what a reader meets first.
///
/// Every file is looked at by itself, then the weights together, then the whole as loading does it. Nothing of the
/// weights but their headers is read.
package struct CheckpointExamination: Sendable {
    /// The folder that holds config.json; nil where none was found.
    package let directory: URL?
    package private(set) var faults: [String] = []
    /// What is worth knowing and stops nothing.
    package private(set) var notes: [String] = []

    /// What browsers and download programs leave in place of a file.
    private static let leftovers = [".incomplete", ".part", ".partial", ".crdownload", ".aria2", ".download"]

    /// - Parameters:
    ///   - url: as for loading a model
    ///   - tower: the folder of the vision tower that the checkpoint leaves out; its files are looked at too
    package init(_ url: URL, tower: URL? = nil) {
        do throws(CheckpointError) {
            directory = try CheckpointFolder.resolve(url)
        } catch {
            directory = nil
            faults = [error.description]
            return
        }
        guard let directory, lookAtFiles(of: directory) else { return }
        if let tower {
            do throws(CheckpointError) {
                let folder = try CheckpointFolder.resolve(tower)
                guard lookAtFiles(of: folder) else { return }
            } catch {
                note(error)
                return
            }
        }
        lookAtAll(directory, tower: tower)
    }

    /// - Returns: whether the folder can be read.
    private mutating func lookAtFiles(of directory: URL) -> Bool {
        let names: [String]
        do throws(CheckpointError) {
            names = try FileAccess.names(in: directory)
        } catch {
            note(error)
            return false
        }
        for name in names where !name.hasPrefix(".") { lookAt(name, in: directory) }
        for name in names where name.hasSuffix(".safetensors.index.json") { followIndex(name, directory) }
        if !names.contains("config.json") {
            note(.missingFile(path: "\(directory.path)/config.json", expected: "config.json"))
        }
        return true
    }

    private mutating func note(_ error: CheckpointError) {
        if !faults.contains(error.description) { faults.append(error.description) }
    }

    private mutating func trying(_ body: () throws(CheckpointError) -> Void) {
        do throws(CheckpointError) { try body() } catch { note(error) }
    }

    private mutating func lookAt(_ name: String, in directory: URL) {
        let url = directory.appending(path: name)
        if let ending = Self.leftovers.first(where: { name.lowercased().hasSuffix($0) }) {
            faults.append(
                "\(url.path): an unfinished download (\(ending)); download the file again, then remove this one"
            )
            return
        }
        switch FilePresence(path: url.path) {
        case .brokenLink(let target): note(.brokenLink(path: url.path, target: target))
        case .unknown(let reason): note(.unreadableFile(path: url.path, reason: reason))
        case .special: note(.notARegularFile(path: url.path, found: "a pipe or device"))
        case .file where name.hasSuffix(".json"):
            trying { () throws(CheckpointError) in _ = try FileAccess.json(url) }
        case .file where name.hasSuffix(".safetensors"):
            trying { () throws(CheckpointError) in _ = try SafetensorsFile(contentsOf: url) }
        case .file where ["merges.txt", "vocab.txt"].contains(name) || name.hasSuffix(".jinja"):
            trying { () throws(CheckpointError) in _ = try FileAccess.map(url, expected: .text) }
        case .file where !ForeignWeights.among([name]).isEmpty:
            notes.append("\(name): weights in another format, which are not read")
        default: break
        }
    }

    /// All shards that an index names and that are not there, not only the first.
    private mutating func followIndex(_ name: String, _ directory: URL) {
        guard let map = try? SafetensorsSelection.weightMap(directory.appending(path: name)) else { return }
        for shard in Set(map.values).sorted() {
            let url = directory.appending(path: shard)
            guard FilePresence(path: url.path) == .absent else { continue }
            note(.missingFile(path: url.path, expected: shard))
        }
    }

    private mutating func lookAtAll(_ directory: URL, tower: URL?) {
        do throws(CheckpointError) {
            let checkpoint = try Checkpoint(directory: directory, tower: tower)
            notes += checkpoint.remarks.map(\.description)
            trying { () throws(CheckpointError) in _ = try checkpoint.generationDefaults() }
        } catch {
            note(error)
        }
    }
}
