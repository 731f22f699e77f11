/// Brings one file of a commit into a partial file, over cuts and restarts, and gives it its name when its hash is right.
///
/// Every attempt begins at the hub's own address, which signs the one of the store anew: an expired one needs no rule.
struct FileTransfer {
    let client: HubClient
    let repository: RepositoryName
    let commit: String

    /// - Parameters:
    ///   - name: where the complete file goes
    ///   - received: told bytes as they come in, and how many turned out to be useless (negative)
    func run(
        _ file: RepositoryFile, into partial: PartialFile, name: String, received: (Int) -> Void
    ) throws {
        // What an earlier process left may be damaged: then once from the beginning.
        var mayRepeat = partial.resumedBytes > 0
        while true {
            try complete(file, partial, received)
            if try partial.finish(as: name) { return }
            received(-file.size)
            guard mayRepeat else {
                partial.discard()
                throw HubClient.damaged(file, repository)
            }
            mayRepeat = false
        }
    }

    private func complete(_ file: RepositoryFile, _ partial: PartialFile, _ received: (Int) -> Void) throws {
        let start = try client.location(repository, commit: commit, path: file.path)
        var attempt = 1
        while !partial.isComplete {
            try client.cancellation.check()
            let before = partial.count
            var wrong: String?
            var isFirst = true
            let last: any Error
            var answer: WebConnection.Head?
            do {
                let (head, words, from) = try client.get(start, first: before) { head, bytes in
                    if isFirst {
                        isFirst = false
                        wrong = Self.fault(head, file, first: before)
                        guard wrong == nil else { return false }
                        if head.status != 206, before > 0 {
                            // It does not give parts.
                            guard (try? partial.restart()) != nil else { return false }
                            received(-before)
                        }
                    }
                    let count = partial.count
                    defer { received(partial.count - count) }
                    return partial.append(bytes)
                }
                if (200..<300).contains(head.status) {
                    if partial.isComplete { return }
                    last = cut("the connection ended early", start)
                } else if HubClient.isTransient(head.status) || from.origin != client.settings.location.origin
                {
                    // A store refuses an address whose time is over; the next attempt has a new one.
                    last =
                        from.origin == client.settings.location.origin
                        ? client.refusal(head, words, question(file))
                        : HubError(
                            .hub,
                            "\(from.origin.host), where the hub keeps '\(file.path)', answered \(head.status); try again "
                                + "later, or check proxies")
                    answer = head
                } else if head.status == 416, before > 0 {
                    try partial.restart()
                    received(-before)
                    last = cut("the server refuses to give the rest", start)
                } else {
                    throw client.refusal(head, words, question(file))
                }
            } catch WebConnection.Failure.refused {
                if let fault = partial.fault { throw fault }
                throw HubError(
                    .hub,
                    "\(repository): the server sends something else in place of '\(file.path)': "
                        + "\(wrong ?? "more than its \(file.size) bytes"); try again later")
            } catch WebConnection.Failure.cut(let reason) {
                last = cut(reason, start)
            } catch let failure as WebConnection.Failure {
                throw client.failure(failure, start)
            }
            // Whoever makes progress may be cut as often as it likes.
            let progress = partial.count - before
            attempt = progress > 0 ? 1 : attempt + 1
            guard attempt <= client.settings.attempts else { throw last }
            if progress < 1 << 20 { try client.wait(max(attempt - 1, 1), answer) }
        }
    }

    private func question(_ file: RepositoryFile) -> HubClient.RequestContext {
        HubClient.RequestContext(repository: repository, revision: commit, path: file.path)
    }

    private func cut(_ reason: String, _ location: WebLocation) -> any Error {
        client.failure(.cut(reason), location)
    }

    /// What is wrong with an answer before its first byte is taken.
    private static func fault(_ head: WebConnection.Head, _ file: RepositoryFile, first: Int) -> String? {
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
