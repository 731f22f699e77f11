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
        shareHeap()
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

    /// glibc reserves 64 MiB of address space for each of several threads. Where `ulimit -v` bounds it, these would
    /// leave no room for further threads, for which Dispatch waits for ever.
    private static func shareHeap() {
        #if canImport(Glibc)
            var limit = rlimit()
            guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0,
                limit.rlim_cur < rlim_t(Int.max)
            else { return }
            // Swift's Glibc module has no malloc.h; -8 is its M_ARENA_MAX.
            typealias SetOption = @convention(c) (Int32, Int32) -> Int32
            guard let address = dlsym(nil, "mallopt") else { return }
            _ = unsafeBitCast(address, to: SetOption.self)(-8, 1)
        #endif
    }
}
