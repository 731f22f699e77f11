import Testing

@testable import Tensors

@Suite("How much memory is free")
struct SystemMemoryTests {
    @Test("The line of /proc/meminfo that counts; anything else is unknown")
    func lines() {
        let text = "MemTotal:       24689316 kB\nMemFree:          312 kB\nMemAvailable:   18000000 kB\n"
        #expect(SystemMemory.availableKibibytes(text) == 18_000_000)
        for wrong in [
            "", "MemFree: 3 kB", "MemAvailable: -1 kB", "MemAvailable: 99999999999999 kB", "MemAvailable:",
        ] {
            #expect(SystemMemory.availableKibibytes(wrong) == nil, "\(wrong)")
        }
    }

    @Test("The line of /proc/self/status that says the peak")
    func peakLine() {
        #expect(SystemMemory.peakKibibytes("Name:\tfastvlm\nVmHWM:\t   93040 kB\nVmRSS:\t 1 kB\n") == 93_040)
        for wrong in ["", "VmHWM:", "VmHWM: -1 kB", "VmRSS: 3 kB"] {
            #expect(SystemMemory.peakKibibytes(wrong) == nil, "\(wrong)")
        }
    }

    #if os(Linux)
        @Test("This system says how much is free")
        func system() throws {
            #expect(try #require(SystemMemory.availableBytes) > 0)
        }
    #endif
}
