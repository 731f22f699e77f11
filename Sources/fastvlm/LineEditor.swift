import CEdit
import CommandInput
import Foundation
import Synchronization
import SystemFiles

/// Lines from a person at a terminal, with the arrow keys and Tab; or from a file or pipe, byte by byte as they are.
final class LineEditor {
    /// How the terminal was before it was edited on.
    private static let settings = Mutex<termios?>(nil)
    /// Longer ones are no questions. A `data:` URI may be long.
    private static let longestLine = 256 << 20

    private let editor: OpaquePointer?
    private let history: OpaquePointer?
    private var buffered: [UInt8] = []
    private var isAtEnd = false

    init() {
        guard Terminal.inputIsTerminal, Terminal.errorIsTerminal else {
            (editor, history) = (nil, nil)
            return
        }
        var current = termios()
        if tcgetattr(STDIN_FILENO, &current) == 0 { Self.settings.withLock { $0 = current } }
        editor = cedit_open("fastvlm") { editor, _ in LineEditor.complete(editor) }
        history = editor.flatMap { cedit_history($0) }
    }

    deinit {
        if let history { history_end(history) }
        if let editor { el_end(editor) }
    }

    /// Puts the terminal back, for a program that ends in the middle of a line.
    static func restoreTerminal() {
        settings.withLock { settings in
            if var settings { tcsetattr(STDIN_FILENO, TCSADRAIN, &settings) }
        }
    }

    /// The next line, without its end; nil at the end of the input. Bytes that are no UTF-8 are kept (``ByteText``).
    /// - Throws: `CommandFailure` when stdin cannot be read.
    func line() throws -> String? {
        guard let editor else { return try Terminal.waiting(plainLine) }
        var count: Int32 = 0
        guard let line = Terminal.waiting({ el_gets(editor, &count) }), count > 0 else { return nil }
        let bytes = UnsafeRawBufferPointer(start: line, count: Int(count))
        let text = ByteText.text(bytes.prefix { $0 != 0x0A })
        if !text.allSatisfy(\.isWhitespace) { cedit_remember(history, line) }
        return text
    }

    private func plainLine() throws -> String? {
        var searched = 0
        while true {
            if let end = buffered[searched...].firstIndex(of: 0x0A) {
                let line = buffered[..<end]
                defer { buffered.removeSubrange(...end) }
                return ByteText.text(line.last == 0x0D ? line.dropLast() : line)
            }
            searched = buffered.count
            if isAtEnd {
                defer { buffered = [] }
                return buffered.isEmpty ? nil : ByteText.text(buffered)
            }
            guard searched <= Self.longestLine else {
                throw CommandFailure(.image, "a line of stdin has more than \(Self.longestLine >> 20) MiB")
            }
            do {
                let part = try BoundedFile.part(descriptor: STDIN_FILENO)
                isAtEnd = part.isEmpty
                buffered += part
            } catch {
                throw CommandFailure(.image, "cannot read stdin: \(error.reason)")
            }
        }
    }

    /// The Tab key.
    private static func complete(_ editor: OpaquePointer?) -> UInt8 {
        guard let editor, let line = el_line(editor)?.pointee, let start = line.buffer,
            let cursor = line.cursor
        else { return UInt8(CC_ERROR) }
        let typed = UnsafeRawBufferPointer(start: start, count: cursor - start)
        let completion = LineCompletion(ByteText.text(typed))
        if !completion.insertion.isEmpty, el_insertstr(editor, completion.insertion) == 0 {
            return UInt8(CC_REFRESH)
        }
        guard !completion.choices.isEmpty else { return UInt8(CC_REFRESH_BEEP) }
        let shown = completion.choices.prefix(100)
        let more = completion.choices.count - shown.count
        Terminal.note("\n" + shown.joined(separator: "  ") + (more > 0 ? "  and \(more) more" : ""))
        return UInt8(CC_REDISPLAY)
    }
}
