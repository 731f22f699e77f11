internal import StrictJSON

/// Speaks with a hub, for one thread at a time.
final class HubClient {
    let settings: HubSettings
    let cancellation: Cancellation
    private let connection: WebConnection

    static let mostRedirects = 5
    /// A page of a thousand files has some 300 kB.
    private static let pageLimit = 16 << 20
    private static let mostFiles = 20_000

    /// - Throws: for a token that cannot be sent.
    init(_ settings: HubSettings, _ cancellation: Cancellation) throws(HubError) {
        try settings.checkToken()
        self.settings = settings
        self.cancellation = cancellation
        connection = WebConnection(cancellation)
    }

    // MARK: What a repository holds

    /// The commit that a revision stands for, and what the repository's card says.
    func details(_ repository: RepositoryName, revision: String) throws -> RepositoryDetails {
        let address =
            "\(settings.endpoint)/api/models/\(repository)/revision/\(WebLocation.escaped(revision))"
        let (_, bytes) = try body(
            address, limit: Self.pageLimit, asking: RequestContext(repository: repository, revision: revision)
        )
        let value = try json(bytes, address)
        guard let commit = value["sha"]?.string, Revision.isCommit(commit) else {
            throw invalidResponse("\(repository) has no commit")
        }
        return RepositoryDetails(commit: commit, card: value)
    }

    /// All files of a commit.
    func files(_ repository: RepositoryName, commit: String) throws -> [RepositoryFile] {
        var files: [RepositoryFile] = []
        var paths: Set<String> = []
        var next: String? =
            "\(settings.endpoint)/api/models/\(repository)/tree/\(commit)?recursive=true&expand=false"
        var seen: Set<String> = []
        while let address = next {
            guard seen.insert(address).inserted, seen.count <= 100 else {
                throw invalidResponse("the list of files has no end")
            }
            let (head, bytes) = try body(
                address, limit: Self.pageLimit,
                asking: RequestContext(repository: repository, revision: commit))
            guard let entries = try json(bytes, address).elements else {
                throw invalidResponse("the list of files is not a JSON array")
            }
            for entry in entries where entry["type"]?.string == "file" {
                let file = try self.file(entry)
                guard paths.insert(file.path).inserted else {
                    throw invalidResponse("the file '\(printable(file.path))' is listed twice")
                }
                files.append(file)
            }
            guard files.count <= Self.mostFiles else {
                throw HubError(
                    .unusable,
                    "\(repository) has more than \(Self.mostFiles) files; it is no repository of a model")
            }
            next = try head.fields["link"].flatMap(Self.nextPage).map { target in
                // The token goes along, so it must be the same hub.
                guard let location = WebLocation(target), location.origin == settings.location.origin else {
                    throw invalidResponse("the list of files goes on at '\(printable(target))'")
                }
                return target
            }
        }
        return files
    }

    private func file(_ entry: JSONValue) throws -> RepositoryFile {
        guard let path = entry["path"]?.string else { throw invalidResponse("a file has no name") }
        guard RepositoryFile.isSafe(path) else {
            throw HubError(
                .hub,
                "the hub lists a file '\(printable(path))', whose name could lead elsewhere; nothing was downloaded"
            )
        }
        let digits = entry["lfs"]?["oid"]?.string ?? entry["oid"]?.string
        let size = entry["lfs"]?["size"]?.integer ?? entry["size"]?.integer
        guard let size, (0...RepositoryFile.largest).contains(size) else {
            throw invalidResponse("the size of '\(printable(path))' is not possible")
        }
        guard let hash = digits.flatMap({ ContentHash($0) }) else {
            throw invalidResponse("'\(printable(path))' has no hash")
        }
        return RepositoryFile(path: path, size: size, hash: hash)
    }

    /// The address marked `rel="next"` in a `Link` header.
    static func nextPage(_ header: String) -> String? {
        for part in header.split(separator: ",") where part.replacing(" ", with: "").contains("rel=\"next\"")
        {
            guard let open = part.firstIndex(of: "<"), let close = part.firstIndex(of: ">"), open < close
            else {
                continue
            }
            return String(part[part.index(after: open)..<close])
        }
        return nil
    }

    // MARK: Files

    /// Where the bytes of a file are asked for first.
    func location(_ repository: RepositoryName, commit: String, path: String) throws -> WebLocation {
        let address =
            "\(settings.endpoint)/\(repository)/resolve/\(commit)/\(WebLocation.escaped(path, keepsSlashes: true))"
        guard let location = WebLocation(address) else {
            throw HubError(.hub, "the name '\(printable(path))' is too long for an address")
        }
        return location
    }

