internal import SystemFiles
package import Tensors

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A file, a pipe or a device that an image is read from.
package struct ImageFile: Sendable {
    package let path: String

    package init(path: String) { self.path = path }

    /// Bytes of a regular file; nil for a pipe or a device, whose end nobody knows, and for what is not there.
    package var size: Int? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int(status.st_size)
    }

    /// Everything up to the end, never more than the limit allows.
    ///
    /// Waits for the writer of a pipe, and looks at `cancellation` several times a second meanwhile.
    /// - Parameter received: told how many bytes a pipe or device has given, as they come; false ends the reading
    /// - Returns: nil once cancelled, or ended by `received`.
    package func read(
        limits: ImageLimits = .standard, cancellation: Cancellation = Cancellation(),
        received: (Int) -> Bool = { _ in true }
    ) throws(ImageInputError) -> Data? {
        // Without O_NONBLOCK the call would wait for a pipe's writer, and nothing could end that.
        let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw unreadable() }
        defer { close(descriptor) }
        var bytes = Data()
        let size = size
        if let size {
            guard size <= limits.fileBytes else {
                throw .fileTooLarge(bytes: size, limit: limits.fileBytes)
            }
            bytes.reserveCapacity(size)
        }
        let part = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { part.deallocate() }
        while !cancellation.isCancelled {
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, 100) != 0 else { continue }
            let count = readSome(descriptor, part)
            guard count >= 0 else {
                if errno == EAGAIN || errno == EINTR { continue }
                throw unreadable()
            }
            if count == 0 { return bytes }
            guard count <= limits.fileBytes - bytes.count else {
                throw .fileTooLarge(bytes: size, limit: limits.fileBytes)
            }
            if size == nil, !received(count) { return nil }
            bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: part[..<count]))
        }
        return nil
    }

    /// What the system last refused.
    private func unreadable() -> ImageInputError { .unreadable(path: path, reason: .last) }
}

/// The system's `read`, whose name means something else inside of ``ImageFile``.
private func readSome(_ descriptor: Int32, _ part: UnsafeMutableRawBufferPointer) -> Int {
    read(descriptor, part.baseAddress, part.count)
}
