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
        configureHeap()
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

    /// Two of glibc's defaults do not suit a program that answers for days.
    private static func configureHeap() {
        #if canImport(Glibc)
            // Swift's Glibc module has no malloc.h, where these numbers are.
            let mappingThreshold: Int32 = -3
            let mostArenas: Int32 = -8
            typealias SetOption = @convention(c) (Int32, Int32) -> Int32
            guard let address = dlsym(nil, "mallopt") else { return }
            let set = unsafeBitCast(address, to: SetOption.self)
            // glibc raises the size from which blocks are mappings of their own to the largest that was ever freed.
            // Pictures then lie among the small blocks, and what is held grows for thousands of requests.
            _ = set(mappingThreshold, 128 << 10)
            // It reserves 64 MiB of address space for each of several threads. Where `ulimit -v` bounds it, these would
            // leave none for further threads, for which Dispatch waits for ever.
            var limit = rlimit()
            guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0,
                limit.rlim_cur < rlim_t(Int.max)
            else { return }
            _ = set(mostArenas, 1)
        #endif
    }
}
