/// Bytes behind an address, of a known size and, where somebody says it, hash.
struct RemoteFile: Sendable {
    /// Where they are asked for first.
    let start: WebLocation
    /// As messages name it, at the beginning of a sentence.
    let name: String
    let size: Int
    let hash: ContentHash?
    /// What a hub's refusal is about; nil where no hub is asked.
    let question: HubClient.RequestContext?

    /// An archive, or whatever else an address leads to.
    init(start: WebLocation, name: String, size: Int) {
        self.start = start
        self.name = name
        self.size = size
        hash = nil
        question = nil
    }

    init(
        _ file: RepositoryFile, at start: WebLocation, of repository: RepositoryName, commit: String
    ) {
        self.start = start
        name = "\(repository): what came as '\(file.path)'"
        size = file.size
        hash = file.hash
        question = HubClient.RequestContext(repository: repository, revision: commit, path: file.path)
    }
}

/// Bytes of a file that a transfer brings, from their first to their last.
protocol TransferTarget: AnyObject {
    /// Which bytes of the file.
    var range: Range<Int> { get }
    /// How many of them are there.
    var count: Int { get }
    /// Why ``append(_:)`` took no more, where the disk is at fault.
    var fault: HubError? { get }
    /// - Returns: whether more may come; if not, ``fault`` or too many bytes are why.
    func append(_ bytes: UnsafeRawBufferPointer) -> Bool
    /// Begins anew: the server sends the file from its beginning.
    /// - Throws: where that is not how these bytes can be brought.
    func restart() throws
}

extension TransferTarget {
    var isComplete: Bool { count == range.count }
}
