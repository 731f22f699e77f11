package import Foundation
package import Tensors

/// Writes tensors as one safetensors file.
package enum SafetensorsWriter {
    /// Writes `tensors` in the given order; the file appears under its name only when it is complete.
    /// - Parameters:
    ///   - tensors: names, each once, and values.
    ///   - metadata: kept under `__metadata__` when not empty.
    ///   - alignment: the data begin at a multiple of so many bytes, 8 as the format's own writer has it.
    /// - Throws: `CheckpointError.duplicateTensor` or `CheckpointError.unwritableFile`.
    package static func write(
        _ tensors: [(String, Tensor)], metadata: [String: String] = [:], alignment: Int = 8, to url: URL
    ) throws(CheckpointError) {
        var header = try header(tensors, metadata: metadata)
        let beyond = (8 + header.count) % alignment
        header.append(
            contentsOf: Data(repeating: UInt8(ascii: " "), count: (alignment - beyond) % alignment))
        var length = UInt64(header.count).littleEndian
        let temporary = url.deletingLastPathComponent()
            .appending(path: ".\(url.lastPathComponent).\(UInt64.random(in: .min ... .max)).partial")
        do {
            try Data(bytes: &length, count: 8).write(to: temporary, options: .withoutOverwriting)
            let handle = try FileHandle(forWritingTo: temporary)
            defer { try? handle.close() }
            try handle.seekToEnd()
            try handle.write(contentsOf: header)
            for (_, tensor) in tensors {
                try handle.write(contentsOf: Data(tensor.bytes))
            }
            try handle.close()
        } catch {
            try? FileManager.default.removeItem(at: temporary)
            throw .unwritableFile(path: url.path, reason: FileAccess.reason(error))
        }
        // Renaming replaces an older file in one step.
        guard rename(temporary.path, url.path) == 0 else {
            let reason = String(cString: strerror(errno))
            try? FileManager.default.removeItem(at: temporary)
            throw .unwritableFile(path: url.path, reason: reason)
        }
    }

    private static func header(
        _ tensors: [(String, Tensor)], metadata: [String: String]
    ) throws(CheckpointError) -> Data {
        var members: [String] = []
        if !metadata.isEmpty {
            let pairs = metadata.sorted { $0.key < $1.key }.map { "\(quoted($0.key)):\(quoted($0.value))" }
            members.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
        }
        var seen: Set<String> = ["__metadata__"]
        var offset = 0
        for (name, tensor) in tensors {
            guard seen.insert(name).inserted else {
                throw .duplicateTensor(tensor: name, first: name, second: name)
            }
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            let end = offset + tensor.byteCount
            members.append(
                "\(quoted(name)):{\"dtype\":\"\(tensor.dataType.rawValue)\",\"shape\":[\(shape)],"
                    + "\"data_offsets\":[\(offset),\(end)]}")
            offset = end
        }
        return Data("{\(members.joined(separator: ","))}".utf8)
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