    /// The content of a small file.
    func content(_ file: RepositoryFile, of repository: RepositoryName, commit: String) throws -> [UInt8] {
        let location = try location(repository, commit: commit, path: file.path)
        let (_, bytes) = try body(
            location.text, limit: file.size,
            asking: RequestContext(repository: repository, revision: commit, path: file.path))
        let hasher = try ContentHasher(file.hash, size: file.size)
        bytes.withUnsafeBytes { hasher.add($0) }
        guard hasher.finish() == file.hash else {
            throw Self.damaged(RemoteFile(file, at: location, of: repository, commit: commit))
        }
        return bytes
    }

    /// The first bytes of a file, as many as it takes; not compared with a hash.
    func beginning(
        of file: RepositoryFile, of repository: RepositoryName, commit: String,
        isEnough: ([UInt8]) -> Bool
    ) throws -> [UInt8] {
        let location = try location(repository, commit: commit, path: file.path)
        var bytes: [UInt8] = []
        do {
            _ = try get(location) { _, part in
                bytes += part.prefix(file.size - bytes.count)
                return !isEnough(bytes) && bytes.count < Self.longestBeginning
            }
        } catch .refused {
            // It has come.
        } catch {
            throw failure(error, location)
        }
        return bytes
    }

    static let longestBeginning = 128 << 20

    static func damaged(_ file: RemoteFile) -> HubError {
        HubError(
            .damaged,
            "\(file.name) is not what the hub lists (its hash differs) and was thrown away; "
                + "try again, and if it stays so, a proxy or the hub is at fault")
    }

    /// What an address says before its first byte; the head of a part where the server gives parts.
    func head(of location: WebLocation) throws -> WebConnection.Head {
        var attempt = 1
        while true {
            var head: WebConnection.Head?
            do {
                let answer = try get(location, part: (0, 1)) { given, _ in
                    head = given
                    // It may be the beginning of everything.
                    return given.status == 206
                }
                if let head { return head }
                guard Self.isTransient(answer.head.status), attempt < settings.attempts else {
                    throw Self.refusal(answer.head, at: location)
                }
                try wait(attempt, answer.head)
            } catch let failure as WebConnection.Failure {
                if let head { return head }
                guard case .cut = failure, attempt < settings.attempts else {
                    throw self.failure(failure, location)
                }
                try wait(attempt, nil)
            }
            attempt += 1
        }
    }

    /// One request with its redirects: the token goes to the hub's own origin only.
    /// - Parameter part: the bytes that are wanted; nil for all, an end of nil for the rest
    /// - Returns: the head, the body of an error, and where the answer came from.
    func get(
        _ start: WebLocation, part: (first: Int, end: Int?)? = nil,
        receive: (WebConnection.Head, UnsafeRawBufferPointer) -> Bool
    ) throws(WebConnection.Failure) -> (head: WebConnection.Head, words: [UInt8], from: WebLocation) {
        var location = start
        // Once elsewhere, nothing is sent any more, not even back at the hub.
        var sendsToken = true
        for _ in 0...Self.mostRedirects {
            sendsToken = sendsToken && location.origin == settings.location.origin
            var request = WebConnection.Request(location: location)
            request.token = sendsToken ? settings.token : nil
            request.part = part
            request.stallSeconds = settings.stallSeconds
            let (head, words) = try connection.send(request, receive: receive)
            guard head.isRedirect, head.hasTarget else { return (head, words, location) }
            guard let target = head.target,
                target.origin.isEncrypted || !location.origin.isEncrypted
            else {
                throw .impossible("'\(location.shown)' redirects to an address that is not followed")
            }
            location = target
        }
        throw .impossible("'\(start.shown)' redirects more than \(Self.mostRedirects) times")
    }

    // MARK: Asking again

    /// What an error is about.
    struct RequestContext {
        var repository: RepositoryName
        var revision: String
        var path: String?
    }

