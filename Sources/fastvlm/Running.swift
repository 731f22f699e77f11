import ArgumentParser
import FastVLM
import Foundation
import ModelHub
import Synchronization

/// The signal that asked the program to end.
private final class Interruption: Sendable {
    private let signal = Mutex<Int32?>(nil)

    var received: Int32? { signal.withLock { $0 } }

    /// - Returns: whether it is the first one.
    func receive(_ number: Int32) -> Bool {
        signal.withLock { signal in
            defer { signal = signal ?? number }
            return signal == nil
        }
    }
}

/// Runs a command's work so that Ctrl-C and SIGTERM cancel it, which removes what is unfinished, and so that every
/// error ends in its documented status. A second signal ends the program where it stands.
func running(_ work: @escaping @Sendable () async throws -> Void) async throws {
    let interruption = Interruption()
    let task = Task { try await work() }
    let sources = [SIGINT, SIGTERM].map { number in
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler {
            guard interruption.receive(number) else { exit(128 + number) }
            task.cancel()
            Terminal.leaveIfReading(number)
        }
        source.resume()
        return source
    }
    defer { for source in sources { source.cancel() } }
    do {
        try await task.value
        if let number = interruption.received { throw ExitCode(128 + number) }
    } catch is CancellationError {
        throw ExitCode(128 + (interruption.received ?? SIGINT))
    } catch let error as FastVLMError {
        throw CommandFailure(error)
    } catch let error as HubError {
        throw CommandFailure(error)
    }
}
