#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

extension Double {
    /// The number with so many decimals, as C's `%.*f` writes it.
    func written(decimals: Int) -> String {
        // The largest number has 309 digits before its decimals.
        let capacity = 320 + decimals
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { characters in
            let count = withVaList([Int32(decimals), self]) {
                vsnprintf(characters.baseAddress, capacity, "%.*f", $0)
            }
            return String(
                decoding: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(characters)[..<Int(count)]),
                as: UTF8.self)
        }
    }
}
