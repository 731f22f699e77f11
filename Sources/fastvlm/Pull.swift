import ArgumentParser
import Checkpoints
import CommandInput
import FastVLM
import Foundation
import ModelHub
import Synchronization

struct Pull: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Download a model from the Hugging Face hub, or a zip archive of Apple's.",
        discussion: """
            fastvlm pull apple/FastVLM-0.5B
            fastvlm pull fastvlm-0.5b --yes
            fastvlm pull \(ArchiveAddress.example)
            fastvlm describe photo.jpg --model apple/FastVLM-0.5B

            Only the files that a model needs are downloaded, into the cache that the hub's Python client uses too; what it \
            downloaded is used. Interrupted downloads resume, and every file is checked against its hash. A model that \
            cannot be run is refused before its weights are downloaded. Scripts must give --yes to accept the licence.

            Environment: HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE.

            Short names: \(ShortNames.table.map { "\($0.key) (\($0.value))" }.joined(separator: ", ")).
            """)

    @Argument(help: "The repository, owner/name, a short name, or the https address of a zip archive.")
    var name: String

    @Option(help: "Branch, tag or commit.")
    var revision = "main"

    @Option(
        help:
            "Access token (default: HF_TOKEN or the file that 'hf auth login' writes, which others cannot see)."
    )
    var token: String?

    @Option(help: "Put the files into this folder instead of the cache.", completion: .directory)
    var localDir: String?

    @Option(
        help:
            "Files like this pattern, such as '*.json', instead of what a model needs; may be given several times."
    )
    var include: [String] = []

    @Flag(name: .shortAndLong, help: "Accept the licence without being asked.")
    var yes = false

    @Flag(name: .shortAndLong, help: "Say nothing but errors.")
    var quiet = false

    @Flag(help: "One JSON object on stdout: commit, folder, files, bytes, licence.")
    var json = false

    private struct Report: Encodable {
        var archive: String?
        var repository: String?
        var revision: String?
        var commit: String?
        let folder: String
        let files: [String]
        let bytes: Int
        let downloadedBytes: Int
        let licence: String?
        var seconds = 0.0
    }

    func run() async throws {
        let (name, token) = (ByteText.shown(name), token.map(ByteText.shown))
        let (include, yes, quiet, json) = (include, yes, quiet, json)
        if let localDir, ByteText.hasForeignBytes(localDir) {
            throw CommandFailure(.output, "the name of the folder is not UTF-8; choose another name")
        }
        let (folder, revision) = (localDir, revision)
        try await running {
            let settings = try HubSettings(environment: ProcessInfo.processInfo.environment, token: token)
            let session = PullSession(isQuiet: quiet, accepts: yes, asksFirst: false)
            let start = ContinuousClock.now
            var report: Report
            if ArchiveAddress.isMeant(name) {
                guard folder == nil, include.isEmpty, revision == "main" else {
                    throw CommandFailure(
                        .usage,
                        "an archive has no --revision, --local-dir or --include; what a model needs is unpacked"
                    )
                }
                let address = try ArchiveAddress(name)
                let (plan, outcome) = try await session.run(ArchivePull(address, settings: settings))
                report = Report(
                    archive: "\(address)", folder: outcome.folder, files: outcome.files, bytes: plan.bytes,
                    downloadedBytes: outcome.downloaded, licence: plan.terms.licence.name)
            } else {
                var pull = try ModelPull(try Self.repository(name), revision: revision, settings: settings)
                pull.include = include
                pull.localFolder = folder
                let (plan, outcome) = try await session.run(pull)
                report = Report(
                    repository: "\(pull.repository)", revision: revision, commit: plan.commit,
                    folder: outcome.folder, files: plan.files.map(\.path).sorted(), bytes: plan.bytes,
                    downloadedBytes: outcome.downloaded, licence: plan.terms.licence.name)
            }
            if json {
                report.seconds = (ContinuousClock.now - start) / .seconds(1)
                try Terminal.json(report, pretty: true)
            } else if !quiet {
                try Terminal.answer(report.folder, terminator: "\n")
            }
        }
    }

    private static func repository(_ name: String) throws -> RepositoryName {
        guard let repository = ShortNames.repository(name) else {
            throw CommandFailure(
                .usage,
                "'\(name)' is no repository of a hub; write owner/name, such as apple/FastVLM-0.5B, or one of "
                    + ShortNames.table.map(\.key).joined(separator: ", "))
        }
        return repository
    }
}

/// One download with what is said and asked around it.
struct PullSession: Sendable {
    let isQuiet: Bool
    /// Whether the licence is accepted already.
    let accepts: Bool
    /// Whether to ask before the download, also under an open licence.
    let asksFirst: Bool

    func run(_ pull: ModelPull) async throws -> (plan: ModelPull.Plan, outcome: ModelPull.Outcome) {
        var pull = pull
        pull.examine = { CheckpointFolder.refusal(configuration: $0) }
        do {
            let plan = try await pull.plan()
            let title = "\(pull.repository): \(plan.files.count) files, \(byteCount(plan.bytes))"
            try agree(to: plan.terms, title, missing: plan.missing, of: plan.bytes, pull.settings)
            let line = TransferLine("\(pull.repository)", enabled: !isQuiet)
            defer { line.clear() }
            return (plan, try await pull.run(plan, event: line.show))
        } catch let error as HubError {
            throw CommandFailure(error)
        }
    }

