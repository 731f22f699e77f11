import ArgumentParser
import Checkpoints
import CommandInput
import FastVLM
import Foundation
import ModelHub
import Synchronization

struct Pull: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Download a model from the Hugging Face hub.",
        discussion: """
            fastvlm pull apple/FastVLM-0.5B
            fastvlm pull fastvlm-0.5b --yes
            fastvlm describe photo.jpg --model apple/FastVLM-0.5B

            Only the files that a model needs are downloaded, into the cache that the hub's Python client uses too; what it \
            downloaded is used. Interrupted downloads resume, and every file is checked against its hash. A model that \
            cannot be run is refused before its weights are downloaded. Scripts must give --yes to accept the licence.

            Environment: HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE.

            Short names: \(ShortNames.table.map { "\($0.key) (\($0.value))" }.joined(separator: ", ")).
            """)

    @Argument(help: "The repository, owner/name, or a short name.")
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
        let repository: String
        let revision: String
        let commit: String
        let folder: String
        let files: [String]
        let bytes: Int
        let downloadedBytes: Int
        let licence: String?
        let seconds: Double
    }

    func run() async throws {
        let (name, token) = (ByteText.shown(name), token.map(ByteText.shown))
        let (revision, include, yes, quiet, json) = (revision, include, yes, quiet, json)
        if let localDir, ByteText.hasForeignBytes(localDir) {
            throw CommandFailure(.output, "the name of the folder is not UTF-8; choose another name")
        }
        let folder = localDir
        try await running {
            guard let repository = ShortNames.repository(name) else {
                throw CommandFailure(
                    .usage,
                    "'\(name)' is no repository of a hub; write owner/name, such as apple/FastVLM-0.5B, or one of "
                        + ShortNames.table.map(\.key).joined(separator: ", "))
            }
            let settings = try HubSettings(environment: ProcessInfo.processInfo.environment, token: token)
            var pull = try ModelPull(repository, revision: revision, settings: settings)
            pull.include = include
            pull.localFolder = folder
            let start = ContinuousClock.now
            let session = PullSession(pull: pull, isQuiet: quiet, accepts: yes, asksFirst: false)
            let (plan, outcome) = try await session.run()
            if json {
                try Terminal.json(
                    Report(
                        repository: "\(repository)", revision: revision, commit: plan.commit,
                        folder: outcome.folder, files: plan.files.map(\.path).sorted(), bytes: plan.bytes,
                        downloadedBytes: outcome.downloaded, licence: plan.licence.name,
                        seconds: (ContinuousClock.now - start) / .seconds(1)), pretty: true)
            } else if !quiet {
                try Terminal.answer(outcome.folder, terminator: "\n")
            }
        }
    }
}

/// One download with what is said and asked around it.
struct PullSession: Sendable {
    var pull: ModelPull
    let isQuiet: Bool
    /// Whether the licence is accepted already.
    let accepts: Bool
    /// Whether to ask before the download, also under an open licence.
    let asksFirst: Bool

    init(pull: ModelPull, isQuiet: Bool, accepts: Bool, asksFirst: Bool) {
        self.pull = pull
        self.pull.examine = { CheckpointFolder.refusal(configuration: $0) }
        (self.isQuiet, self.accepts, self.asksFirst) = (isQuiet, accepts, asksFirst)
    }

    func run() async throws -> (plan: ModelPull.Plan, outcome: ModelPull.Outcome) {
        do {
            return try await download()
        } catch let error as HubError {
            throw CommandFailure(error)
        }
    }

    private func download() async throws -> (plan: ModelPull.Plan, outcome: ModelPull.Outcome) {
        let plan = try await pull.plan()
        let name = pull.repository.description
        if !isQuiet {
            Terminal.note(
                "\(name): \(plan.files.count) files, \(byteCount(plan.bytes))"
                    + (plan.missing == plan.bytes ? "" : ", \(byteCount(plan.missing)) of them to download"))
            Terminal.note("licence: \(plan.licence.summary)")
            if !plan.licence.isOpen, let link = plan.licence.link ?? plan.licencePage {
                Terminal.note("  \(link)")
            }
        }
        try agree(to: plan)
        let line = TransferLine(name, enabled: !isQuiet)
        defer { line.clear() }
        let outcome = try await pull.run(plan) { event in
            switch event {
            case .checking(let file): line.show("checking \(file)")
            case .waiting(let file): line.show("another process downloads \(file); waiting")
            case .progress(let done, let all): line.update(done, of: all)
            }
        }
        return (plan, outcome)
    }

    private func agree(to plan: ModelPull.Plan) throws {
        let accepted = AcceptedLicences(pull.settings)
        let isAgreed = try accepts || plan.licence.isOpen || accepted.contains(pull.repository, plan)
        if isAgreed, !asksFirst { return try remember(plan, accepted) }
        guard Terminal.canAsk else {
            throw CommandFailure(
                .usage,
                "\(pull.repository) is under a licence that has to be accepted (\(plan.licence.summary)); if you accept "
                    + "it, give --yes")
        }
        let question =
            isAgreed
            ? "Download \(pull.repository)?"
            : "The licence is \(plan.licence.summary). Do you accept it and download \(pull.repository)?"
        guard Terminal.confirms(question) else {
            throw CommandFailure(.usage, "nothing was downloaded")
        }
        try remember(plan, accepted)
    }

    /// A place for the memory that cannot be written means to be asked again.
    private func remember(_ plan: ModelPull.Plan, _ accepted: AcceptedLicences) throws {
        if !plan.licence.isOpen { try? accepted.add(pull.repository, plan) }
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

    func update(_ done: Int, of all: Int) {
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
