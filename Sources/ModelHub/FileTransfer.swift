internal import Dispatch
internal import Synchronization

/// Brings a file from its address to this machine, over cuts and restarts, and gives it its name when its hash is right.
///
/// Every attempt begins at the hub's own address, which signs the one of the store anew: an expired one needs no rule.
struct FileTransfer {
    let client: HubClient
    /// Told bytes as they come in, and how many turned out to be useless (negative).
    var received: (Int) -> Void = { _ in }
    /// Told before a file that came in parts is read to see whether it is whole.
    var checking: () -> Void = {}

    /// Parts of a file that come at once.
    private static let connections = 4

    /// Where a file is until it is complete, and then.
    struct Places: Sendable {
        /// Its first bytes.
        let partial: String
        /// Its parts, where several come at once.
        let parts: String
        let complete: String
    }

    /// - Parameter opened: told how many bytes were there already
    func run(_ file: RemoteFile, _ places: Places, opened: (Int) -> Void) throws {
        if file.size >= 2 * client.settings.partBytes {
            do {
                return try inParts(file, places, opened)
            } catch is FileInParts.NoParts {
                // From here on as a file that is too small for parts.
            }
        }
        let partial = try PartialFile(places.partial, size: file.size, hash: file.hash, client.cancellation)
        opened(partial.count)
        // What an earlier process left may be damaged: then once from the beginning.
        var mayRepeat = partial.resumedBytes > 0
        while true {
            try fill(partial, file)
            if try partial.finish(as: places.complete) { return }
            received(-file.size)
            guard mayRepeat else {
                partial.discard()
                throw HubClient.damaged(file)
            }
            mayRepeat = false
        }
    }

    // MARK: Several parts at once

    private func inParts(_ file: RemoteFile, _ places: Places, _ opened: (Int) -> Void) throws {
        func open() throws(HubError) -> FileInParts {
            try FileInParts(
                places.parts, beginning: places.partial, size: file.size, hash: file.hash,
                partBytes: client.settings.partBytes)
        }
        var parts = try open()
        opened(parts.count)
        var mayRepeat = parts.resumedBytes > 0
        while true {
            do {
                try fill(parts, file)
            } catch let error as FileInParts.NoParts {
                received(-parts.count)
                parts.discard()
                throw error
            }
            checking()
            if try parts.finish(as: places.complete, client.cancellation) { return }
            received(-file.size)
            guard mayRepeat else { throw HubClient.damaged(file) }
            mayRepeat = false
            parts = try open()
        }
    }

    /// The parts that are wanted, and what went wrong.
    private final class Work: Sendable {
        private let rest: Mutex<ArraySlice<FileInParts.Part>>
        private let error = Mutex<(any Error)?>(nil)
        /// The first one that fails ends the others.
        let end = Cancellation()

        init(_ parts: [FileInParts.Part]) { rest = Mutex(parts[...]) }

        func next() -> FileInParts.Part? { rest.withLock { $0.popFirst() } }

        func fail(_ error: any Error) {
            self.error.withLock { $0 = $0 ?? error }
            end.cancel()
        }

        var failure: (any Error)? { error.withLock { $0 } }
    }

    private func fill(_ parts: FileInParts, _ file: RemoteFile) throws {
        let unfinished = parts.parts.filter { !$0.isComplete }
        let work = Work(unfinished)
        let settings = client.settings
        let group = DispatchGroup()
        try withExtendedLifetime(parts) {
            for _ in 0..<min(Self.connections, unfinished.count) {
                DispatchQueue.global().async(group: group) {
                    do {
                        let transfer = FileTransfer(client: try HubClient(settings, work.end))
                        while let part = work.next() { try transfer.fill(part, file) }
                    } catch {
                        work.fail(error)
                    }
                }
            }
            var known = parts.count
            while true {
                let isDone = group.wait(timeout: .now() + .milliseconds(50)) == .success
                let count = parts.count
                if count != known { received(count - known) }
                known = count
                if isDone { break }
                if client.cancellation.isCancelled { work.end.cancel() }
            }
            try client.cancellation.check()
            if let failure = work.failure { throw failure }
        }
    }

    // MARK: One after the other

    private func fill(_ target: some TransferTarget, _ file: RemoteFile) throws {
        var attempt = 1
        while !target.isComplete {
            try client.cancellation.check()
            let before = target.count
            let first = target.range.lowerBound + before
            let end = target.range.upperBound < file.size ? target.range.upperBound : nil
            var wrong: String?
            var obstacle: (any Error)?
            var isFirst = true
            let last: any Error
            var answer: WebConnection.Head?
            do {
                let part = first > 0 || end != nil ? (first: first, end: end) : nil
                let (head, words, from) = try client.get(file.start, part: part) { head, bytes in
                    if isFirst {
                        isFirst = false
                        wrong = Self.fault(head, file, first: first)
                        guard wrong == nil else { return false }
                        if head.status != 206, part != nil {
                            // It does not give parts.
                            do { try target.restart() } catch { obstacle = error }
                            guard obstacle == nil else { return false }
                            received(-before)
                        }
                    }
                    let count = target.count
                    defer { received(target.count - count) }
                    return target.append(bytes)
                }
                if (200..<300).contains(head.status) {
                    if target.isComplete { return }
                    last = cut("the connection ended early", file)
                } else if HubClient.isTransient(head.status)
                    || from.origin != client.settings.location.origin && file.question != nil
                {
                    // A store refuses an address whose time is over; the next attempt has a new one.
                    last =
                        from.origin == client.settings.location.origin || file.question == nil
                        ? refusal(head, words, file)
                        : HubError(
                            .hub,
                            "\(from.origin.host), where the hub keeps '\(file.question?.path ?? "")', answered "
                                + "\(head.status); try again later, or check proxies")
                    answer = head
                } else if head.status == 416, part != nil {
                    try target.restart()
                    received(-before)
                    last = cut("the server refuses to give the rest", file)
                } else {
                    throw refusal(head, words, file)
                }
            } catch WebConnection.Failure.refused {
                if let obstacle = obstacle ?? target.fault { throw obstacle }
                throw HubError(
                    .hub,
                    "\(file.name) is something else: \(wrong ?? "more than its \(file.size) bytes"); try again later"
                )
            } catch WebConnection.Failure.cut(let reason) {
                last = cut(reason, file)
            } catch let failure as WebConnection.Failure {
                throw client.failure(failure, file.start)
            }
            // Whoever makes progress may be cut as often as it likes.
            let progress = target.count - before
            attempt = progress > 0 ? 1 : attempt + 1
            guard attempt <= client.settings.attempts else { throw last }
            if progress < 1 << 20 { try client.wait(max(attempt - 1, 1), answer) }
        }
    }

    private func refusal(_ head: WebConnection.Head, _ words: [UInt8], _ file: RemoteFile) -> HubError {
        file.question.map { client.refusal(head, words, $0) } ?? HubClient.refusal(head, at: file.start)
    }

    private func cut(_ reason: String, _ file: RemoteFile) -> any Error {
        client.failure(.cut(reason), file.start)
    }

    /// What is wrong with an answer before its first byte is taken.
    private static func fault(_ head: WebConnection.Head, _ file: RemoteFile, first: Int) -> String? {
        switch head.status {
        case 206:
            guard let part = head.part, part.first == first else { return "not the part that was asked for" }
            return part.whole == nil || part.whole == file.size
                ? nil : "\(part.whole ?? 0) bytes in place of \(file.size)"
        case 200:
            guard let length = head.length, length != file.size else { return nil }
            return "\(length) bytes in place of \(file.size)"
        default: return "an answer with the status \(head.status)"
        }
    }
}
