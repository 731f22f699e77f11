#if Server
    package import FastVLMServer
    internal import Foundation
    internal import HummingbirdCore
    package import Logging
    internal import NIOCore
    internal import NIOPosix
    internal import ServiceLifecycle

    /// Listens for HTTP connections and hands their requests to a service.
    package struct HTTPListener: Sendable {
        /// Where the certificate and its key are, both PEM.
        package struct Certificate: Sendable {
            package var chain: String
            package var privateKey: String

            package init(chain: String, privateKey: String) {
                self.chain = chain
                self.privateKey = privateKey
            }
        }

        /// Why nothing is served.
        package enum Failure: Error, Sendable {
            /// In words, in the middle of a sentence.
            case listening(String)
            case certificate(String)
        }

        private let service: FastVLMService
        private let certificate: Certificate?
        private let socket: PassedSocket?
        private let logger: Logger

        /// - Parameters:
        ///   - certificate: nil for connections in the clear
        ///   - socket: nil to listen at the service's own address
        package init(
            _ service: FastVLMService, certificate: Certificate? = nil, socket: PassedSocket? = nil,
            logger: Logger
        ) {
            self.service = service
            self.certificate = certificate
            self.socket = socket
            self.logger = logger
        }

        /// Serves until the process is asked to end, by SIGTERM or SIGINT, and the running requests are done or late. A
        /// second signal ends the process at once.
        /// - Parameter onListening: receives the address that is listened on
        /// - Throws: ``Failure``.
        package func run(onListening: @escaping @Sendable (_ address: String) async -> Void) async throws {
            let options = service.options
            // Reading and writing only; requests are parsed and answered elsewhere.
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            var quiet = logger
            quiet.logLevel = max(logger.logLevel, .warning)
            let responder = RequestResponder(service)
            let channel = HTTP1Channel(
                responder: { try await responder.respond($0, $1, $2) },
                configuration: HTTP1Channel.Configuration(
                    additionalChannelHandlers: [DisconnectHandler()],
                    idleTimeout: TimeAmount(options.idleTimeout),
                    httpDecoderConfiguration: .init(
                        maxHeaderFieldSize: 32 << 10, maxHeaderListSize: 64 << 10, maxHeaderFieldCount: 200)))
            let running: @Sendable (any Channel) async -> Void = { channel in
                await onListening(Self.address(channel, options))
            }
            func server(_ child: some ServerChildChannel) -> any Service {
                ConnectionServer(
                    place: socket.map { .socket($0.descriptor) }
                        ?? .address(host: options.host, port: options.port),
                    child: child, maximumConnections: options.maximumConnections, group: group, logger: quiet,
                    onListening: running)
            }
            if let certificate {
                try await serve(server(try secured(channel, certificate)), quiet)
            } else {
                try await serve(server(channel), quiet)
            }
            try? await group.shutdownGracefully()
        }

        private func serve(_ server: any Service, _ quiet: Logger) async throws {
            var settings = ServiceGroupConfiguration(services: [server], logger: quiet)
            settings.maximumGracefulShutdownDuration = service.options.drainTimeout
            let services = ServiceGroup(configuration: settings)
            let signals = EndingSignals { [service, logger] in
                service.drain()
                logger.notice(
                    "shutting down", metadata: ["running requests": "\(service.current)"])
                await services.triggerGracefulShutdown()
            }
            defer { signals.cancel() }
            do {
                try await withThrowingTaskGroup(of: Void.self) { tasks in
                    tasks.addTask { try await services.run() }
                    tasks.addTask { [service] in
                        while true {
                            try await Task.sleep(for: .seconds(1))
                            await service.store.unloadIdle()
                        }
                    }
                    try await tasks.next()
                    tasks.cancelAll()
                }
            } catch {
                // Those that were still running when the time was over were cut off; that is how it ends.
                guard service.isDraining else { throw Failure.listening("\(place): \(error)") }
            }
        }

        private var place: String {
            socket == nil
                ? "\(service.options.host), port \(service.options.port)" : "the socket that was passed"
        }

        private static func address(_ channel: any Channel, _ options: ServerOptions) -> String {
            let port = channel.localAddress?.port ?? options.port
            let host = options.host.contains(":") ? "[\(options.host)]" : options.host
            return "\(host):\(port)"
        }

        #if TLS
            private func secured(
                _ channel: HTTP1Channel, _ certificate: Certificate
            ) throws(Failure) -> some ServerChildChannel {
                try SecureChannel(channel, certificate, logger: logger)
            }
        #else
            private func secured(
                _ channel: HTTP1Channel, _ certificate: Certificate
            ) throws(Failure) -> HTTP1Channel {
                throw .certificate("this build has no TLS (trait TLS)")
            }
        #endif
    }
#endif
