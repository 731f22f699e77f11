package import Foundation

extension RGBImage {
    /// Reads and decodes an image file, never more of it than the limit allows.
    /// - Throws: `ImageInputError`.
    package static func load(
        path: String, limits: ImageLimits = .standard, options: ImageOptions = .standard
    ) throws(ImageInputError) -> RGBImage {
        let bytes = try readBytes(path: path, limits: limits)
        return try ImageDecoder.decode(bytes, limits: limits, options: options)
    }

    /// The bytes of a file, at most `limits.fileBytes`.
    package static func readBytes(
        path: String, limits: ImageLimits = .standard
    ) throws(ImageInputError) -> Data {
        let handle: FileHandle
        do {
            handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        } catch {
            throw .unreadable(path: path, reason: reason(error))
        }
        defer { try? handle.close() }
        return try readBytes(from: handle, name: path, limits: limits)
    }

    /// The bytes of an open file or pipe up to its end, at most `limits.fileBytes`.
    /// - Parameter name: what error messages call it.
    package static func readBytes(
        from handle: FileHandle, name: String, limits: ImageLimits = .standard
    ) throws(ImageInputError) -> Data {
        var bytes = Data()
        while true {
            let part: Data?
            do {
                part = try handle.read(upToCount: 1 << 20)
            } catch {
                throw .unreadable(path: name, reason: reason(error))
            }
            guard let part, !part.isEmpty else { return bytes }
            guard part.count <= limits.fileBytes - bytes.count else {
                throw .fileTooLarge(bytes: nil, limit: limits.fileBytes)
            }
            bytes.append(part)
        }
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case CocoaError.fileReadNoSuchFile, CocoaError.fileNoSuchFile: "no such file"
        case CocoaError.fileReadNoPermission: "permission denied"
        default: posixReason(error)
        }
    }

    private static func posixReason(_ error: any Error) -> String {
        var current: NSError? = error as NSError
        while let found = current {
            if found.domain == NSPOSIXErrorDomain { return String(cString: strerror(Int32(found.code))) }
            current = found.userInfo[NSUnderlyingErrorKey] as? NSError
        }
        return "\(error)"
    }
}
