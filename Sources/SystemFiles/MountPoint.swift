#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The path without links and dots, of something that exists.
func realPath(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
}

/// A mount point, folder or file, cannot be replaced by renaming, also where it is on the file system of its parent.
func isMountPoint(_ path: String) -> Bool {
    guard let real = realPath(path), let table = fopen("/proc/self/mountinfo", "re") else { return false }
    defer { fclose(table) }
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(line) }
    while getline(&line, &capacity, table) > 0, let line {
        let fields = String(cString: line).split(separator: " ")
        guard fields.count > 4 else { continue }
        // These are written as octal numbers; the backslash comes last, for it begins the others.
        let point = fields[4].replacing("\\040", with: " ").replacing("\\011", with: "\t")
            .replacing("\\012", with: "\n").replacing("\\134", with: "\\")
        if point == real { return true }
    }
    return false
}
