import Foundation

/// How many times as long some work takes for more of its input, in time of this thread's processor, which other
/// programs on the machine hardly change.
///
/// Use it where the purpose of a test is that something is not quadratic: for 16 times the input such work takes 256
/// times as long, linear work 16 times. A bound between the two tells them apart on any machine and any load.
/// - Parameters:
///   - factor: how much larger the large input is
///   - small: size of the small input, for which the work should take at least some tenths of a millisecond
///   - work: does the work for an input of a size; what it does must stay on this thread
public func growth(by factor: Int, from small: Int, _ work: (Int) throws -> Void) rethrows -> Double {
    func seconds(_ size: Int, rounds: Int) throws -> Double {
        var best = Double.infinity
        for _ in 0..<rounds {
            let start = threadSeconds()
            try work(size)
            best = min(best, threadSeconds() - start)
        }
        return best
    }
    // The clock's step is far below a microsecond; the bound only keeps the quotient finite.
    return try seconds(small * factor, rounds: 2) / max(seconds(small, rounds: 5), 1e-6)
}

private func threadSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
