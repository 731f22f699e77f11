package import FastVLM
internal import Foundation
package import Logging
internal import Synchronization

/// The models that the server has: loaded when they are asked for, unloaded when nobody asks any more or another needs
/// their memory.
package actor ModelStore {
    private enum State {
        case unloaded
        case loading(Task<VisionLanguageModel, any Error>)
        case loaded(VisionLanguageModel)
    }

    private struct Entry {
        let model: ServedModel
        let files: ModelFiles
        var state = State.unloaded
        var users = 0
        var lastUse = ContinuousClock.now
        /// As the last request asked; nil leaves it to the server.
        var keepAlive: Duration?
        /// Known since it was first loaded.
        var information: ModelInformation?
    }

    /// A model that a request works with.
    package struct Lease: Sendable {
        package let id: String
        package let model: VisionLanguageModel
        /// Seconds that the request waited for the model to be loaded.
        package let loadSeconds: Double
    }

    private var entries: [Entry]
    private let options: ServerOptions
    private let logger: Logger
    private let loadOptions: @Sendable (_ id: String) -> LoadOptions
    private let isLoading = Atomic<Bool>(false)

    package init(
        _ models: [ServedModel], options: ServerOptions, logger: Logger,
        loadOptions: @escaping @Sendable (_ id: String) -> LoadOptions
    ) {
        entries = models.map { Entry(model: $0, files: ModelFiles($0.source)) }
        self.options = options
        self.logger = logger
        self.loadOptions = loadOptions
    }

    /// From now on, until ``loadFirst()`` is done, requests get 503.
    package nonisolated func announceLoading() { isLoading.store(true, ordering: .relaxed) }

    /// Loads the first model before anybody asks for it.
    /// - Throws: what is wrong with the model.
    package func loadFirst() async throws {
        defer { isLoading.store(false, ordering: .relaxed) }
        if !entries.isEmpty { _ = try await load(0) }
    }

    /// Whether the server is loading the model that it starts with.
    nonisolated var isStarting: Bool { isLoading.load(ordering: .relaxed) }

    // MARK: - Use

    /// Runs `body` with a model that stays loaded meanwhile.
    /// - Parameters:
    ///   - name: as the request gives it; nil takes the first model
    ///   - keepAlive: seconds that the model stays loaded after this request, below 0 for ever; nil leaves it to the server,
    ///     whatever an earlier request asked for
    func withModel<Value: Sendable>(
        _ name: String?, keepAlive: Double? = nil, _ body: @Sendable (Lease) async throws -> Value
    ) async throws -> Value {
        let place = try place(of: name)
        guard !isStarting else {
            throw Refusal.unavailable("The model is being loaded.", code: "loading", retryAfter: 1)
        }
        entries[place].keepAlive = keepAlive.map(Self.duration)
        entries[place].users += 1
        defer {
            entries[place].users -= 1
            entries[place].lastUse = .now
        }
        let start = ContinuousClock.now
        let model = try await load(place)
        let waited = ContinuousClock.now - start
        return try await body(
            Lease(
                id: entries[place].model.id, model: model, loadSeconds: waited.inSeconds))
    }

    /// - Throws: `Refusal` for a name that no model has. Where there is only one model, any name means it: clients have
    ///   names of their own.
    private func place(of name: String?) throws -> Int {
        guard let name, !name.isEmpty else { return 0 }
        let plain = name.hasSuffix(":latest") ? String(name.dropLast(7)) : name
        if let place = entries.firstIndex(where: { $0.model.id == plain || $0.model.aliases.contains(plain) })
        {
            return place
        }
        guard entries.count == 1 else { throw Self.unknown }
        return 0
    }

    static let unknown = Refusal.notFound(
        "There is no model of this name; GET /v1/models lists those that there are.", code: "model_not_found")

    private func load(_ place: Int) async throws -> VisionLanguageModel {
        let task: Task<VisionLanguageModel, any Error>
        switch entries[place].state {
        case .loaded(let model): return model
        case .loading(let running): task = running
        case .unloaded:
            try makeRoom(for: place)
            let (source, id) = (entries[place].model.source, entries[place].model.id)
            let options = loadOptions(id)
            logger.info("loading", metadata: ["model": "\(id)"])
            task = Task { try await VisionLanguageModel(contentsOf: source, options: options) }
            entries[place].state = .loading(task)
            Task { await self.finishLoading(place, task) }
        }
        // Whoever leaves meanwhile waits no longer; the loading goes on for others.
        let results = AsyncThrowingStream<VisionLanguageModel, any Error> { continuation in
            Task {
                continuation.yield(with: await task.result)
                continuation.finish()
            }
        }
        for try await model in results { return model }
        throw CancellationError()
    }

    private func finishLoading(_ place: Int, _ task: Task<VisionLanguageModel, any Error>) async {
        let id = entries[place].model.id
        switch await task.result {
        case .success(let model):
            entries[place].state = .loaded(model)
            entries[place].information = model.information
            entries[place].lastUse = .now
            logger.info(
                "loaded",
                metadata: [
                    "model": "\(id)", "seconds": "\(model.information.loadSeconds)",
                    "precision": "\(model.information.precision)",
                ])
        case .failure(let error):
            entries[place].state = .unloaded
            logger.error("cannot load", metadata: ["model": "\(id)", "error": "\(error)"])
        }
    }

    // MARK: - Memory

    /// The first model whose weights alone are more than a budget.
    package static func oversized(_ models: [ServedModel], budget: Int) -> (id: String, bytes: Int)? {
        models.lazy.map { ($0.id, ModelFiles($0.source).bytes) }.first { $0.1 > budget }
    }

    /// Unloads models that nobody uses, those that were used longest ago first, until another one fits.
    private func makeRoom(for place: Int) throws {
        guard let budget = options.memoryBudget else { return }
        func held() -> Int {
            entries.indices.reduce(entries[place].files.bytes) { sum, other in
                if case .unloaded = entries[other].state { return sum }
                return sum + entries[other].files.bytes
            }
        }
        while held() > budget {
            let idle = entries.indices.filter { other in
                guard case .loaded = entries[other].state else { return false }
                return entries[other].users == 0
            }
            guard let oldest = idle.min(by: { entries[$0].lastUse < entries[$1].lastUse }) else {
                throw Refusal.unavailable(
                    "There is no memory for this model while others are in use. Try again later.",
                    code: "no_memory_for_model", retryAfter: 10)
            }
            unload(oldest, why: "for another model")
        }
    }

    private func unload(_ place: Int, why: String) {
        entries[place].state = .unloaded
        logger.info("unloaded \(why)", metadata: ["model": "\(entries[place].model.id)"])
    }

    /// Unloads models that nobody has used for long enough.
    package func unloadIdle(now: ContinuousClock.Instant = .now) {
        for place in entries.indices {
            guard case .loaded = entries[place].state, entries[place].users == 0,
                let limit = entries[place].keepAlive ?? options.idleUnload, limit >= .zero,
                now - entries[place].lastUse >= limit
            else { continue }
            unload(place, why: "after being idle")
        }
    }

    /// How long a model stays loaded after its last request.
    /// - Parameter seconds: below 0 for ever
    func keep(_ name: String?, for seconds: Double) throws {
        entries[try place(of: name)].keepAlive = Self.duration(seconds)
    }

    private static func duration(_ seconds: Double) -> Duration {
        seconds < 0 ? .seconds(-1) : .seconds(min(seconds, 1e9))
    }

    // MARK: - What is there

    struct Status: Sendable {
        let id: String
        let aliases: [String]
        let files: ModelFiles
        /// nil before it was first loaded.
        let information: ModelInformation?
        let state: String
        /// Seconds from now; nil where it stays, or is not loaded.
        let expiresIn: Double?
    }

    var status: [Status] {
        entries.map { entry in
            let state =
                switch entry.state {
                case .unloaded: "unloaded"
                case .loading: "loading"
                case .loaded: "loaded"
                }
            var expires: Double?
            if case .loaded = entry.state, let limit = entry.keepAlive ?? options.idleUnload, limit >= .zero {
                let left = limit - (ContinuousClock.now - entry.lastUse)
                expires = max(left.inSeconds, 0)
            }
            return Status(
                id: entry.model.id, aliases: entry.model.aliases, files: entry.files,
                information: entry.information, state: state, expiresIn: expires)
        }
    }

    func status(of name: String?) throws -> Status { status[try place(of: name)] }

    /// As ``status(of:)``, for a name that must be a model's own.
    func status(named name: String) throws -> Status {
        let plain = name.hasSuffix(":latest") ? String(name.dropLast(7)) : name
        guard let status = status.first(where: { $0.id == plain || $0.aliases.contains(plain) }) else {
            throw Self.unknown
        }
        return status
    }

    /// Whether the first model is loaded, or the models are loaded on demand anyway.
    var isReady: Bool {
        guard !options.loadsLazily, let first = entries.first else { return true }
        // It was loaded once; it may be unloaded by now, and the next request loads it.
        return first.information != nil
    }
}

