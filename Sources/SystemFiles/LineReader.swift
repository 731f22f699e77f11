#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Reads the lines of a file or pipe one after the other, however many there are: only one is in memory.
package struct LineReader: Sendable {
    package struct Line: Sendable, Equatable {
        /// Counted from 1; empty lines count.
        package var number: Int
        /// Without the line's end, `\n` or `\r\n`; nil for a line of more bytes than the limit.
        package var bytes: [UInt8]?
        /// Bytes of the input up to the next line.
        package var end: Int
        /// Whether the line has an end; only the last one may have none.
        package var isWhole: Bool
    }

    private let descriptor: Int32
    private let limit: Int
    /// What was read, from ``position`` on not handed out yet.
    private var buffer: [UInt8] = []
    private var position = 0
    private var number = 0
    private var offset = 0
    private var isAtEnd = false

    /// - Parameters:
    ///   - descriptor: is read from where it stands, and stays the caller's
    ///   - limit: most bytes of a line
    package init(descriptor: Int32, limit: Int) {
        self.descriptor = descriptor
        self.limit = limit
    }

    /// The next line; nil at the end.
    /// - Parameter isCancelled: looked at while nothing comes
    /// - Throws: `BoundedFile.ReadError`, `CancellationError`.
    package mutating func next(isCancelled: () -> Bool = { false }) throws -> Line? {
        var line: [UInt8] = []
        var length = 0
        var isWhole = false
        while !isWhole {
            if position == buffer.count {
                guard !isAtEnd else { break }
                try fill(isCancelled)
                continue
            }
            let end = Self.newline(in: buffer, from: position)
            let part = buffer[position..<(end ?? buffer.count)]
            length += part.count
            // One more byte than the limit, which may belong to the line's end.
            if length <= limit + 1 { line += part } else { line = [] }
            isWhole = end != nil
            position = end.map { $0 + 1 } ?? buffer.count
        }
        guard isWhole || length > 0 else { return nil }
        number += 1
        offset += length + (isWhole ? 1 : 0)
        if isWhole, length <= limit + 1, line.last == 0x0D { line.removeLast() }
        let isTooLong = length > limit + 1 || line.count > limit
        return Line(number: number, bytes: isTooLong ? nil : line, end: offset, isWhole: isWhole)
    }

    private mutating func fill(_ isCancelled: () -> Bool) throws {
        while true {
            if isCancelled() { throw CancellationError() }
            var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            // A file is always ready; what a pipe's writer has not written yet is waited for.
            if poll(&state, 1, 100) != 0 { break }
        }
        buffer = try BoundedFile.part(descriptor: descriptor)
        position = 0
        isAtEnd = buffer.isEmpty
    }

    private static func newline(in bytes: [UInt8], from start: Int) -> Int? {
        bytes.withUnsafeBufferPointer { bytes -> Int? in
            guard let base = bytes.baseAddress, let found = memchr(base + start, 0x0A, bytes.count - start)
            else { return nil }
            return UnsafeRawPointer(found) - UnsafeRawPointer(base)
        }
    }
}
