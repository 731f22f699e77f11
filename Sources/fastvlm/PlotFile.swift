import ArgumentParser
import Foundation
import SystemFiles

/// The file that a plot goes to, checked before anything is measured.
struct PlotFile {
    /// Draws SVG as PNG: from Debian's librsvg2-bin.
    private static let converter = "rsvg-convert"

    private let file: OutputFile
    /// The converter's file, for a PNG.
    private let rasterizer: URL?

    /// Whether the picture goes to stdout, so that the report has to go elsewhere.
    var isStandardOutput: Bool { file.isStandardOutput }

    /// What can be seen from the name alone, and whether a PNG can be drawn here.
    /// - Throws: `ValidationError`.
    static func validate(_ path: String) throws {
        let isStream = path == "-" || path.hasPrefix("/dev/")
        guard isStream || ["svg", "png"].contains(ending(path)), !path.hasSuffix("/") else {
            throw ValidationError("--plot: '\(path)' ends neither in .svg nor in .png.")
        }
        if isPNG(path), program(converter) == nil {
            throw ValidationError(
                "--plot: a .png needs the program \(converter) (apt install librsvg2-bin); .svg needs nothing."
            )
        }
    }

    /// Sees whether the file can be written, before minutes are spent on measuring.
    /// - Parameter inputs: files that it must not replace
    /// - Throws: `CommandFailure` with the status `output`.
    init(_ path: String, inputs: [FileIdentity]) throws {
        file = try outputFile(path, isText: !Self.isPNG(path), inputs: inputs)
        rasterizer = Self.isPNG(path) ? Self.program(Self.converter) : nil
    }

    /// Writes all of it or nothing: what was there before is replaced at once.
    /// - Parameter svg: the text of an SVG file, drawn as pixels for a PNG
    /// - Throws: `CommandFailure` with the status `output`.
    func write(_ svg: String) throws {
        let data = try rasterizer.map { try Self.pixels(of: svg, by: $0) } ?? Data(svg.utf8)
        do {
            try file.write { (writer) throws(OutputError) in try writer.write([UInt8](data)) }
        } catch {
            throw CommandFailure(error)
        }
    }

    private static func ending(_ path: String) -> String { URL(filePath: path).pathExtension.lowercased() }
    private static func isPNG(_ path: String) -> Bool { ending(path) == "png" }

    /// Where a program is among the folders of PATH.
    private static func program(_ name: String) -> URL? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
            .map { URL(filePath: String($0)).appending(path: name) }
            .first { FileManager.default.isExecutableFile(atPath: $0.path) }
    }

    /// - Throws: `CommandFailure` with the status `output` when the converter fails.
    private static func pixels(of svg: String, by rasterizer: URL) throws -> Data {
        let folder = FileManager.default.temporaryDirectory.appending(path: "fastvlm-plot-\(UUID())")
        do {
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
                throw CommandFailure(
                    .output, "\(rasterizer.path) ended with status \(process.terminationStatus)")
            }
            return try Data(contentsOf: target)
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw CommandFailure(
                .output, "the plot cannot be drawn in '\(folder.path)': \(error); see whether TMPDIR has room"
            )
        }
    }
}
