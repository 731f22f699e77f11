import ArgumentParser
import Foundation

/// The file that a plot goes to, checked before anything is measured.
struct PlotFile {
    private let url: URL

    /// What can be said from the name alone, and whether its folder exists.
    /// - Throws: `ValidationError`.
    static func validate(_ path: String) throws {
        let url = URL(filePath: path)
        guard url.pathExtension.lowercased() == "svg", !path.hasSuffix("/") else {
            throw ValidationError(
                "--plot: '\(path)' does not end in .svg, the only format drawn (rsvg-convert makes others of it)."
            )
        }
        var isFolder: ObjCBool = false
        let folder = url.deletingLastPathComponent().path
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue
        else {
            throw ValidationError("--plot: there is no folder '\(folder)'.")
        }
        if FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder), isFolder.boolValue {
            throw ValidationError("--plot: '\(path)' is a folder.")
        }
    }

    /// - Throws: `ExitCode` 74 when nothing can be created in the folder, before minutes are spent on measuring.
    init(_ path: String) throws {
        url = URL(filePath: path)
        let folder = url.deletingLastPathComponent().path
        guard FileManager.default.isWritableFile(atPath: folder) else {
            Terminal.note("fastvlm: cannot write \(path): no permission to create files in '\(folder)'")
            throw ExitCode(74)
        }
    }

    /// Writes all of it or nothing: what stood there before is replaced at once.
    /// - Throws: `ExitCode` 74.
    func write(_ text: String) throws {
        do {
            try Data(text.utf8).write(to: url, options: .atomic)
        } catch {
            Terminal.note("fastvlm: cannot write \(url.path): \(error.localizedDescription)")
            throw ExitCode(74)
        }
    }
}
