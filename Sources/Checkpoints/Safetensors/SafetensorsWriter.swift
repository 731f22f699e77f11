package import SystemFiles
package import Tensors

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// Writes tensors as one safetensors file.
package enum SafetensorsWriter {
    /// Writes `tensors` in the given order.
    /// - Parameters:
    ///   - tensors: names, each once, and values.
    ///   - metadata: kept under `__metadata__` when not empty.
    ///   - alignment: the data begin at a multiple of so many bytes, 8 as the format's own writer has it.
    /// - Throws: `CheckpointError.duplicateTensor` or `CheckpointError.output`.
    package static func write(
        _ tensors: [(String, Tensor)], metadata: [String: String] = [:], alignment: Int = 8,
        to file: OutputFile
    ) throws(CheckpointError) {
        let start = try start(tensors, metadata: metadata, alignment: alignment)
        try CheckpointError.wrapping { () throws(OutputError) in
            try file.write { (writer) throws(OutputError) in try write(start, tensors, to: writer) }
        }
    }

    /// Writes `tensors` as a file of a folder.
    package static func write(
        _ tensors: [(String, Tensor)], metadata: [String: String] = [:], alignment: Int = 8,
        to name: String, in folder: OutputFolder, isCancelled: @escaping () -> Bool = { false }
    ) throws(CheckpointError) {
        let start = try start(tensors, metadata: metadata, alignment: alignment)
        try CheckpointError.wrapping { () throws(OutputError) in
            try folder.write(name, isCancelled: isCancelled) { (writer) throws(OutputError) in
                try write(start, tensors, to: writer)
            }
        }
    }

    package static func write(
        _ tensors: [(String, Tensor)], metadata: [String: String] = [:], alignment: Int = 8, to url: URL
    ) throws(CheckpointError) {
        let file = try CheckpointError.wrapping { () throws(OutputError) in try OutputFile(url.path) }
        try write(tensors, metadata: metadata, alignment: alignment, to: file)
    }

    private static func write(
        _ start: Data, _ tensors: [(String, Tensor)], to writer: borrowing OutputWriter
    ) throws(OutputError) {
        try writer.write([UInt8](start))
        for (_, tensor) in tensors { try writer.write(tensor.bytes) }
    }

    /// The header with its length before it.
    private static func start(
        _ tensors: [(String, Tensor)], metadata: [String: String], alignment: Int
    ) throws(CheckpointError) -> Data {
        var header = try header(tensors, metadata: metadata)
        let beyond = (8 + header.count) % alignment
        header.append(
            contentsOf: Data(repeating: UInt8(ascii: " "), count: (alignment - beyond) % alignment))
        return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Data($0) } + header
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
