import CommandInput
import FastVLM
import Foundation
import SystemFiles

/// Texts and images that somebody named for `quantize --calibrate`.
struct CalibrationFiles {
    let data: CalibrationData

    /// Bytes of one file, and files of one folder: more would change nothing.
    private static let largest = 64 << 20
    private static let mostFiles = 256

    /// - Parameter paths: files, or folders whose files are taken in the order of their names
    /// - Throws: `CommandFailure`.
    init(_ paths: [String]) throws {
        var data = CalibrationData()
        for path in paths {
            for file in try Self.files(path) {
                let bytes = try Self.read(file)
                // A text is what holds no zero byte and is UTF-8; all else must be an image.
                if !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) {
                    guard !text.isEmpty else { continue }
                    data.texts.append(text)
                } else {
                    data.images.append(.data(Data(bytes)))
                }
            }
        }
        if !paths.isEmpty, data.texts.isEmpty, data.images.isEmpty {
            throw CommandFailure(
                .image,
                "there is no text and no image in \(paths.map { "'\(ByteText.shown($0))'" }.joined(separator: ", ")); name files or folders of them"
            )
        }
        self.data = data
    }

    private static func files(_ path: String) throws -> [String] {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw CommandFailure(.image, "cannot read '\(ByteText.shown(path))': there is no such file")
        }
        guard isFolder.boolValue else { return [path] }
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: path)
        } catch {
            throw CommandFailure(
                .image, "cannot read the folder '\(ByteText.shown(path))'; check its permissions")
        }
        return names.sorted().filter { !$0.hasPrefix(".") }.prefix(mostFiles).compactMap { name in
            let file = path + "/" + name
            var isFolder: ObjCBool = false
            let exists = FileManager.default.fileExists(atPath: file, isDirectory: &isFolder)
            return exists && !isFolder.boolValue ? file : nil
        }
    }

    private static func read(_ path: String) throws -> [UInt8] {
        do {
            return try BoundedFile.read(path, limit: largest, regularOnly: true)
        } catch {
            throw CommandFailure(
                .image,
                "cannot read '\(ByteText.shown(path))': \(error.reason); \(error.reason.advice ?? "check the path")"
            )
        }
    }
}
