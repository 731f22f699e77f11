#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Makes sure that the process may open as many files as queues and waiting need besides images and weights: Dispatch ends
/// the program where it gets none.
/// - Throws: `TensorError.tooFewFiles`.
package func requireFiles() throws(TensorError) {
    let needed = 8
    var opened: [Int32] = []
    defer { for file in opened { close(file) } }
    for _ in 0..<needed {
        let file = open("/dev/null", O_RDONLY | O_CLOEXEC)
        if file < 0, errno == EMFILE || errno == ENFILE { throw .tooFewFiles(needed: needed) }
        if file >= 0 { opened.append(file) }
    }
}
