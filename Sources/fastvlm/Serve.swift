#if Server
    import ArgumentParser
    import CommandInput
    import FastVLM
    import FastVLMEmbedded
    import FastVLMServer
    import Foundation
    import HTTPListener
    import Logging
    import MediaFetch
    import ModelHub

    struct Serve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Answer requests of OpenAI's and Ollama's clients over HTTP.",
            discussion: """
                fastvlm serve
                fastvlm serve --model apple/FastVLM-0.5B
                fastvlm serve --model apple/FastVLM-0.5B --host 0.0.0.0 --api-key-file keys.txt

                The server listens on this machine only unless --host says otherwise; that needs keys, or --no-auth. \
                Without --model it serves the small embedded model. SIGTERM and Ctrl-C let running requests finish \
                (--drain-timeout); a second signal ends the program at once.
                """)

        @Option(
            name: .shortAndLong,
            help:
                "Checkpoint folder or model of the hub; may be given several times. The first is loaded at once, others when they are asked for.",
            completion: .directory)
        var model: [String] = []

        @OptionGroup(title: "Address") var address: AddressOptions
        @OptionGroup(title: "Limits") var limits: ServerLimitOptions
        @OptionGroup(title: "Models") var loading: ServedModelOptions
        @OptionGroup(title: "Log") var log: LogOptions

        func run() async throws {
            let names = model
            for name in names { try await ModelName.fetchIfMissing(name) }
            let models = try Self.models(names)
            var options = ServerOptions()
            options.version = FastVLMCommand.version
            let socket: PassedSocket?
            do {
                socket = try PassedSocket(ProcessInfo.processInfo.environment)
            } catch {
                throw CommandFailure(error)
            }
            try address.apply(to: &options, socket)
            limits.apply(to: &options)
            try loading.apply(to: &options)
            if let budget = options.memoryBudget,
                let (id, bytes) = ModelStore.oversized(models, budget: budget)
            {
                throw CommandFailure(
                    .usage,
                    "the weights of '\(id)' take \(byteCount(bytes)), more than --memory-budget; raise it")
            }
            options.logsPrompts = log.logPrompts
            let logger = log.logger()
            let registry = MetricsRegistry()
            let service = FastVLMService(models, options: options, registry: registry, logger: logger)
            let listener = HTTPListener(
                service, certificate: try address.certificate(), socket: socket, logger: logger)
            let scheme = address.tlsCertificate == nil ? "http" : "https"
            // Requests get 503 until it is there.
            let loadsAtOnce = !options.loadsLazily
            if loadsAtOnce { service.store.announceLoading() }
            do {
                try await listener.run { address in
                    logger.notice("listening", metadata: ["address": "\(scheme)://\(address)"])
                    guard loadsAtOnce else { return }
                    Task {
                        do {
                            try await service.store.loadFirst()
                        } catch {
                            leave((error as? FastVLMError).map { CommandFailure($0) } ?? error)
                        }
                    }
                }
            } catch let error as CommandFailure {
                throw error
            } catch let error as FastVLMError {
                throw CommandFailure(error)
            } catch let failure as HTTPListener.Failure {
                throw CommandFailure(failure)
            }
        }

        private static func models(_ names: [String]) throws -> [ServedModel] {
            guard !names.isEmpty else {
                return [
                    ServedModel(id: "fastvlm-small", source: .embedded, aliases: ["embedded", "fastvlm"])
                ]
            }
            var models: [ServedModel] = []
            for name in names {
                let source = try ModelName.source(name)
                // What is wrong with a folder is said now, not by the first request.
                do {
                    _ = try source.directory()
                } catch let error as FastVLMError {
                    throw CommandFailure(error)
                }
                let text = ByteText.shown(name)
                let isFolder = FileManager.default.fileExists(atPath: text)
                let id =
                    isFolder
                    ? URL(filePath: text).standardizedFileURL.lastPathComponent
                    : String(text.prefix { $0 != "@" })
                guard !models.contains(where: { $0.id == id }) else {
                    throw CommandFailure(.usage, "two models are called '\(id)'; rename a folder")
                }
                models.append(
                    ServedModel(id: id, source: source, aliases: isFolder || id == text ? [] : [text]))
            }
            return models
        }
    }

    extension CommandFailure {
        fileprivate init(_ failure: HTTPListener.Failure) {
            switch failure {
            case .listening(let reason): self.init(.system, "cannot listen: \(reason)")
            case .certificate(let reason): self.init(.usage, reason)
            }
        }
    }

    /// Where the server listens, and who may use it.
    struct AddressOptions: ParsableArguments {
        @Option(help: "Address to listen on; 0.0.0.0 for all.")
        var host = "127.0.0.1"

        @Option(name: .shortAndLong, parsing: .unconditional, help: "Port to listen on; 0 takes a free one.")
        var port = 8080

        @Option(
            help:
                "A key that opens the server; may be given several times (default: $FASTVLM_API_KEY, if set)."
        )
        var apiKey: [String] = []

        @Option(help: "A file of keys, one a line.", completion: .file())
        var apiKeyFile: String?

        @Flag(help: "Answer whoever reaches the address, without keys.")
        var noAuth = false

        @Option(
            help: "Origin whose pages may use the server, as https://example.org; * for all. May be repeated."
        )
        var allowOrigin: [String] = []

        @Option(
            help: "Name that the server may be called by, beside localhost and its address. May be repeated.")
        var allowedHost: [String] = []

        @Option(
            defaultAsFlag: "all", parsing: .scanningForValue,
            help: """
                Fetch images whose https:// addresses requests name, from all of the public internet, or from the \
                hosts of a list, separated by commas (--allow-remote-images=a.example,b.example).
                """)
        var allowRemoteImages: String?

        @Option(
            help: ArgumentHelp("Certificate chain for HTTPS, PEM.", visibility: Self.tlsVisibility),
            completion: .file())
        var tlsCertificate: String?

        @Option(
            help: ArgumentHelp("The certificate's private key, PEM.", visibility: Self.tlsVisibility),
            completion: .file())
        var tlsKey: String?

        #if TLS
            static let tlsVisibility = ArgumentVisibility.default
        #else
            static let tlsVisibility = ArgumentVisibility.hidden
        #endif

        func validate() throws {
            try check("--port", port, in: 0...65535)
            if noAuth, !apiKey.isEmpty || apiKeyFile != nil {
                throw ValidationError("--no-auth and keys exclude each other.")
            }
            if (tlsCertificate == nil) != (tlsKey == nil) {
                throw ValidationError("--tls-certificate and --tls-key need each other.")
            }
            #if !TLS
                if tlsCertificate != nil {
                    throw ValidationError(
                        "this build has no TLS; build with: swift build -c release --traits TLS,GIF,TIFF,HEIF, "
                            + "or put a proxy in front.")
                }
            #endif
        }

        /// - Parameter socket: where it listens in place of its own address
        func apply(to options: inout ServerOptions, _ socket: PassedSocket?) throws {
            options.host = ByteText.shown(host)
            options.port = port
            options.allowedOrigins = allowOrigin.map(ByteText.shown)
            options.allowedHosts = allowedHost.map(ByteText.shown)
            if let allowRemoteImages {
                do {
                    options.fetcher = MediaFetcher(
                        allowedHosts: allowRemoteImages == "all" ? .any : try .list(allowRemoteImages))
                } catch {
                    throw CommandFailure(.usage, "--allow-remote-images: \(error.description)")
                }
            }
            options.keys = noAuth ? [] : try keys()
            guard socket?.isLoopback ?? options.isLoopback || noAuth || !options.keys.isEmpty else {
                let name = socket == nil ? options.host : "the socket that was passed"
                throw CommandFailure(
                    .usage,
                    "\(name) can be reached from other machines: give keys (--api-key or --api-key-file), "
                        + "or --no-auth if everybody may use the server")
            }
        }

        private func keys() throws -> [String] {
            var keys = apiKey.map(ByteText.shown)
            if keys.isEmpty, let key = ProcessInfo.processInfo.environment["FASTVLM_API_KEY"] { keys = [key] }
            if let apiKeyFile {
                let text = try textFile(apiKeyFile, limit: 1 << 20)
                let lines = text.split(whereSeparator: \.isNewline).map {
                    $0.trimmingCharacters(in: .whitespaces)
                }
                let more = lines.filter { !$0.isEmpty && !$0.hasPrefix("#") }
                guard !more.isEmpty else {
                    throw CommandFailure(.usage, "there are no keys in '\(ByteText.shown(apiKeyFile))'")
                }
                keys += more
            }
            guard keys.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (33...126).contains($0) } }) else {
                throw CommandFailure(.usage, "a key must be of printable ASCII without spaces")
            }
            return keys
        }

        func certificate() throws -> HTTPListener.Certificate? {
            guard let tlsCertificate, let tlsKey else { return nil }
            return HTTPListener.Certificate(
                chain: ByteText.shown(tlsCertificate), privateKey: ByteText.shown(tlsKey))
        }
    }

    /// How much the server takes.
    struct ServerLimitOptions: ParsableArguments {
        @Option(parsing: .unconditional, help: "Most MiB of a request's body.")
        var maxBody = 32

        @Option(parsing: .unconditional, help: "Most images of a request.")
        var maxImages = 16

        @Option(
            parsing: .unconditional,
            help: "Most pixels per side that a request may have its images brought to.")
        var maxResolution = 1024

        @Option(
            parsing: .unconditional, help: "Most tokens of an answer, and as many where a request names none."
        )
        var maxTokens = 1024

        @Option(parsing: .unconditional, help: "Most requests that wait; further ones get 429.")
        var maxQueue = 256

        @Option(parsing: .unconditional, help: "Most requests that are worked on at once.")
        var parallel = 8

        @Option(parsing: .unconditional, help: "Most connections at a time.")
        var maxConnections = 512

        @Option(parsing: .unconditional, help: "Most seconds of a request, waiting included.")
        var requestTimeout = 600

        @Option(parsing: .unconditional, help: "Most seconds in which a request's body has to arrive.")
        var bodyTimeout = 30

        @Option(parsing: .unconditional, help: "Most seconds of a connection on which nothing happens.")
        var idleTimeout = 60

        @Option(parsing: .unconditional, help: "Most seconds for running requests after SIGTERM.")
        var drainTimeout = 30

        func validate() throws {
            try check("--max-body", maxBody, in: 1...1024)
            try check("--max-images", maxImages, in: 1...1024)
            try check("--max-resolution", maxResolution, in: 64...ModelInformation.largestImageSize)
            try check("--max-tokens", maxTokens, in: 1...1_000_000)
            try check("--max-queue", maxQueue, in: 1...1_000_000)
            try check("--parallel", parallel, in: 1...1024)
            try check("--max-connections", maxConnections, in: 1...65536)
            try check("--request-timeout", requestTimeout, in: 1...86400)
            try check("--body-timeout", bodyTimeout, in: 1...86400)
            try check("--idle-timeout", idleTimeout, in: 1...86400)
            try check("--drain-timeout", drainTimeout, in: 0...86400)
        }

        func apply(to options: inout ServerOptions) {
            options.maximumBody = maxBody << 20
            options.bodyMemory = max(options.bodyMemory, 2 * options.maximumBody)
            options.maximumImages = maxImages
            options.maximumResolution = maxResolution
            options.maximumTokens = maxTokens
            options.load.maximumWaiting = maxQueue
            options.load.maximumRunning = parallel
            options.maximumConnections = maxConnections
            options.requestTimeout = .seconds(requestTimeout)
            options.bodyTimeout = .seconds(bodyTimeout)
            options.idleTimeout = .seconds(idleTimeout)
            options.drainTimeout = .seconds(drainTimeout)
        }
    }

    /// How models are loaded, and how long they stay.
    struct ServedModelOptions: ParsableArguments {
        @Option(
            help:
                "float32, bfloat16, int8 or int4; int8-weights or int4-weights (default: as each checkpoint stores its weights)."
        )
        var precision: Precision?

        @Option(
            name: .shortAndLong, parsing: .unconditional,
            help: "Worker threads (default: see `fastvlm info`).")
        var threads: Int?

        @Option(parsing: .unconditional, help: "Longest sequence, in positions (default: the checkpoint's).")
        var context: Int?

        @Option(
            parsing: .unconditional, help: "Pixels per side, a multiple of 64 (default: the checkpoint's).")
        var resolution: Int?

        @Option(parsing: .unconditional, help: "Most megapixels of an image.")
        var maxMegapixels = 100

        @Option(
            parsing: .unconditional,
            help: "Most MiB of keys and values of each model, of running requests and of earlier ones.")
        var cacheMemory = 256

        @Flag(help: "Load each model when it is first asked for, the first one too.")
        var lazy = false

        @Option(parsing: .unconditional, help: "Unload a model that nobody asked for this many seconds.")
        var idleUnload: Int?

        @Option(
            parsing: .unconditional,
            help:
                "Most MiB of weights that loaded models have; others are unloaded for one that is asked for.")
        var memoryBudget: Int?

        func validate() throws {
            try check("--threads", threads ?? 1, in: LoadOptions.possibleThreads)
            try check("--max-megapixels", maxMegapixels, in: 1...4096)
            try check("--cache-memory", cacheMemory, in: 0...1_048_576)
            try check("--idle-unload", idleUnload ?? 1, in: 1...10_000_000)
            try check("--memory-budget", memoryBudget ?? 1, in: 1...1_048_576)
        }

        func apply(to options: inout ServerOptions) throws {
            options.load.precision = precision
            options.load.threads = threads
            options.load.contextLength = context
            options.load.imageSize = resolution
            options.load.keyValueBytes = cacheMemory << 20
            options.load.maximumPixels = maxMegapixels * 1_000_000
            options.loadsLazily = lazy
            options.idleUnload = idleUnload.map { .seconds($0) }
            options.memoryBudget = memoryBudget.map { $0 << 20 }
        }
    }

    /// What is logged, and how; to stderr.
    struct LogOptions: ParsableArguments {
        enum Format: String, ExpressibleByArgument, CaseIterable { case text, json }

        enum Level: String, ExpressibleByArgument, CaseIterable {
            case debug, info, notice, warning, error
        }

        @Option(help: "text or json.")
        var logFormat = Format.text

        @Option(help: "debug, info, notice, warning or error.")
        var logLevel = Level.info

        @Flag(help: "Log questions and answers too; images never are.")
        var logPrompts = false

        func logger() -> Logger {
            let format = logFormat
            var logger = Logger(label: "fastvlm") { label -> any LogHandler in
                switch format {
                case .text: StreamLogHandler.standardError(label: label)
                case .json: JSONLogHandler(label: label)
                }
            }
            logger.logLevel = Logger.Level(rawValue: logLevel.rawValue) ?? .info
            return logger
        }
    }
#endif
