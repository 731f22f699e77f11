import ArgumentParser
import CommandInput
import FastVLM
import Foundation
import SystemFiles

/// What the program's exit status means: one meaning each, the numbers of sysexits.h where it has one.
enum ExitStatus: Int32 {
    /// Items of a batch have no answer; their records say why.
    case items = 1
    /// Wrong usage, or a request that the model cannot fulfil.
    case usage = 64
    /// An image, or what should be on stdin, cannot be read or used.
    case image = 65
    /// The model cannot be read or used.
    case model = 69
    /// The machine lacks something.
    case system = 70
    /// An output cannot be written: a file, a folder or stdout.
    case output = 74

    init(_ kind: FastVLMError.Kind) {
        switch kind {
        case .request: self = .usage
        case .image: self = .image
        case .model: self = .model
        case .system: self = .system
        case .output: self = .output
        }
    }

    /// For `fastvlm --help`.
    static let summary = """
        Exit status: 0 success; 1 items of a batch have no answer; 64 wrong usage or request; 65 an image (or stdin) cannot be read or used; 69 the \
        model cannot be read or used; 70 the machine lacks something (memory, threads, open files, an instruction \
        set); 74 an output (file, folder or stdout) cannot be written; 130 and 143 ended by SIGINT and SIGTERM.
        """
}

/// Why a command ends without having done its work.
struct CommandFailure: Error {
    let status: ExitStatus
    let message: String

    init(_ status: ExitStatus, _ message: String) {
        self.status = status
        self.message = message
    }

    init(_ error: FastVLMError) { self.init(ExitStatus(error.kind), "\(error)") }

    init(_ error: OutputError) {
        self.init(error.reason?.isExhaustion == true ? .system : .output, "\(error)")
    }
}

/// Checks where an output goes, before any work.
/// - Throws: `CommandFailure` with the status `output`.
func outputFile(_ name: String, isText: Bool = false, inputs: [FileIdentity] = []) throws -> OutputFile {
    guard !ByteText.hasForeignBytes(name) else {
        throw CommandFailure(
            .output, "cannot write '\(ByteText.shown(name))': the name is not UTF-8; choose another name")
    }
    do {
        return try OutputFile(name, isText: isText, inputs: inputs)
    } catch {
        throw CommandFailure(error)
    }
}

/// Ends the program with the message and the status of an error, or with the text that was asked for (`--help`,
/// `--version`, a completion script).
func leave(_ error: any Error, parsing arguments: [String] = []) -> Never {
    if let failure = error as? CommandFailure {
        Terminal.note("fastvlm: \(failure.message)")
        exit(failure.status.rawValue)
    }
    let text = FastVLMCommand.fullMessage(for: error)
    let code = FastVLMCommand.exitCode(for: error)
    guard code == .success else {
        if !text.isEmpty { Terminal.note(ByteText.shown(text)) }
        if let name = arguments.first(where: Question.isFileTakenForOption) {
            let name = ByteText.shown(name)
            Terminal.note(
                "'\(name)' begins with a dash, as options do: for the file, write ./\(name), or put it after --"
            )
        }
        exit(code == .failure ? ExitStatus.system.rawValue : code.rawValue)
    }
    do {
        if !text.isEmpty { try Terminal.answer(text, terminator: "\n") }
        exit(0)
    } catch {
        leave(error)
    }
}
