internal import Tensors

/// What a batch has come to so far.
package struct BatchCounts: Sendable, Equatable {
    /// Records that were written, in this run.
    package var written = 0
    /// Those of them that have an error.
    package var failed = 0
    /// Items that the output had already.
    package var skipped = 0
    package var tokens = 0
    /// How much of the input is done, in the unit of ``BatchSource/size``.
    package var position = 0
    /// The same when the first item was begun; what lies before was skipped.
    package var start: Int?
    /// From then to the last record.
    package var seconds = 0.0

    package init() {}
}

/// Takes a batch through its answers: several at a time, a bounded number of them in memory.
package struct BatchRun: Sendable {
    /// Whether records are written in the order of their items.
    package var isOrdered = true
    /// Most items that are read and not written yet.
    package var window = 16
    /// Bytes of lines from which on no further one is read before another one is answered.
    package var memory = 256 << 20

    package init() {}

    private enum Event: Sendable {
        case read(Result<BatchSource.Step, any Error>)
        case answered(place: Int, BatchItem, BatchRecord)
    }

    /// Returns once all items are written. When it throws, whatever was handed to `write` was whole.
    /// - Parameters:
    ///   - answer: called for several items at once; throws `CancellationError` only
    ///   - write: called with one record after the other
    /// - Throws: what `write` and reading throw, the latter once all that was read is written; `CancellationError`.
    package func run(
        _ source: BatchSource,
        answer: @escaping @Sendable (BatchItem) async throws -> BatchRecord,
        write: (BatchRecord, BatchCounts) throws -> Void
    ) async throws -> BatchCounts {
        try await withThrowingTaskGroup(of: Event.self) { group in
            var queue = RecordQueue(isOrdered: isOrdered)
            var isReading = false
            var ending: Result<Void, any Error>?
            var bytes = 0
            while true {
                if ending == nil, !isReading, queue.unwritten < window, bytes < memory {
                    isReading = true
                    // Not awaited here: who writes the input may wait for answers to what is there.
                    group.addTask { .read(await Self.step(of: source)) }
                }
                guard let event = try await group.next() else { break }
                switch event {
                case .read(.success(let step)):
                    isReading = false
                    queue.counts.skipped += step.skipped
                    guard let item = step.item else {
                        ending = .success(())
                        break
                    }
                    bytes += item.bytes
                    let place = queue.enter(item)
                    group.addTask { .answered(place: place, item, try await answer(item)) }
                case .read(.failure(let error)):
                    isReading = false
                    if error is CancellationError { throw error }
                    ending = .failure(error)
                case .answered(let place, let item, let record):
                    bytes -= item.bytes
                    try queue.leave(place, item, record, write)
                }
            }
            try ending?.get()
            return queue.counts
        }
    }

    private static func step(of source: BatchSource) async -> Result<BatchSource.Step, any Error> {
        do {
            return .success(
                try await onOwnThread { cancellation in
                    try source.next { cancellation.isCancelled }
                })
        } catch {
            return .failure(error)
        }
    }
}

/// Records on their way to the output.
private struct RecordQueue {
    let isOrdered: Bool
    var counts = BatchCounts()
    /// Items that were read and not written yet.
    private(set) var unwritten = 0
    private var began: ContinuousClock.Instant?
    private var entered = 0
    private var next = 0
    /// Records that wait for earlier ones, by place.
    private var waiting: [Int: (end: Int, record: BatchRecord)] = [:]

    init(isOrdered: Bool) { self.isOrdered = isOrdered }

    /// - Returns: the item's place.
    mutating func enter(_ item: BatchItem) -> Int {
        if began == nil { (began, counts.start) = (.now, item.end) }
        unwritten += 1
        defer { entered += 1 }
        return entered
    }

    mutating func leave(
        _ place: Int, _ item: BatchItem, _ record: BatchRecord,
        _ write: (BatchRecord, BatchCounts) throws -> Void
    ) throws {
        waiting[place] = (item.end, record)
        while let place = isOrdered ? next : waiting.keys.first,
            let (end, record) = waiting.removeValue(forKey: place)
        {
            next += 1
            unwritten -= 1
            counts.written += 1
            counts.failed += record.hasFailed ? 1 : 0
            counts.tokens += record.completionTokens
            counts.position = max(counts.position, end)
            if let began { counts.seconds = (ContinuousClock.now - began) / .seconds(1) }
            try write(record, counts)
        }
    }
}
