import ArgumentParser
import Foundation

/// The file that a plot goes to, checked before anything is measured.
struct PlotFile {
    /// Draws SVG as PNG: from Debian's librsvg2-bin.
    private static let converter = "rsvg-convert"

    private let url: URL
    /// The converter's file, for a PNG.
    private let rasterizer: URL?

    /// What can be said from the name alone, whether its folder exists, and whether a PNG can be drawn here.
    /// - Throws: `ValidationError`.
    static func validate(_ path: String) throws {
        let url = URL(filePath: path)
        guard ["svg", "png"].contains(url.pathExtension.lowercased()), !path.hasSuffix("/") else {
            throw ValidationError("--plot: '\(path)' ends neither in .svg nor in .png.")
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
        if isPNG(url), program(converter) == nil {
            throw ValidationError(
                "--plot: a .png needs the program \(converter) (apt install librsvg2-bin); .svg needs nothing."
            )
        }
    }

    /// - Throws: `ExitCode` 74 when nothing can be created in the folder, before minutes are spent on measuring.
    init(_ path: String) throws {
        url = URL(filePath: path)
        rasterizer = Self.isPNG(url) ? Self.program(Self.converter) : nil
        let folder = url.deletingLastPathComponent().path
        guard FileManager.default.isWritableFile(atPath: folder) else {
            Terminal.note("fastvlm: cannot write \(path): no permission to create files in '\(folder)'")
            throw ExitCode(74)
        }
    }

    /// Writes all of it or nothing: what stood there before is replaced at once.
    /// - Parameter svg: the text of an SVG file, drawn as pixels for a PNG
    /// - Throws: `ExitCode` 74.
    func write(_ svg: String) throws {
        do {
            let data = try rasterizer.map { try Self.pixels(of: svg, by: $0) } ?? Data(svg.utf8)
            try data.write(to: url, options: .atomic)
        } catch let exit as ExitCode {
            throw exit
        } catch {
            Terminal.note("fastvlm: cannot write \(url.path): \(error.localizedDescription)")
            throw ExitCode(74)
        }
    }

    private static func isPNG(_ url: URL) -> Bool { url.pathExtension.lowercased() == "png" }

    /// Where a program is among the folders of PATH.
    private static func program(_ name: String) -> URL? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
            .map { URL(filePath: String($0)).appending(path: name) }
            .first { FileManager.default.isExecutableFile(atPath: $0.path) }
    }

    /// - Throws: `ExitCode` 74 when the converter fails; what Foundation throws.
    private static func pixels(of svg: String, by rasterizer: URL) throws -> Data {
        let folder = FileManager.default.temporaryDirectory.appending(path: "fastvlm-plot-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (source, target) = (folder.appending(path: "plot.svg"), folder.appending(path: "plot.png"))
        try Data(svg.utf8).write(to: source)
        let process = Process()
        process.executableURL = rasterizer
        // Twice the size on a screen, so that small text stays readable.
        process.arguments = ["--zoom", "2", "--format", "png", "--output", target.path, source.path]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            Terminal.note("fastvlm: \(rasterizer.path) ended with status \(process.terminationStatus)")
            throw ExitCode(74)
        }
        return try Data(contentsOf: target)
    }
}
