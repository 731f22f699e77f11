#if Server
    internal import Foundation
    internal import HummingbirdCore
    internal import Logging
    internal import NIOCore
    internal import NIOExtras
    internal import NIOPosix
    internal import ServiceLifecycle

    /// Takes connections and serves each of them, until it is asked to end and the last one has ended.
    struct ConnectionServer<Child: ServerChildChannel>: Service {
        /// Where connections come from.
        enum Place: Sendable {
            case address(host: String, port: Int)
            /// A socket that somebody else listens on, and whose connections are left to us.
            case socket(Int32)
        }

        let place: Place
        let child: Child
        let maximumConnections: Int
        let group: any EventLoopGroup
        let logger: Logger
        /// Told when connections are taken.
        let onListening: @Sendable (any Channel) async -> Void

        func run() async throws {
            let quiescing = ServerQuiescingHelper(group: group)
            let listening = try await listen(quiescing)
            await withGracefulShutdownHandler {
                await onListening(listening.channel)
                await withDiscardingTaskGroup { tasks in
                    do {
                        try await listening.executeThenClose { inbound in
                            for try await connection in inbound {
                                tasks.addTask { await child.handle(value: connection, logger: logger) }
                            }
                        }
                    } catch {
                        logger.error("no more connections are taken", metadata: ["error": "\(error)"])
                    }
                }
            } onGracefulShutdown: {
                quiescing.initiateShutdown(promise: nil)
            }
        }

        private func listen(_ quiescing: ServerQuiescingHelper) async throws -> NIOAsyncChannel<
            Child.Value, Never
        > {
            let bootstrap = ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: 256)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                // A client that has said all it wants to say may still listen.
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .serverChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let connections = MaximumAvailableConnections(maximumConnections, logger: logger)
                        try channel.pipeline.syncOperations.addHandler(
                            AvailableConnectionsChannelHandler(delegate: connections))
                        try channel.pipeline.syncOperations.addHandler(
                            quiescing.makeServerChannelHandler(channel: channel))
                    }
                }
            let setup: @Sendable (any Channel) -> EventLoopFuture<Child.Value> = {
                child.setup(channel: $0, logger: logger)
            }
            return switch place {
            case .address(let host, let port):
                try await bootstrap.bind(host: host, port: port, childChannelInitializer: setup)
            case .socket(let descriptor):
                try await bootstrap.bind(descriptor, childChannelInitializer: setup)
            }
        }
    }
#endif
