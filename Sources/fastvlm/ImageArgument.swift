import ArgumentParser
import CommandInput
import FastVLM
import Foundation
import SystemFiles

/// An image that somebody named, on the command line or in a chat.
struct ImageArgument: Sendable {
    /// As it was written, for messages.
    let name: String
    /// The file, where it is one.
    let identity: FileIdentity?
    private let content: Content

    private enum Content: Sendable {
        case source(ImageSource)
        case web(URL)
        /// A pipe or device, which can be read once.
        case stream([UInt8])
    }

    /// Looks for it; reads it where it is stdin or a file whose name cannot be a URL.
    /// - Throws: `CommandFailure` with the status `image` when it is not there or cannot be understood.
    init(_ text: String, limits: ImageInputLimits) throws {
        name = text.count > 200 ? "\(text.prefix(60))…" : ByteText.shown(text)
        switch try Self.reference(text, limits) {
        case .standardInput:
            guard !Terminal.inputIsTerminal else {
                throw ValidationError(
                    "'-' reads an image from stdin, but stdin is a terminal; pipe a file into it.")
            }
            identity = FileIdentity(descriptor: STDIN_FILENO)
            content = .source(.data(try readStandardInput(limit: limits.bytes)))
        case .data(let data):
            identity = nil
            content = .source(.data(data))
        case .web(let url):
            identity = nil
            content = .web(url)
        case .file(let path):
            (identity, content) = try Self.file(path, limits)
        }
    }

    /// What the library takes; fetches an address of the web and empties a pipe.
    /// - Throws: `CommandFailure` with the status `image`, `CancellationError`.
    func source(limits: ImageInputLimits) async throws -> ImageSource {
        switch content {
        case .source(let source): return source
        case .web(let url):
            do {
                return .data(try await WebFile.fetch(url, limit: limits.bytes, seconds: limits.seconds))
            } catch let error as InputError {
                throw CommandFailure(.image, "\(error)")
            }
        case .stream(let path):
            do {
                return .data(
                    Data(
                        try await BoundedFile.readStream(
                            pathBytes: Self.terminated(path), limit: limits.bytes)))
            } catch let error as BoundedFile.ReadError {
                throw Self.failure(
                    path, error.reason,
                    advice: error.isTooLarge ? "shrink the image or raise --max-file-mib" : nil)
            }
        }
    }

    private static func reference(_ text: String, _ limits: ImageInputLimits) throws -> ImageReference {
        do {
            return try ImageReference(text, limit: limits.bytes)
        } catch {
            throw CommandFailure(.image, "\(error)")
        }
    }

    private static func file(
        _ path: [UInt8], _ limits: ImageInputLimits
    ) throws -> (FileIdentity?, Content) {
        let terminated = terminated(path)
        var information = stat()
        guard stat(terminated, &information) == 0 else { throw failure(path, .last) }
        if information.st_mode & S_IFMT == S_IFDIR { throw failure(path, SystemReason(EISDIR)) }
        guard information.st_mode & S_IFMT == S_IFREG else {
            return (FileIdentity(pathBytes: terminated), .stream(path))
        }
        if let text = String(validating: path, as: UTF8.self) {
            // With a folder before it, since a leading '~' would be taken for a home.
            let url = URL(filePath: text.hasPrefix("/") ? text : "./\(text)")
            return (FileIdentity(path: text), .source(.file(url)))
        }
        do {
            let bytes = try BoundedFile.read(pathBytes: terminated, limit: limits.bytes)
            return (FileIdentity(pathBytes: terminated), .source(.data(Data(bytes))))
        } catch {
            throw failure(path, error.reason)
        }
    }

    private static func terminated(_ path: [UInt8]) -> [CChar] { path.map { CChar(bitPattern: $0) } + [0] }

    private static func failure(
        _ path: [UInt8], _ reason: SystemReason, advice: String? = nil
    ) -> CommandFailure {
        let advice = advice ?? (reason.isFolder ? "name an image file in it" : reason.advice)
        return CommandFailure(
            reason.isExhaustion ? .system : .image,
            "cannot read '\(String(decoding: path, as: UTF8.self))': \(reason); \(advice ?? "check the path")"
        )
    }
}

/// How much may come in for an image, and how long it may take.
struct ImageInputLimits: Sendable {
    let bytes: Int
    let seconds: Int
}

/// Images named on the command line; `-` is stdin, once.
/// - Parameter advice: what else to do when the last of several is no image
func imageArguments(
    _ names: [String], limits: ImageInputLimits, adviceOnLast advice: String? = nil
) throws -> [ImageArgument] {
    guard names.filter({ $0 == "-" }).count <= 1 else {
        throw ValidationError("Only one image can come from stdin.")
    }
    return try names.enumerated().map { index, name in
        do {
            return try ImageArgument(name, limits: limits)
        } catch let failure as CommandFailure {
            guard let advice, index > 0, index == names.count - 1 else { throw failure }
            throw CommandFailure(failure.status, "\(failure.message) (\(advice))")
        }
    }
}

extension [ImageArgument] {
    func sources(limits: ImageInputLimits) async throws -> [ImageSource] {
        var sources: [ImageSource] = []
        for argument in self { sources.append(try await argument.source(limits: limits)) }
        return sources
    }
}