    func run(_ pull: ArchivePull) async throws -> (plan: ArchivePull.Plan, outcome: ArchivePull.Outcome) {
        var pull = pull
        pull.examine = { CheckpointFolder.refusal(configuration: $0) }
        do {
            let plan = try await pull.plan()
            let title = "\(pull.address.name): an archive of \(byteCount(plan.bytes))"
            try agree(to: plan.terms, title, missing: plan.missing, of: plan.bytes, pull.settings)
            let line = TransferLine(pull.address.name, enabled: !isQuiet)
            defer { line.clear() }
            return (plan, try await pull.run(plan, event: line.show))
        } catch let error as HubError {
            throw CommandFailure(error)
        }
    }

    /// Says what is going to be downloaded, and asks where it has to be accepted.
    private func agree(
        to terms: Terms, _ title: String, missing: Int, of bytes: Int, _ settings: HubSettings
    ) throws {
        let licence = terms.licence
        if !isQuiet {
            Terminal.note(title + (missing == bytes ? "" : ", \(byteCount(missing)) of them to download"))
            Terminal.note("licence: \(licence.summary)")
            if !licence.isOpen, let link = licence.link ?? terms.page { Terminal.note("  \(link)") }
        }
        let accepted = AcceptedLicences(settings)
        let isAgreed = try accepts || licence.isOpen || accepted.contains(terms)
        if isAgreed, !asksFirst { return remember(terms, accepted) }
        guard Terminal.canAsk else {
            throw CommandFailure(
                .usage,
                "\(terms.subject) is under a licence that has to be accepted (\(licence.summary)); if you accept "
                    + "it, give --yes")
        }
        let question =
            isAgreed
            ? "Download \(terms.subject)?"
            : "The licence is \(licence.summary). Do you accept it and download \(terms.subject)?"
        guard Terminal.confirms(question) else {
            throw CommandFailure(.usage, "nothing was downloaded")
        }
        remember(terms, accepted)
    }

    /// A place for the memory that cannot be written means to be asked again.
    private func remember(_ terms: Terms, _ accepted: AcceptedLicences) {
        if !terms.licence.isOpen { try? accepted.add(terms) }
    }
}

/// How far a download is, on stderr, where that is a terminal: share, bytes, rate and time left.
final class TransferLine: Sendable {
    private struct State {
        var shown = false
        var last = ContinuousClock.now
        /// Bytes at points in time, of the last ten seconds.
        var points: [(time: ContinuousClock.Instant, bytes: Int)] = []
    }

    private let label: String
    private let enabled: Bool
    private let state = Mutex(State())

    init(_ label: String, enabled: Bool) {
        self.label = label
        self.enabled = enabled && Terminal.errorIsTerminal
    }

    func show(_ event: ModelPull.Event) {
        switch event {
        case .checking(let file): show("checking \(file)")
        case .waiting(let file): show("another process downloads \(file); waiting")
        case .unpacking(let file): show("unpacking \(file)")
        case .progress(let done, let all): update(done, of: all)
        }
    }

    private func update(_ done: Int, of all: Int) {
        guard enabled else { return }
        state.withLock { state in
            let now = ContinuousClock.now
            guard now - state.last > .milliseconds(200) || done == all else { return }
            state.last = now
            state.points.append((now, done))
            state.points.removeAll { now - $0.time > .seconds(10) }
            let words = Self.words(done, of: all, rate: Self.rate(state.points))
            Terminal.note("\r\u{1B}[K\(label)  \(words)", terminator: "")
            state.shown = true
        }
    }

    func show(_ words: String) {
        guard enabled else { return }
        state.withLock { state in
            Terminal.note("\r\u{1B}[K\(label)  \(words)", terminator: "")
            state.shown = true
        }
    }

    func clear() {
        state.withLock { state in
            if state.shown { Terminal.note("\r\u{1B}[K", terminator: "") }
            state.shown = false
        }
    }

    /// Bytes per second.
    private static func rate(_ points: [(time: ContinuousClock.Instant, bytes: Int)]) -> Double? {
        guard let first = points.first, let last = points.last, last.time - first.time > .milliseconds(500)
        else { return nil }
        return Double(last.bytes - first.bytes) / ((last.time - first.time) / .seconds(1))
    }

    static func words(_ done: Int, of all: Int, rate: Double?) -> String {
        let percent = all > 0 ? Int(Double(done) / Double(all) * 100) : 100
        var words = "\(percent) %  \(byteCount(done)) of \(byteCount(all))"
        if let rate, rate > 0 {
            words += "  \(byteCount(Int(rate)))/s"
            if done < all {
                let seconds = Int(min(Double(all - done) / rate, 359_999))
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60)
                words +=
                    hours > 0
                    ? String(format: "  %d:%02d:%02d left", hours, minutes, seconds % 60)
                    : String(format: "  %d:%02d left", minutes, seconds % 60)
            }
        }
        return words
    }
}
