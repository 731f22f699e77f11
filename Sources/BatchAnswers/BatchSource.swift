internal import Foundation
internal import Synchronization
package import SystemFiles
internal import WireFormats

/// Gives the items of a batch one after the other: those of this run's shard that the output does not have yet.
package final class BatchSource: Sendable {
    /// Where items come from.
    package enum Input: Sendable {
        /// - size: bytes of all lines, where that is known
        case lines(LineReader, size: Int?)
        /// The images of a folder, with one question about each.
        case images(ImageFolder, question: String)
    }

    /// What ``next(isCancelled:)`` found.
    package struct Step: Sendable {
        /// nil at the end.
        package var item: BatchItem?
        /// Items before it that the output has already.
        package var skipped = 0
    }

    /// How much there is, in the unit of ``BatchItem/end``; nil where nobody knows.
    package let size: Int?

    private struct State {
        var input: Input
        /// Images of a folder that were looked at.
        var position = 0
        var seen = ItemKeySet()
    }

    private let state: Mutex<State>
    private let question: String?
    private let shard: Shard?
    private let finished: FinishedItems

    /// - Parameters:
    ///   - question: for lines that ask none
    ///   - finished: what the output has
    package init(
        _ input: Input, question: String? = nil, shard: Shard? = nil,
        finished: FinishedItems = FinishedItems()
    ) {
        size =
            switch input {
            case .lines(_, let size): size
            case .images(let folder, _): folder.names.count
            }
        state = Mutex(State(input: input))
        self.question = question
        self.shard = shard
        self.finished = finished
    }

    /// Waits for the next item. To be called by one task at a time.
    /// - Parameter isCancelled: looked at while the input gives nothing
    /// - Throws: `BoundedFile.ReadError`, `CancellationError`.
    package func next(isCancelled: () -> Bool = { false }) throws -> Step {
        try state.withLock { state in
            var step = Step()
            while step.item == nil {
                guard let item = try item(&state, isCancelled) else { break }
                let key = ItemKey(item.id, line: item.line)
                if finished.contains(key) { step.skipped += 1 } else { step.item = item }
                if isCancelled() { throw CancellationError() }
            }
            return step
        }
    }

    /// The next item of this shard.
    private func item(_ state: inout State, _ isCancelled: () -> Bool) throws -> BatchItem? {
        switch state.input {
        case .images(let folder, let question):
            while state.position < folder.names.count {
                let item = folder.item(state.position, question: question)
                state.position += 1
                if shard?.contains(ItemKey(item.id, line: item.line)) ?? true { return item }
                if isCancelled() { throw CancellationError() }
            }
        case .lines(var reader, let size):
            defer { state.input = .lines(reader, size: size) }
            while let line = try reader.next(isCancelled: isCancelled) {
                if let item = item(line, &state.seen) { return item }
            }
        }
        return nil
    }

    /// - Returns: nil for an empty line, and for one of another shard.
    private func item(_ line: LineReader.Line, _ seen: inout ItemKeySet) -> BatchItem? {
        func failed(_ failure: BatchFailure, id: BatchID? = nil) -> BatchItem? {
            guard shard?.contains(ItemKey(id, line: line.number)) ?? true else { return nil }
            return BatchItem(line: line.number, id: id, end: line.end, request: .failure(failure))
        }
        guard var bytes = line.bytes else {
            return failed(BatchFailure("line_too_long", "the line has more bytes than a line may have"))
        }
        // What some programs of Windows put before a text.
        if line.number == 1, bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
        guard bytes.contains(where: { ![0x20, 0x09, 0x0D].contains($0) }) else { return nil }
        let read: BatchLine
        do { read = try BatchLine(Data(bytes)) } catch { return failed(BatchFailure(error)) }
        let id = read.id ?? .number(line.number)
        let key = ItemKey(id, line: line.number)
        guard shard?.contains(key) ?? true else { return nil }
        guard seen.insert(key) else {
            // Its answer's line gives no id, so that there is one line of each.
            return BatchItem(
                line: line.number, id: nil, end: line.end,
                request: .failure(BatchFailure("duplicate_id", "an earlier line has the id '\(id)' too")))
        }
        return BatchItem(
            line: line.number, id: id, form: read.form, bytes: bytes.count, end: line.end,
            request: Result { () throws(RequestError) in try read.request(question: question) }
                .mapError { BatchFailure($0) })
    }
}