/// What can be known of a model without loading it.
struct ModelFiles: Sendable {
    /// Of its weights' files.
    let bytes: Int
    let modified: Date?
    /// Tells one state of the folder from another, by the names, sizes and times of its files; no hash of what they hold.
    let digest: String

    init(_ source: ModelSource) {
        let names: [URLResourceKey] = [.fileSizeKey, .contentModificationDateKey]
        guard let folder = try? source.directory(),
            let files = try? FileManager.default.contentsOfDirectory(
                at: folder.resolvingSymlinksInPath(), includingPropertiesForKeys: names)
        else {
            (bytes, modified, digest) = (0, nil, String(repeating: "0", count: 64))
            return
        }
        var (size, latest) = (0, Date.distantPast)
        var lanes: [UInt64] = [0xcbf2_9ce4_8422_2325, 1, 2, 3]
        for file in files.sorted(by: { $0.lastPathComponent < $1.lastPathComponent }) {
            // What a cache of the hub holds are links.
            let values = try? file.resolvingSymlinksInPath().resourceValues(forKeys: Set(names))
            let date = values?.contentModificationDate ?? .distantPast
            if file.pathExtension == "safetensors" { size += values?.fileSize ?? 0 }
            latest = max(latest, date)
            let text = "\(file.lastPathComponent)/\(values?.fileSize ?? 0)/\(date.timeIntervalSince1970)"
            for lane in lanes.indices {
                for byte in text.utf8 {
                    lanes[lane] = (lanes[lane] ^ UInt64(byte)) &* (0x0000_0100_0000_01b3 + UInt64(lane) * 2)
                }
            }
        }
        bytes = size
        modified = latest == .distantPast ? nil : latest
        digest = lanes.map(\.hexadecimal).joined()
    }
}