    /// A whole answer, with attempts.
    private func body(
        _ address: String, limit: Int, asking question: RequestContext
    ) throws -> (WebConnection.Head, [UInt8]) {
        guard let location = WebLocation(address) else {
            throw invalidResponse("'\(printable(address))' is no address")
        }
        var attempt = 1
        while true {
            var bytes: [UInt8] = []
            do {
                let (head, words, _) = try get(location) { _, part in
                    guard part.count <= limit - bytes.count else { return false }
                    bytes += part
                    return true
                }
                if head.status == 200 { return (head, bytes) }
                guard Self.isTransient(head.status), attempt < settings.attempts else {
                    throw refusal(head, words, question)
                }
                try wait(attempt, head)
            } catch let failure as WebConnection.Failure {
                switch failure {
                case .refused:
                    throw invalidResponse("'\(location.shown)' answers with more than \(limit) bytes")
                case .cut where attempt < settings.attempts: try wait(attempt, nil)
                default: throw self.failure(failure, location)
                }
            }
            attempt += 1
        }
    }

    /// Whether a status may be another one soon.
    static func isTransient(_ status: Int) -> Bool { [408, 429, 500, 502, 503, 504].contains(status) }

    /// Waits before the next attempt, as long as the server asks for, but no longer than a minute.
    func wait(_ attempt: Int, _ head: WebConnection.Head?) throws {
        var duration = settings.pause(attempt)
        if let seconds = head?.fields["retry-after"].flatMap({ Int($0) }) {
            duration = max(duration, .seconds(min(max(seconds, 0), 60)))
        }
        try pause(duration, cancellation)
    }

    func failure(_ failure: WebConnection.Failure, _ location: WebLocation) -> any Error {
        switch failure {
        case .cancelled: CancellationError()
        case .refused: invalidResponse("'\(location.shown)' answers with more than it promised")
        case .cut(let reason):
            HubError(
                .hub,
                "cannot reach \(location.origin.host): \(reason); check the network, then run the same command again"
            )
        case .impossible(let reason): HubError(.hub, "cannot read from the hub: \(reason)")
        }
    }

    /// Why the hub does not give what was asked for.
    func refusal(_ head: WebConnection.Head, _ words: [UInt8], _ question: RequestContext) -> HubError {
        let repository = question.repository
        let host = settings.location.origin.host
        switch (head.status, head.fields["x-error-code"]) {
        case (_, "GatedRepo"?):
            return HubError(
                .access,
                "\(repository) is shown only to who accepted its terms: accept them at \(settings.endpoint)/\(repository), "
                    + (settings.token == nil
                        ? "then give a token with --token or HF_TOKEN"
                        : "with the account that the token belongs to"))
        case (_, "RevisionNotFound"?):
            return HubError(
                .access,
                "\(repository) has no revision '\(printable(question.revision))'; look at its branches and tags"
            )
        case (_, "EntryNotFound"?):
            return HubError(.access, "\(repository) has no file '\(printable(question.path ?? ""))'")
        case (401, _) where settings.token != nil && head.fields["x-error-code"] != "RepoNotFound":
            return HubError(
                .access, "\(host) does not accept the token; check --token, HF_TOKEN or 'hf auth login'")
        case (401, _), (404, _), (403, _):
            return HubError(
                .access,
                "there is no repository \(repository) at \(host)"
                    + (settings.token == nil
                        ? ", or it is private: check the name, or give a token with --token or HF_TOKEN"
                        : " that the token may see; check the name"))
        case (429, _):
            return HubError(.hub, "\(host) answered 429, too many requests; try again in some minutes")
        default:
            let reason = head.fields["x-error-message"] ?? String(decoding: words.prefix(120), as: UTF8.self)
            return HubError(
                .hub,
                "\(host) answered \(head.status)" + (reason.isEmpty ? "" : " (\(printable(reason)))")
                    + "; try again later")
        }
    }

    /// Why an address that belongs to no hub gives nothing.
    static func refusal(_ head: WebConnection.Head, at location: WebLocation) -> HubError {
        let host = location.origin.host
        return switch head.status {
        case 401, 403: HubError(.access, "\(host) does not show '\(location.shown)'; check the address")
        case 404, 410: HubError(.access, "there is nothing at '\(location.shown)'; check the address")
        default: HubError(.hub, "\(host) answered \(head.status); try again later")
        }
    }

    private func json(_ bytes: [UInt8], _ address: String) throws -> JSONValue {
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(StrictJSONError) in
                try JSONParser.parse(
                    bytes, limits: JSONLimits(depth: 32, elements: Self.mostFiles, members: 10_000))
            }
        }
        switch result {
        case .success(let value): return value
        case .failure(let error):
            throw invalidResponse("'\(printable(address))' answers with no JSON (\(error.reason))")
        }
    }

    private func invalidResponse(_ reason: String) -> HubError {
        HubError(
            .hub,
            "\(settings.location.origin.host) does not answer as a hub does: \(reason); check HF_ENDPOINT and proxies"
        )
    }
}
