#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The most memory that this process held.
extension SystemMemory {
    /// Begins to watch anew, from what the process holds now.
    /// - Returns: whether the system can; where not, ``peakResidentBytes`` counts from the beginning of the process.
    package static func resetPeak() -> Bool {
        let file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { close(file) }
        // 5: the peak of the resident set alone (proc(5)).
        return write(file, "5", 1) == 1
    }

    /// Nil where the system does not say.
    package static var peakResidentBytes: Int? {
        ProcessorAllowance.text(ofFileAt: "/proc/self/status").flatMap(peakKibibytes).map { $0 << 10 }
    }

    /// The line "VmHWM:      12345 kB".
    static func peakKibibytes(_ text: String) -> Int? {
        for line in text.split(separator: "\n") where line.hasPrefix("VmHWM:") {
            let words = line.split { $0 == " " || $0 == "\t" }
            return words.count == 3 ? Int(words[1]).flatMap { (0..<1 << 43).contains($0) ? $0 : nil } : nil
        }
        return nil
    }
}
