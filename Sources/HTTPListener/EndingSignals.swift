#if Server
    internal import Dispatch
    internal import Foundation
    internal import Synchronization

    /// A source of signals, which may be resumed and cancelled from any thread.
    struct SignalSource: @unchecked Sendable { let base: any DispatchSourceSignal }

    /// SIGTERM and SIGINT: the first one begins the end, the second one is the end.
    final class EndingSignals: Sendable {
        private let count = Atomic<Int>(0)
        private let sources = Mutex<[SignalSource]>([])

        /// - Parameter begin: called at the first signal
        init(_ begin: @escaping @Sendable () async -> Void) {
            for number in [SIGTERM, SIGINT] {
                signal(number, SIG_IGN)
                let source = DispatchSource.makeSignalSource(
                    signal: number, queue: .global(qos: .userInitiated))
                source.setEventHandler { [weak self] in
                    guard let self else { return }
                    // Nothing is tidied up, which could wait for threads that compute.
                    guard count.wrappingAdd(1, ordering: .relaxed).oldValue == 0 else { _exit(128 + number) }
                    Task { await begin() }
                }
                source.resume()
                let kept = SignalSource(base: source)
                sources.withLock { $0.append(kept) }
            }
        }

        func cancel() { sources.withLock { for source in $0 { source.base.cancel() } } }
    }
#endif
