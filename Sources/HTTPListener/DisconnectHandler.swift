#if Server
    internal import NIOCore
    internal import NIOHTTPTypes
    internal import Synchronization

    /// Notices that the client is gone, in whatever state its request is: it closed its connection, or its half of it.
    final class DisconnectHandler: ChannelInboundHandler, RemovableChannelHandler {
        typealias InboundIn = HTTPRequestPart
        typealias InboundOut = HTTPRequestPart

        let presence = ClientPresence()

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case ChannelEvent.inputClosed? = event as? ChannelEvent { presence.leave() }
            context.fireUserInboundEventTriggered(event)
        }

        func channelInactive(context: ChannelHandlerContext) {
            presence.leave()
            context.fireChannelInactive()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            presence.leave()
            context.fireErrorCaught(error)
        }
    }

    /// Whether a connection's client is there, and what to end when it leaves.
    final class ClientPresence: Sendable {
        private struct State {
            var isGone = false
            var cancel: (@Sendable () -> Void)?
        }

        private let state = Mutex(State())

        /// - Parameter cancel: called when the client leaves, at once where it is gone already
        func begin(_ cancel: @escaping @Sendable () -> Void) {
            let isGone = state.withLock { state in
                state.cancel = cancel
                return state.isGone
            }
            if isGone { cancel() }
        }

        func end() { state.withLock { $0.cancel = nil } }

        func leave() {
            let cancel = state.withLock { state in
                state.isGone = true
                return state.cancel
            }
            cancel?()
        }
    }
#endif
