import ArgumentParser
import Dispatch
import FastVLM
import Foundation

/// The program's first steps. Nothing here is asynchronous: what is makes Dispatch open files, and without any to open
/// it would end the program before it can say why.
@main
enum Start {
    static func main() {
        StandardStreams.reserve()
        do {
            try SystemInformation.checkLimits()
        } catch {
            leave((error as? FastVLMError).map { CommandFailure($0) } ?? error)
        }
        Task {
            await FastVLMCommand.main()
            exit(0)
        }
        dispatchMain()
    }
}
