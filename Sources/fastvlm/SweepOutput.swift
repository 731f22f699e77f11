import Benchmarking
import CommandInput
import Foundation
import SystemFiles

/// Where the lines of a sweep go, and which are there. For one task.
final class SweepOutput {
    /// nil for stdout.
    private let file: LineFile?
    /// What stands in the file and was added to it, in this order.
    private(set) var records: [SweepRecord] = []
    private var measured: Set<SweepRecord.Key> = []
    private var skipped: Set<SweepRecord.Key> = []

    private static let longestLine = 1 << 20

    /// - Throws: `CommandFailure` with the status `output`, for a file that is no output of a sweep too; that is left as it
    ///   is.
    init(_ name: String, inputs: [FileIdentity], resumes: Bool) throws {
        guard name != "-", name != "/dev/stdout" else {
            file = nil
            return
        }
        guard !ByteText.hasForeignBytes(name) else {
            throw CommandFailure(
                .output, "cannot write '\(ByteText.shown(name))': the name is not UTF-8; choose another name")
        }
        do {
            let file = try LineFile(name, inputs: inputs, keeping: resumes)
            self.file = file
            if resumes { try read(file) }
        } catch let error as OutputError {
            throw CommandFailure(error)
        } catch let error as BoundedFile.ReadError {
            throw CommandFailure(.output, "cannot read '\(name)': \(error.reason)")
        }
    }

    /// Reads what an earlier run has left, and cuts off the half line that an interruption may have left at its end.
    private func read(_ file: LineFile) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        var reader = try file.lines(limit: Self.longestLine)
        var end = 0
        while let line = try reader.next(isCancelled: { Task.isCancelled }) {
            let record = line.bytes.flatMap { try? decoder.decode(SweepRecord.self, from: Data($0)) }
            guard line.isWhole else {
                // Half a line begins as all of ours do, and is no other program's whole one.
                let isOurs = Self.beginnings.contains { beginning in
                    line.bytes?.starts(with: beginning.prefix(line.bytes?.count ?? 0)) == true
                }
                guard isOurs else { throw Self.refusal(file, line.number) }
                break
            }
            guard let record else { throw Self.refusal(file, line.number) }
            remember(record)
            end = line.end
        }
        try file.cut(to: end)
    }

    /// Of a line that was skipped and of one that was measured: keys are sorted.
    private static let beginnings = [#"{"available_bytes":"#, #"{"conditions":{"#].map { Array($0.utf8) }

    private static func refusal(_ file: LineFile, _ line: Int) -> OutputError {
        OutputError.refused(
            path: file.name, reason: "its line \(line) is not of a sweep",
            advice: "name the output of an earlier run, or a new file")
    }

    private func remember(_ record: SweepRecord) {
        records.append(record)
        if record.type == .cell { measured.insert(record.key) } else { skipped.insert(record.key) }
    }

    var isFile: Bool { file != nil }
    /// Whether lines appear where people look.
    var isTerminal: Bool { file == nil && isatty(STDOUT_FILENO) == 1 }

    func has(_ cell: SweepCell, _ conditions: SweepRecord.Conditions) -> Bool {
        measured.contains(SweepRecord.Key(cell, conditions))
    }

    /// Adds a line, whole or not at all. A cell that was skipped before is not said again.
    func write(_ record: SweepRecord) throws {
        if record.type == .skipped, skipped.contains(record.key) { return }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        let line = try encoder.encode(record) + Data("\n".utf8)
        try line.withUnsafeBytes { bytes in
            if let file { try file.append(bytes) } else { try Terminal.answer(bytes) }
        }
        try file?.synchronize()
        remember(record)
    }

    func discardIfUnused() { file?.discardIfUnused() }

    /// All cells that were measured, as comma-separated values.
    func writeTable(to table: OutputFile) throws {
        let lines = [SweepRecord.columns] + records.compactMap(\.fields)
        let text = lines.map { SweepRecord.line($0) + "\r\n" }.joined()
        do {
            try table.write { (writer) throws(OutputError) in try writer.write([UInt8](text.utf8)) }
        } catch {
            throw CommandFailure(error)
        }
    }
}
