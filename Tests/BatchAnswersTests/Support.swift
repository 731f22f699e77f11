import Foundation
import Synchronization
import SystemFiles
import WireFormats

@testable import BatchAnswers

/// Folders and files of a test.
enum Scratch {
    /// A folder that lives as long as `body` runs.
    static func folder<Result>(_ body: (String) async throws -> Result) async throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appending(path: "batch-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try await body(folder.path)
    }
}

/// A batch of lines, whose file is open as long as `body` runs.
func withSource<Result>(
    _ text: String, limit: Int = 1 << 20, question: String? = nil, shard: Shard? = nil,
    finished: FinishedItems = FinishedItems(), _ body: (BatchSource) async throws -> Result
) async throws -> Result {
    try await Scratch.folder { folder in
        let path = "\(folder)/lines"
        try Data(text.utf8).write(to: URL(filePath: path))
        let descriptor = open(path, O_RDONLY)
        defer { close(descriptor) }
        return try await body(
            BatchSource(
                .lines(LineReader(descriptor: descriptor, limit: limit), size: nil), question: question,
                shard: shard, finished: finished))
    }
}

extension BatchSource {
    /// All that comes.
    func all() throws -> (items: [BatchItem], skipped: Int) {
        var items: [BatchItem] = []
        var skipped = 0
        while true {
            let step = try next()
            skipped += step.skipped
            guard let item = step.item else { return (items, skipped) }
            items.append(item)
        }
    }
}

extension BatchItem {
    var name: String { id?.description ?? "line \(line)" }

    var failure: BatchFailure? {
        if case .failure(let failure) = request { failure } else { nil }
    }
}

extension BatchRecord {
    /// A record that needs no model.
    static func made(_ item: BatchItem) throws -> BatchRecord {
        if let failure = item.failure { return try BatchRecord(item, failure) }
        return try BatchRecord(
            item,
            Content(
                text: item.name, finishReason: "stop", usage: .init(prompt: 3, completion: 2), remarks: [],
                model: "m", created: 0))
    }

    var object: [String: Any] {
        (try? JSONSerialization.jsonObject(with: line)) as? [String: Any] ?? [:]
    }
}
